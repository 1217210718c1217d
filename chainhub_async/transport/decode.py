"""Status, headers and bytes of a response → a model or an exception. Pure.

Both shapes of a 200 are read, their wrapped variants, and every known form of an error body.
Nothing a server sends makes it raise anything but this package's exceptions.
"""

from __future__ import annotations

import types
from datetime import datetime
from typing import Any, Union, get_args, get_origin

import attrs
import cattrs

from chainhub_async import errors, times
from chainhub_async.errors import Billed, printable
from chainhub_async.models import GeneratedImage, ReplaceBackgroundResult, Task
from chainhub_async.transport.errorbody import ErrorBody
from chainhub_async.transport.messages import Response

# The documentation does not define the task statuses; these are a sister API's and their usual
# variants.
_DONE = {"succeed", "succeeded", "success", "completed", "complete", "done", "finished"}
# A call makes eight images at most; the rest of a longer list stays in `raw`.
_MOST_IMAGES = 1000
_FAILED = {"failed", "fail", "failure", "error", "cancelled", "canceled", "expired", "rejected"}


def _scalar(kind: type) -> Any:
    """Returns a hook that keeps or converts a value of `kind`, and maps others to None."""

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
        return None

    return structure


def _optional(kind: type) -> Any:
    def matches(target: Any) -> bool:
        if get_origin(target) not in {Union, types.UnionType}:
            return False
        return set(get_args(target)) == {kind, type(None)}

    return matches


_converter = cattrs.Converter(detailed_validation=False)
for _kind in (str, int, bool):
    _converter.register_structure_hook_func(_optional(_kind), _scalar(_kind))
_converter.register_structure_hook_func(_optional(datetime), lambda value, _: times.moment(value))


def result(response: Response) -> ReplaceBackgroundResult:
    """Reads a 2xx response to `replace-background`, or to a poll of its task.

    Raises:
        EnvelopeError, InsufficientBalanceError: the body reports that the call failed.
        TaskFailedError: it contains a task that failed.
        InvalidReplyError: it contains nothing usable.
    """
    try:
        raw = response.json()
    except ValueError:
        kind = printable(response.header("content-type") or "no type", 60)
        raise _unusable(response, f"is not JSON ({kind}, {len(response.body):,} bytes)") from None
    error = ErrorBody.of(raw)
    envelope = raw if isinstance(raw, dict) else {"data": raw}
    data, created = envelope.get("data"), envelope.get("created")
    if isinstance(data, dict) and isinstance(data.get("data"), list):
        # Some gateways wrap the image list once more.
        data, created = data["data"], data.get("created", created)
    task = _task(data) if isinstance(data, dict) else None
    images = _images(data, response.received_at)
    if error.failed:
        # A code that refuses proves nothing beside images or a task.
        proven = error.refuses and not images and task is None
        raise _envelope_error(response, error, Billed.NO if proven else Billed.MAYBE)
    return _checked(
        response,
        ReplaceBackgroundResult(
            images=images,
            task=task,
            code=_code(envelope.get("code")),
            message=_text(envelope.get("message")),
            request_id=response.request_id or error.request_id,
            created=times.moment(created),
            received_at=response.received_at,
            raw=raw,
        ),
    )


def _checked(response: Response, found: ReplaceBackgroundResult) -> ReplaceBackgroundResult:
    if found.task is not None and found.task.task_status.lower() in _FAILED:
        said = f": {printable(found.task.status_message)}" if found.task.status_message else ""
        raise errors.TaskFailedError(
            f"Task {printable(found.task.task_id, 100)} ended as "
            f"{printable(found.task.task_status, 50)!r}{said}.",
            task=found.task,
            billed=Billed.MAYBE,
            **_facts(response, found.request_id),
        )
    if found.task is None and not found.images:
        raise _unusable(response, "contains neither images nor a task", found.request_id)
    return found


def is_finished(task: Task | None) -> bool:
    """Returns whether the task has a result, or there is no task to wait for."""
    return task is None or task.task_status.lower() in _DONE


def _images(data: Any, received: datetime) -> tuple[GeneratedImage, ...]:
    if isinstance(data, dict):
        inner = data.get("task_result")
        data = inner.get("images") if isinstance(inner, dict) else None
    items = data[:_MOST_IMAGES] if isinstance(data, list) else []
    return tuple(
        _image(item if isinstance(item, dict) else {"url": item}, received)
        for item in items
        if isinstance(item, dict) or (isinstance(item, str) and item)
    )


