"""Waiting for a task: asking at a path that the caller names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import anyio

from chainhub_async.errors import (
    InvalidOptionError,
    RateLimitError,
    ServerError,
    TaskTimeoutError,
    TransportError,
    printable,
)
from chainhub_async.models import ReplaceBackgroundResult, Task
from chainhub_async.transport import decode
from chainhub_async.transport.messages import Response

Ask = Callable[[str], Awaitable[Response]]


async def wait_for(
    ask: Ask, task: Task, *, path: str, interval: float, timeout: float
) -> ReplaceBackgroundResult:
    """Asks until the task has ended; see `AsyncChainHub.wait`."""
    if not isinstance(task, Task):
        raise InvalidOptionError(
            f"task is a {type(task).__name__}; a Task, as in result.task, is expected."
        )
    if not isinstance(path, str) or "{task_id}" not in path:
        raise InvalidOptionError(f"path is {path!r}; it must say where {{task_id}} belongs.")
    if not interval > 0 or not timeout > 0:
        raise InvalidOptionError("interval and timeout are seconds above zero.")
    where = path.replace("{task_id}", quote(task.task_id, safe=""))
    with anyio.move_on_after(timeout):
        while True:
            found = await _asked(ask, where)
            if found is not None and decode.is_finished(found.task):
                return found
            task = (found and found.task) or task
            await anyio.sleep(interval)
    raise TaskTimeoutError(
        f"Task {printable(task.task_id, 100)} was still {printable(task.task_status, 50)!r} after "
        f"{timeout:g} s. It may yet finish: wait for it again.",
        task=task,
    )


async def _asked(ask: Ask, where: str) -> ReplaceBackgroundResult | None:
    try:
        return decode.result(await ask(where))
    except (TransportError, RateLimitError, ServerError):
        # The task goes on whether or not it can be asked for right now.
        return None
