"""Progress of a batch: what is measured, what is said, and what is drawn."""

from __future__ import annotations

import io
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chainhub_async.batch.jobs import JobState, Outcome, PlanAction
from chainhub_async.cli import batch_wording, exits
from chainhub_async.cli.batch_desk import BatchDesk, code_of
from chainhub_async.cli.batch_display import BatchDisplay, display_for
from chainhub_async.cli.batch_meter import Meter
from chainhub_async.errors import (
    Attempt,
    AuthenticationError,
    BatchStoppedError,
    Billed,
    ChainHubError,
    ConfigurationError,
    ConnectError,
    ContentRejectedError,
    DownloadError,
    InvalidImageError,
    LedgerError,
    SpendLimitError,
)
from chainhub_async.events import CallCancelled, Paused, RequestQueued, RetryScheduled
from chainhub_async.models import GeneratedImage, ReplaceBackground, ReplaceBackgroundResult, Task
from chainhub_async.times import moment

_NOW = moment(1_700_000_000_000)
_TRIED = (Attempt(number=1, phase="read", reason="x"),)


def outcome(
    state: JobState, *, error: ChainHubError | None = None, spent: int = 0, **more: Any
) -> Outcome:
    request = ReplaceBackground("a[b].png")
    return Outcome(request=request, index=0, state=state, error=error, spent=spent, **more)


def result(*urls: str | None, task: Task | None = None) -> ReplaceBackgroundResult:
    assert _NOW is not None
    images = tuple(GeneratedImage(url=url) for url in urls)
    return ReplaceBackgroundResult(images=images, task=task, received_at=_NOW)


SAVED = outcome(JobState.SAVED, spent=1, billed=Billed.YES, key="k")
SKIPPED = outcome(JobState.SKIPPED, billed=Billed.YES, key="k")
NOT_STARTED = outcome(JobState.PENDING, error=BatchStoppedError("Not started: x."))


