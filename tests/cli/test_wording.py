"""What is said and known of a photo, where a whole run would be hard to bring there."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from chainhub_async.cli import wording
from chainhub_async.cli.desk import Desk
from chainhub_async.cli.display import Display
from chainhub_async.cli.follower import Follower, Stage
from chainhub_async.cli.outcome import Outcome, State
from chainhub_async.cli.photos import Photo
from chainhub_async.cli.run import _Story
from chainhub_async.errors import Billed
from chainhub_async.events import (
    CallCancelled,
    Event,
    ReplyReceived,
    RequestQueued,
    RetryScheduled,
    UploadProgress,
)


def photo(number: int) -> Photo:
    return Photo(number=number, name=f"p{number}.png", image="x", stem="x")


def follower(*, resend_uncertain: bool = False) -> Follower:
    return Follower(
        on_stage=lambda _, __, ___: None, on_note=lambda _: None, resend_uncertain=resend_uncertain
    )


WHOLE = UploadProgress(call=1, attempt=1, bytes_sent=9, bytes_total=9)
AGAIN = RetryScheduled(call=1, attempt=1, delay=0.1, reason="because")


@pytest.mark.parametrize(
    ("events", "risky", "billed"),
    [
        ([RequestQueued(call=1, images=1)], False, Billed.NO),
        (
            [CallCancelled(call=1, attempt=1, bytes_sent=9, billed=Billed.MAYBE)],
            False,
            Billed.MAYBE,
        ),
        ([WHOLE, AGAIN], False, Billed.NO),
        ([WHOLE, AGAIN], True, Billed.MAYBE),
        ([AGAIN], True, Billed.NO),
        ([ReplyReceived(call=1, status=200, request_id=None)], True, Billed.NO),
    ],
)
def test_what_events_say_of_money(events: list[Event], *, risky: bool, billed: Billed) -> None:
    """Only a call broken off after its last byte, or resent at a risk, may have been billed."""
    following = follower(resend_uncertain=risky)
    for event in events:
        following(event)
    assert following.billed is billed


def test_stages_of_an_upload() -> None:
    """A question about a task is no upload: its place in the queue is not shown."""
    stages: list[Stage] = []
    following = Follower(on_stage=lambda stage, _, __: stages.append(stage), on_note=lambda _: None)
    following(RequestQueued(call=1, images=1))
    following(UploadProgress(call=1, attempt=1, bytes_sent=1, bytes_total=9))
    following(WHOLE)
    following(RequestQueued(call=2, images=0))
    assert stages == [Stage.QUEUED, Stage.UPLOAD, Stage.WAIT]


@pytest.mark.anyio
@pytest.mark.parametrize(("sent", "state"), [(False, State.NOT_STARTED), (True, State.CANCELLED)])
async def test_taken_back_while_it_left(*, sent: bool, state: State) -> None:
    """A call taken back after an account error has begun once a byte of it has left."""
    story = _Story(photo=photo(1), follower=follower())
    story.follower.sent = sent
    with story.scope:
        story.scope.cancel()
        await anyio.sleep(1)
    outcome = story.outcome()
    assert outcome.state is state
    if sent:
        assert wording.sentences(outcome) == ["p1.png: cancelled. It was not billed."]


def test_many_names_are_counted() -> None:
    """The sentence stays one that can be read."""
    outcomes = [
        Outcome(photo=photo(number), state=State.CANCELLED, billed=Billed.MAYBE)
        for number in range(8, 0, -1)
    ]
    sentence = wording.interrupted(outcomes)
    assert "p1.png, p2.png, p3.png, p4.png, p5.png and 3 more." in sentence


def test_paths_on_a_terminal_are_safe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal a path's control characters are escaped."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    desk = Desk(Display(), as_json=False)
    desk.take(Outcome(photo=photo(1), state=State.SAVED, saved=(Path("a\x1b[1m.png"),)))
    assert capsys.readouterr().out == "a\\x1b[1m.png\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