def _image(item: dict[str, Any], received: datetime) -> GeneratedImage:
    image = _converter.structure(item, GeneratedImage)
    # Withheld images have a null, an empty, or no url.
    url = image.url or None
    expires = image.expires_at or (times.url_expiry(url, received) if url else None)
    return attrs.evolve(image, url=url, expires_at=expires)


def _task(data: dict[str, Any]) -> Task | None:
    # `task_status_msg` is a sister API's name for the field.
    words = data.get("task_status_msg") or data.get("status_message")
    identity = data.get("task_id")
    if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
        return None
    fields = _converter.structure(
        {**data, "task_id": str(identity), "task_status": "", "status_message": words}, Task
    )
    return attrs.evolve(fields, task_status=_text(data.get("task_status")) or "")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _code(value: Any) -> str | int | None:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _facts(response: Response, request_id: str | None) -> dict[str, Any]:
    return {
        "status": response.status,
        "request_id": response.request_id or request_id,
        "bytes_sent": response.bytes_sent,
    }


def _unusable(
    response: Response, what: str, request_id: str | None = None
) -> errors.InvalidReplyError:
    return errors.InvalidReplyError(
        f"The gateway responded with {response.status}, but the response {what}. The call was "
        "billed; the response body is kept in `error.body`.",
        body=response.body,
        billed=Billed.YES,
        **_facts(response, request_id),
    )


def _envelope_error(response: Response, error: ErrorBody, billed: Billed) -> errors.APIError:
    kind = errors.InsufficientBalanceError if error.no_balance else errors.EnvelopeError
    return kind(
        f"The gateway responded with {response.status} and error code {printable(error.code, 80)}: "
        f"{error.sentence}",
        body=response.body,
        code=error.code,
        billed=billed,
        **_facts(response, error.request_id),
    )


_BY_STATUS: dict[int, type[errors.APIError]] = {
    401: errors.AuthenticationError,
    402: errors.InsufficientBalanceError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    413: errors.PayloadTooLargeError,
    422: errors.ContentRejectedError,
    429: errors.RateLimitError,
}

_HINTS = {
    401: " Check the API key.",
    404: " Check the base URL.",
    413: " The body is too large for the gateway or a proxy in front of it.",
}


def api_error(response: Response, billed: Billed, *, max_retry_after: float) -> errors.APIError:
    """Returns the exception for a final response that is not a success.

    Args:
        response: the response.
        billed: whether the call may have been billed.
        max_retry_after: a longer `Retry-After` than this is mentioned in the message.
    """
    error = ErrorBody.of_bytes(response.body)
    status = response.status
    facts: dict[str, Any] = _facts(response, error.request_id)
    facts |= {"billed": billed, "body": response.body, "code": error.code}
    if 300 <= status < 400:
        target = response.header("location")
        return errors.RedirectError(
            f"The gateway responded with {status}, a redirect to "
            f"{printable(target or 'no URL', 200)!r}. The client does not follow redirects; check "
            "the base URL.",
            location=None if target is None else printable(target, 2000),
            **facts,
        )
    kind = _BY_STATUS.get(status, _kind_of(status))
    if error.no_balance:
        kind = errors.InsufficientBalanceError
    waits = wait_asked_for(response)
    if waits is not None:
        facts["retry_after"] = waits
        facts["retry_at"] = times.later(response.received_at, waits)
    hint = _HINTS.get(status, "")
    if waits is not None and waits > max_retry_after:
        hint = (
            f" Retry-After is {waits:.0f} s, longer than RetryPolicy.max_retry_after "
            f"({max_retry_after:g} s)."
        )
    return kind(f"The gateway responded with {status}: {error.sentence}{hint}", **facts)


def _kind_of(status: int) -> type[errors.APIError]:
    if status >= 500:
        return errors.ServerError
    return errors.BadRequestError if status >= 400 else errors.APIError


def wait_asked_for(response: Response) -> float | None:
    """Returns the seconds of the response's `Retry-After`, or None."""
    return times.retry_after(
        response.header("retry-after"), response.header("date"), response.received_at
    )