class Clock:
    """A clock that stands still until told otherwise."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(total=20, clock=clock)


# --- what is measured ---------------------------------------------------------------------------


def test_speed_is_that_of_what_was_sent(meter: Meter, clock: Clock) -> None:
    """What an earlier run had done says nothing of how long the rest takes."""
    for _ in range(5):
        meter.take(SKIPPED)
    assert meter.images_per_minute is None
    assert meter.seconds_left is None
    meter.event(RequestQueued(call=1, images=1))
    clock.now += 10
    for _ in range(5):
        meter.take(outcome(JobState.SAVED, spent=2))
    assert meter.images_per_minute == pytest.approx(60)
    assert meter.seconds_left == pytest.approx(20)
    assert (meter.done, meter.spent) == (10, 10)


def test_failed_calls_take_time_as_well(meter: Meter, clock: Clock) -> None:
    """They count for what is left, and not as images."""
    meter.event(RequestQueued(call=1, images=1))
    clock.now += 10
    meter.take(outcome(JobState.REFUSED, error=ContentRejectedError("no", attempts=_TRIED)))
    assert meter.images_per_minute == 0
    assert meter.seconds_left == pytest.approx(190)


def test_speed_is_that_of_the_last_minutes(clock: Clock) -> None:
    """A gateway that has become slower is believed."""
    meter = Meter(total=1000, clock=clock)
    meter.event(RequestQueued(call=1, images=1))
    for _ in range(100):
        clock.now += 1
        meter.take(SAVED)
    assert meter.images_per_minute == pytest.approx(60)
    for _ in range(60):
        clock.now += 10
        meter.take(SAVED)
    assert meter.images_per_minute == pytest.approx(6)
    for _ in range(400):
        clock.now += 0.1
        meter.take(SAVED)
    assert meter.images_per_minute == pytest.approx(600)
    assert meter.seconds_left == pytest.approx(44)
    clock.now += 10_000
    assert meter.images_per_minute is None


def test_pauses_end_by_themselves(meter: Meter, clock: Clock) -> None:
    """The longest counts; when it is over, nothing is said any more."""
    assert meter.pause is None
    meter.event(Paused(call=1, seconds=12.0))
    clock.now += 5
    assert meter.pause == (12.0, 7.0)
    assert batch_wording.progress(meter, None)[-1] == (
        "paused: the gateway asked to wait 12 s; 7 s left"
    )
    clock.now += 7
    assert meter.pause is None
    assert len(batch_wording.progress(meter, None)) == 1


def test_progress_in_words(meter: Meter, clock: Clock) -> None:
    """Counts by state, retries, and what was spent."""
    for one in (SAVED, SAVED, SKIPPED, NOT_STARTED):
        meter.take(one)
    meter.event(CallCancelled(call=1, attempt=1, bytes_sent=0, billed=Billed.NO))
    assert batch_wording.progress(meter, None) == [
        "2 saved, 1 skipped, 1 not started · spent: 2 images"
    ]
    meter.event(RetryScheduled(call=1, attempt=1, delay=1, reason="x"))
    assert (
        " · 1 retry · spent: 2 images at 0.06 = 0.12"
        in (batch_wording.progress(meter, Decimal("0.06"))[0])
    )
    meter.event(RetryScheduled(call=1, attempt=2, delay=1, reason="x"))
    assert " · 2 retries · " in batch_wording.progress(meter, None)[0]
    assert batch_wording.speed(meter) == ""
    meter.event(RequestQueued(call=1, images=1))
    clock.now += 3600
    meter.take(outcome(JobState.SAVED, spent=30))
    assert batch_wording.speed(meter) == "0.5 images/min, 15:00:00 left"


# --- what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "said", "code"),
    [
        (SAVED, "", 0),
        (SKIPPED, "", 0),
        (
            outcome(JobState.SKIPPED, result=result(None), billed=Billed.YES),
            "",
            0,
        ),
        (
            outcome(JobState.SAVED, result=result("u", None), billed=Billed.YES),
            "1 image was withheld as unsafe by the gateway, but billed.",
            exits.BILLED,
        ),
        (
            outcome(JobState.SAVED, result=result(None, None), billed=Billed.YES),
            "2 images were withheld as unsafe by the gateway, but billed.",
            exits.BILLED,
        ),
        (
            outcome(JobState.SAVED, error=LedgerError("Not recorded."), billed=Billed.YES),
            "Not recorded.",
            0,
        ),
        (
            outcome(JobState.ACCEPTED, error=DownloadError("No room."), billed=Billed.YES),
            "No room. It was billed.",
            exits.BILLED,
        ),
        (
            outcome(
                JobState.ACCEPTED,
                result=result(task=Task(task_id="t1", task_status="processing")),
                error=ChainHubError("Job x is ACCEPTED."),
                billed=Billed.YES,
            ),
            (
                "The gateway has not finished it: task t1, 'processing'. With --task-path, the "
                "next run fetches it within 24 hours. It was billed."
            ),
            exits.BILLED,
        ),
        (
            outcome(
                JobState.UNCERTAIN,
                error=ChainHubError("Lost.", attempts=_TRIED),
                billed=Billed.MAYBE,
                spent=1,
            ),
            "Lost. It may have been billed.",
            exits.BILLED,
        ),
        (
            outcome(JobState.UNCERTAIN, error=ChainHubError("Lost."), billed=Billed.MAYBE),
            (
                "Not sent again: an earlier run may have been billed for it, and ended so: Lost. "
                "It may have been billed."
            ),
            exits.BILLED,
        ),
        (
            outcome(JobState.UNCERTAIN, error=ChainHubError("Torn."), billed=Billed.YES),
            (
                "Not sent again: an earlier run was billed for it, and ended so: Torn. It was "
                "billed."
            ),
            exits.BILLED,
        ),
        (
            outcome(JobState.REFUSED, error=ContentRejectedError("Unsafe.", attempts=_TRIED)),
            "Unsafe. It was not billed.",
            exits.FAILED,
        ),
        (
            outcome(JobState.REFUSED, error=ContentRejectedError("Unsafe.")),
            (
                "Not sent again: it was refused in an earlier run (--retry-refused sends it): "
                "Unsafe. It was not billed."
            ),
            exits.FAILED,
        ),
        (
            outcome(JobState.REFUSED, error=InvalidImageError("Empty.")),
            "Empty. It was not billed.",
            exits.USAGE,
        ),
        (
            outcome(JobState.PENDING, error=ConnectError("Refused.", attempts=_TRIED)),
            "Refused. `chainhub doctor` may tell more. It was not billed.",
            exits.FAILED,
        ),
        (
            outcome(JobState.PENDING, error=AuthenticationError("Bad key.", attempts=_TRIED)),
            "Bad key. `chainhub doctor` may tell more. It was not billed.",
            exits.ACCOUNT,
        ),
        (NOT_STARTED, "", exits.FAILED),
        (outcome(JobState.PENDING, error=SpendLimitError("Enough.")), "", exits.FAILED),
        (outcome(JobState.PENDING, error=LedgerError("Full.")), "", exits.NOT_SET_UP),
        (
            outcome(JobState.PENDING, error=ConfigurationError("Bad.")),
            "Bad. It was not billed.",
            exits.NOT_SET_UP,
        ),
    ],
)
def test_outcomes_in_words_and_codes(one: Outcome, said: str, code: int) -> None:
    """Why it is not saved, whether it cost money, and the code for scripts."""
    assert batch_wording.problem(one) == said
    assert code_of(one) == code


def test_a_plan_in_words() -> None:
    """Each action with its number, what it costs, and where the limit stops it."""
    counts = dict.fromkeys(PlanAction, 1) | {PlanAction.SEND: 1000}
    assert batch_wording.planned(counts, 1000, None, None, {}) == (
        "1,005 photos: 1,000 to send, 1 to download (paid for), 1 done by an earlier run, 1 the "
        "same as another, 1 held (an earlier run was or may have been billed), 1 refused. To "
        "be billed: 1,000 images."
    )
    text = batch_wording.planned({PlanAction.SEND: 3}, 12, Decimal("0.060"), 5, {Billed.NO: 12})
    assert text == (
        "3 photos: 3 to send. To be billed: 12 images at 0.060 = 0.720. --max-images stops at "
        "5 images at 0.060 = 0.300."
    )
    assert "stops" not in batch_wording.planned({PlanAction.SEND: 3}, 5, None, 5, {})


def test_a_run_in_words(meter: Meter) -> None:
    """What ended how, what it cost, and what the interruption left."""
    for one in (SAVED, SKIPPED, NOT_STARTED, outcome(JobState.PENDING), SAVED):
        meter.take(one)
    assert batch_wording.summary(meter, Decimal(2), emulated=False) == (
        "20 photos: 1 failed (not billed), 2 saved, 1 not started, 1 done by an earlier run, 15 "
        "not looked at. Billed or maybe billed in this run: 2 images at 2 = 4."
    )
    assert batch_wording.summary(Meter(total=1), None, emulated=True) == (
        "1 photo: 1 not looked at. The gateway would have billed: 0 images."
    )


def test_waiting_in_words() -> None:
    """How long, for what, and how not to."""
    assert batch_wording.waiting(0, 30) == (
        "Stopping: nothing new is started. Waiting up to 30 s for downloads, if there are any; "
        "press Ctrl-C again to stop at once."
    )
    assert "Waiting up to 30 s for paid calls and downloads, if there are any; press" in (
        batch_wording.waiting(None, 30)
    )
    assert batch_wording.waiting(2, 30) == (
        "Stopping: nothing new is started. Waiting up to 30 s for 2 paid calls; press Ctrl-C again "
        "to stop at once."
    )


@pytest.mark.parametrize(
    ("unsaved", "said"),
    [(None, "3 images. All"), (1, "3 images, of which 1 is not saved. All"), (2, "2 are not")],
)
def test_cut_off_in_words(unsaved: int | None, said: str) -> None:
    """What is not saved is told if it is known."""
    assert said in batch_wording.cut_off(3, unsaved, None, Path("c.db"), emulated=False)


def test_why_it_stopped_in_words() -> None:
    """The limit is called as the option is; what else there is says it in its own words."""
    assert batch_wording.stopped(SpendLimitError("x")) == (
        "Nothing new is started: --max-images is reached."
    )
    assert batch_wording.stopped(AuthenticationError("Bad key.")) == (
        "Nothing new is started: Bad key."
    )


# --- what is drawn ------------------------------------------------------------------------------


def draw(display: BatchDisplay, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(display.render())
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_bar(meter: Meter, clock: Clock) -> None:
    """How many of how many, how fast, how long still, the counts, and a pause."""
    display = BatchDisplay(meter, Decimal("0.5"), is_live=True)
    assert "0/20" in draw(display)
    meter.event(RequestQueued(call=1, images=1))
    clock.now += 6
    meter.take(SAVED)
    meter.event(Paused(call=2, seconds=3.0))
    shown = draw(display)
    assert "1/20 10.0 images/min, 0:01:54 left" in shown
    assert "1 saved · spent: 1 image at 0.5 = 0.5" in shown
    assert "paused: the gateway asked to wait 3 s; 3 s left" in shown
    for width in (1, 10, 40):
        assert max(map(len, draw(display, width).splitlines())) <= width


def test_the_bar_makes_way(
    meter: Meter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is hidden while lines are written, and gone in the end."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # draw as on a terminal
    shown, hidden = "\x1b[?25l", "\x1b[?25h"

    def written() -> str:
        return capsys.readouterr().err

    with BatchDisplay(meter, None, is_live=True) as display:
        assert shown in written()
        with display.aside():
            assert hidden in written()
        assert shown in written()
        display.close()
        assert hidden in written()
        with display.aside():
            pass
        assert shown not in written()


def test_no_bar(meter: Meter, capsys: pytest.CaptureFixture[str]) -> None:
    """Where none can be drawn, nothing is."""
    with BatchDisplay(meter, None, is_live=False) as display, display.aside():
        pass
    assert capsys.readouterr().err == ""


def test_what_suits_standard_error(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar on a terminal that can draw one, unless asked for quiet."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert display_for(meter, None, quiet=False).is_live
    assert not display_for(meter, None, quiet=True).is_live
    monkeypatch.setenv("TERM", "dumb")
    assert not display_for(meter, None, quiet=False).is_live


def test_beside_a_bar_only_problems_are_told(
    meter: Meter, capsys: pytest.CaptureFixture[str]
) -> None:
    """What goes well shows in the bar, and as a path on standard output."""
    display = BatchDisplay(meter, None, is_live=True)
    saved = outcome(JobState.SAVED, spent=1, saved=(Path("/x/out/a.png"),))
    desk = BatchDesk(meter, display, Path("out"), as_json=False, quiet=False)
    desk.take(saved)
    desk.take(outcome(JobState.REFUSED, error=InvalidImageError("Empty.")))
    told = capsys.readouterr()
    assert told.out.splitlines() == [str(Path("out/a.png"))]
    assert told.err == "REFUSED a[b].png: Empty. It was not billed.\n"
    plain = BatchDesk(
        meter, BatchDisplay(meter, None, is_live=False), Path("out"), as_json=False, quiet=False
    )
    plain.take(saved)
    plain.take(NOT_STARTED)
    assert capsys.readouterr().err == f"SAVED a[b].png → {Path('out/a.png')}\n"
