"""Signals that end the command: the first one lets it clean up, a second Ctrl-C does not."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import attrs
from anyio.lowlevel import current_token

# SIGHUP, which Windows does not have, is what a closed terminal window sends.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@attrs.define
class Interruption:
    """Whether the block was interrupted.

    Attributes:
        number: the signal's number, or None.
    """

    number: int | None = None


@contextmanager
def interruptible(on_first: Callable[[], object]) -> Generator[Interruption, None, None]:
    """Cancels the block on the first signal and waits for it; a second Ctrl-C ends the process.

    Must be entered on an event loop in the main thread. Signals that the process was started to
    ignore, as by `nohup`, stay ignored.

    Args:
        on_first: called on the event loop at the first signal.
    """
    scope = anyio.CancelScope()

    def stop() -> None:
        on_first()
        scope.cancel()

    with heeding(stop) as interruption, scope:
        yield interruption


@contextmanager
def heeding(
    on_first: Callable[[], object], on_second: Callable[[], object] = lambda: None
) -> Generator[Interruption, None, None]:
    """As `interruptible`, but leaves it to `on_first` to end the block.

    Args:
        on_first: called on the event loop at the first signal.
        on_second: called at a second Ctrl-C, wherever the main thread is just then; the process
            ends after it.
    """
    interruption = Interruption()
    loop: Any = current_token().native_token

    def stop(number: int) -> None:
        if interruption.number is None:
            interruption.number = number
            on_first()

    def end(number: int, _: object) -> None:
        # As shells expect it; also at a third one, should the second not get that far.
        signal.signal(number, signal.SIG_DFL)
        try:
            on_second()
        finally:
            signal.raise_signal(number)

    def handle(number: int, _: object) -> None:
        # Only SIGINT: wrappers and closing terminals send the others twice within a moment.
        if signal.SIGINT in before:  # a job in the background ignores it
            signal.signal(signal.SIGINT, end)
        loop.call_soon_threadsafe(stop, number)

    before = {number: signal.signal(number, handle) for number in _heeded()}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _heeded() -> list[signal.Signals]:
    known = [getattr(signal, name, None) for name in _SIGNALS]
    return [
        number
        for number in known
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN
    ]
