"""Waiting for a task by polling a path that the caller supplies."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import anyio
import attrs

from chainhub_async.errors import (
    APIError,
    Billed,
    InvalidOptionError,
    RateLimitError,
    ServerError,
    TaskError,
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
    """Polls until the task has finished; see `AsyncChainHub.wait`."""
    where = _where(path, task)
    _check_seconds("interval", interval)
    _check_seconds("timeout", timeout)
    problem: Exception | None = None
    with anyio.move_on_after(timeout):
        while True:
            try:
                found = decode.result(await ask(where))
            except (TransportError, RateLimitError, ServerError) as unanswered:
                # The task continues whether or not it can be polled right now.
                problem = unanswered
            except APIError as refusal:
                raise TaskError(
                    f"Task {printable(task.task_id, 100)} cannot be polled at {where!r}: {refusal} "
                    "The task itself is paid for and continues.",
                    task=task,
                    billed=Billed.YES,
                    status=refusal.status,
                    code=refusal.code,
                    request_id=refusal.request_id,
                ) from refusal
            else:
                if decode.is_finished(found.task):
                    return found
                # Keep the ID that was polled, whatever the response says: it can be polled again.
                problem, task = None, attrs.evolve(found.task or task, task_id=task.task_id)
            await anyio.sleep(interval)
    last = "" if problem is None else f" The last poll failed: {problem}"
    raise TaskTimeoutError(
        f"Task {printable(task.task_id, 100)} was still {printable(task.task_status, 50)!r} after "
        f"{timeout:g} s. It may still finish: wait for it again.{last}",
        task=task,
    ) from problem


def _where(path: Any, task: Any) -> str:
    if not isinstance(task, Task):
        raise InvalidOptionError(
            f"task is a {type(task).__name__}; a Task, as in result.task, is expected."
        )
    if not isinstance(path, str) or "{task_id}" not in path:
        raise InvalidOptionError(
            f"path is {printable(repr(path), 200)}; it must contain {{task_id}}."
        )
    try:
        quoted = quote(task.task_id, safe="")
    except (TypeError, UnicodeEncodeError):
        quoted = ""
    # The dots cannot be quoted: in a path they mean another one.
    if quoted in {"", ".", ".."}:
        raise InvalidOptionError(
            f"task.task_id is {printable(repr(task.task_id), 100)}; text that can be part of a URL "
            "path is expected."
        )
    return path.replace("{task_id}", quoted)


def _check_seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidOptionError(
            f"{name} is a {type(value).__name__}; a number of seconds is expected."
        )
    if math.isnan(value) or value <= 0:
        raise InvalidOptionError(f"{name} is {value!r}; a number of seconds above zero is allowed.")
