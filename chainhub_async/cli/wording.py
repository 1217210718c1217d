"""The messages about outcomes. Server text is shown on one line, control characters escaped."""

from __future__ import annotations

from collections.abc import Sequence

from chainhub_async.cli.outcome import Outcome, State
from chainhub_async.errors import (
    AuthenticationError,
    Billed,
    ChainHubError,
    ConnectError,
    NotFoundError,
    printable,
)
from chainhub_async.models import GeneratedImage, Task

# Names listed in a sentence; the others are counted.
_MOST_NAMES = 5
_LONGEST_URL = 4000
_DIAGNOSED = (ConnectError, AuthenticationError, NotFoundError)


def sentences(outcome: Outcome) -> list[str]:
    """Returns the messages about a photo besides its saved files; often none."""
    said = [_happened(outcome), *map(_where, outcome.unsaved)]
    name = outcome.photo.shown
    return [f"{name}: {sentence}" for sentence in said if sentence]


def _happened(outcome: Outcome) -> str:
    match outcome.state:
        case State.NOT_STARTED:
            return "not started."
        case State.CANCELLED:
            return f"cancelled{_task(outcome)}. {billed(outcome.billed)}"
        case State.UNFINISHED:
            words = f" {outcome.error.message}" if outcome.error else ""
            return (
                f"accepted and billed, but not finished{_task(outcome)}.{words} To fetch it later: "
                "hub.wait(Task(task_id=...), path=...). Results expire after 24 hours."
            )
        case State.WITHHELD | State.SAVED:
            return _withheld(outcome)
        case State.FAILED:
            said = [] if outcome.error is None else [failure(outcome.error)]
            return " ".join([*said, billed(outcome.billed)])


def failure(error: ChainHubError) -> str:
    """Returns what an error says, with all that helps to find out more."""
    known = error.request_id is None or error.request_id in error.message
    identity = "" if known else f" (request ID {printable(error.request_id, 200)})"
    body: bytes = getattr(error, "body", b"") if error.billed is not Billed.NO else b""
    if error.billed is Billed.MAYBE and body.lstrip().startswith(b"<"):
        body = b""  # a page of a proxy says no more than its title
    kept = (
        f" The response began: {printable(body.decode('utf-8', 'replace'), 1000)}" if body else ""
    )
    hint = " `chainhub doctor` may tell more." if isinstance(error, _DIAGNOSED) else ""
    return f"{error.message}{identity}{kept}{hint}"


def billed(how: Billed) -> str:
    """Returns the sentence about what it cost."""
    return {
        Billed.NO: "It was not billed.",
        Billed.MAYBE: "It may have been billed.",
        Billed.YES: "It was billed.",
    }[how]


def _task(outcome: Outcome) -> str:
    task: Task | None = outcome.result.task if outcome.result else None
    if task is None:
        return ""
    return f": task {printable(task.task_id, 200)}, {printable(task.task_status, 50)!r}"


def _withheld(outcome: Outcome) -> str:
    if not outcome.withheld:
        return ""
    images = "1 image was" if outcome.withheld == 1 else f"{outcome.withheld} images were"
    return f"{images} withheld as unsafe by the gateway, but billed."


def _where(image: GeneratedImage) -> str:
    until = f"until {image.expires_at:%Y-%m-%d %H:%M %Z}" if image.expires_at else "for 24 hours"
    return (
        f"not saved; download it free of charge {until} from {printable(image.url, _LONGEST_URL)}"
    )


def summary(outcomes: Sequence[Outcome]) -> str:
    """Returns the summary of a run of several photos."""
    counts = [
        (_count(outcomes, State.SAVED), "saved"),
        (_count(outcomes, State.FAILED), "failed"),
        (_count(outcomes, State.UNFINISHED), "not finished"),
        (_count(outcomes, State.WITHHELD), "withheld"),
        (_count(outcomes, State.NOT_STARTED), "not started"),
    ]
    said = ", ".join(f"{number} {word}" for number, word in counts if number)
    return f"{_photos(len(outcomes))}: {said}."


def interrupted(outcomes: Sequence[Outcome]) -> str:
    """Returns the summary of an interrupted run."""
    owed = sorted((each for each in outcomes if each.owed), key=lambda each: each.photo.number)
    not_started = _count(outcomes, State.NOT_STARTED)
    said = [f"{_count(outcomes, State.SAVED)} of {_photos(len(outcomes))} saved"]
    if owed:
        said.append(f"billed or possibly billed, but not saved: {_names(owed)}")
    else:
        said.append("nothing else was billed")
    if not_started:
        said.append(f"{not_started} not started")
    return f"Interrupted: {'; '.join(said)}."


def _count(outcomes: Sequence[Outcome], state: State) -> int:
    return sum(outcome.state is state for outcome in outcomes)


def _names(outcomes: Sequence[Outcome]) -> str:
    shown = [outcome.photo.shown for outcome in outcomes[:_MOST_NAMES]]
    more = len(outcomes) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _photos(number: int) -> str:
    return "1 photo" if number == 1 else f"{number} photos"
