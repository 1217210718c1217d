"""Knows which event loop waits for which, so that none waits for itself."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Waiting(Protocol):
    """A loop with a thread of its own, in which a callback may wait for another loop.

    Attributes:
        waits_for: the loop for which it is waiting.
    """

    waits_for: Waiting | None


# The loop whose thread this is.
_here = threading.local()
# For threads that run no loop, which is most of them; cheaper than a generator.
_NOTHING = nullcontext()


def this_thread_runs(loop: Waiting) -> None:
    """Says which loop the calling thread runs."""
    _here.loop = loop


def waiting_for(loop: Waiting) -> AbstractContextManager[None]:
    """Surrounds a wait for what `loop` does."""
    here: Waiting | None = getattr(_here, "loop", None)
    return _NOTHING if here is None else _waiting_for(loop, here, goes_on=False)


def about_to_wait_for(loop: Waiting) -> AbstractContextManager[None]:
    """Surrounds what comes before a wait; `waiting_for` follows unless it fails."""
    here: Waiting | None = getattr(_here, "loop", None)
    return _NOTHING if here is None else _waiting_for(loop, here, goes_on=True)


@contextmanager
def _waiting_for(loop: Waiting, here: Waiting, *, goes_on: bool) -> Generator[None, None, None]:
    here.waits_for = loop
    try:
        yield
    except BaseException:
        here.waits_for = None
        raise
    if not goes_on:
        here.waits_for = None


def would_wait_for_ever(loop: Waiting) -> bool:
    """Returns whether `loop` waits, through others or itself, for the thread that is asking.

    To be asked within `about_to_wait_for`: of two that ask at once, one sees the other then.
    """
    here: Waiting | None = getattr(_here, "loop", None)
    if here is None:
        return False
    seen: set[int] = set()
    ahead: Waiting | None = loop
    while ahead is not None and ahead is not here and id(ahead) not in seen:
        seen.add(id(ahead))
        ahead = ahead.waits_for
    return ahead is here
