"""The names that `--json` uses, in every command the same for what is the same. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from chainhub_async.errors import ChainHubError

if TYPE_CHECKING:
    from chainhub_async.batch.jobs import JobState
    from chainhub_async.errors import Billed
    from chainhub_async.models import ReplaceBackgroundResult

_ERROR: Mapping[str, Callable[[ChainHubError], Any]] = {
    "type": lambda error: type(error).__name__,
    "message": attrgetter("message"),
    "billed": attrgetter("billed.value"),
    **{name: attrgetter(name) for name in ("status", "code", "request_id")},
}


# The metadata of a field that the help explains.
_WORDS = "words"


@attrs.frozen(kw_only=True)
class _OutcomeFacts:
    """What is told of a photo that was to be sent, by every command that sends some."""

    index: int
    image: str = attrs.field(metadata={_WORDS: "its path, as given"})
    state: str = attrs.field(metadata={_WORDS: "SAVED, REFUSED and so on, as in a ledger"})
    billed: str = attrs.field(metadata={_WORDS: "no, maybe or yes"})
    saved: list[str] = attrs.field(metadata={_WORDS: "paths"})
    withheld: int = attrs.field(metadata={_WORDS: "how many images"})
    request_id: str | None
    error: dict[str, Any] | None = attrs.field(metadata={_WORDS: ", ".join(_ERROR)})


def _words(field: attrs.Attribute[Any]) -> str:
    words = field.metadata.get(_WORDS)
    return field.name if words is None else f"{field.name} ({words})"


OUTCOME_HELP = (
    "Print one line of JSON per photo instead of paths: "
    f"{', '.join(_words(field) for field in attrs.fields(_OutcomeFacts))}, "
)
"""Begins the help of `--json` where photos are sent; the command says what else there is."""


def outcome_facts(
    *,
    index: int,
    image: object,
    state: JobState,
    billed: Billed,
    saved: Sequence[Path],
    result: ReplaceBackgroundResult | None,
    error: ChainHubError | None,
) -> dict[str, Any]:
    """Returns what `OUTCOME_HELP` names."""
    told = None if result is None else result.request_id
    return attrs.asdict(
        _OutcomeFacts(
            index=index,
            image=str(image),
            state=state.value,
            billed=billed.value,
            saved=[str(path) for path in saved],
            withheld=withheld_of(result),
            request_id=told or (None if error is None else error.request_id),
            error=None if error is None else error_facts(error),
        )
    )


def withheld_of(result: ReplaceBackgroundResult | None) -> int:
    """Returns how many images the gateway withheld as unsafe."""
    return 0 if result is None else sum(image.url is None for image in result.images)


def error_facts(error: ChainHubError) -> dict[str, Any]:
    """Returns what is told of an error."""
    return {name: value_of(error) for name, value_of in _ERROR.items()}


def recorded_error_facts(error: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the same of an error as a ledger has it; None if there is none."""
    return {name: error.get(name) for name in _ERROR} if error else None
