"""Looks up host names in threads that nobody has to wait for.

Those of the event loop are waited for when it ends, and those of anyio by the interpreter: a name
server that does not answer would hold back Ctrl-C and the end of the program.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
from anyio.lowlevel import current_token


async def look_up(
    host: str, port: int | None = None, family: int = 0, at_end: Callable[[], object] = bool
) -> list[Any]:
    """Returns what `socket.getaddrinfo` does. A look-up that is cancelled goes on unheeded.

    Args:
        host: the name.
        port: the port.
        family: the addresses' family; 0 for any.
        at_end: called on the event loop when the look-up has ended, also one that was cancelled.

    Raises:
        OSError: the name cannot be resolved, or there is no thread to be had.
        UnicodeError: it is no valid name.
    """
    loop: Any = current_token().native_token
    done = anyio.Event()
    found: list[Any] = []
    problems: list[Exception] = []

    def work() -> None:
        try:
            found.extend(_getaddrinfo(host, port, family))
        except Exception as problem:
            problems.append(problem)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(end)

    def end() -> None:
        at_end()
        done.set()

    try:
        threading.Thread(target=work, name="chainhub-async-lookup", daemon=True).start()
    except RuntimeError as problem:
        at_end()
        raise OSError(f"no thread to look up a name: {problem}") from None
    await done.wait()
    if problems:
        raise problems.pop()
    return found


def _getaddrinfo(host: str, port: int | None, family: int) -> list[Any]:
    try:
        return socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    except socket.gaierror:
        # Windows has no address for `localhost` while no network is connected.
        if sys.platform != "win32" or host.rstrip(".").lower() != "localhost":
            raise
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
