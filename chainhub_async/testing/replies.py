"""The 200 responses: every shape the gateway is known to send, as plain values for JSON."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CreatedForm",
    "Reply",
    "Task",
    "WithheldUrl",
    "choices",
    "created_value",
    "image_entry",
    "image_reply",
    "model_list",
    "task_reply",
]

Reply = Literal["images", "task", "wrapped", "wrapped_object"]
"""`images`: Ideogram's list. `task`: the task envelope of the API description. `wrapped`:
`{"code": 0, "data": [...]}`. `wrapped_object`: `{"code": 0, "data": {"created": ..., "data": …}}`.
"""

CreatedForm = Literal[
    "z-0", "z-6", "z-9",
    "offset-0", "offset-6", "offset-9",
    "space-z-0", "space-z-6", "space-z-9",
    "space-offset-0", "space-offset-6", "space-offset-9",
    "epoch", "absent",
]  # fmt: skip
"""How `created` is written: ISO 8601 with `Z` or `+08:00` and 0, 6 or 9 fractional digits, with
`T` or a space between date and time; a Unix time; or not at all."""

WithheldUrl = Literal["null", "empty", "absent"]
"""What stands for the URL of an image that was withheld as unsafe."""

TaskStatus = Literal["submitted", "processing", "succeed", "failed"]

_NANOSECONDS = 1_000_000_000
_EAST = timezone(timedelta(hours=8))


def created_value(now: float, form: CreatedForm) -> str | int | None:
    """Write a time in one of the forms seen.

    Args:
        now: Unix seconds.
        form: The form.

    Returns:
        The value of `created`; None for `absent`.
    """
    if form == "absent":
        return None
    if form == "epoch":
        return int(now)
    *style, digits = form.split("-")
    seconds, nanoseconds = divmod(round(now * _NANOSECONDS), _NANOSECONDS)
    zone = _EAST if "offset" in style else timezone.utc
    moment = datetime.fromtimestamp(seconds, zone)
    separator = " " if "space" in style else "T"
    fraction = f".{nanoseconds:09d}"[: int(digits) + 1] if digits != "0" else ""
    suffix = "+08:00" if "offset" in style else "Z"
    return f"{moment:%Y-%m-%d}{separator}{moment:%H:%M:%S}{fraction}{suffix}"


def image_entry(
    *,
    url: str | None,
    prompt: str,
    resolution: str,
    seed: int,
    withheld_url: WithheldUrl,
) -> dict[str, Any]:
    """One image of the list (Ideogram's documentation); a `url` of None means withheld."""
    entry: dict[str, Any] = {"url": url} if url is not None else _withheld(withheld_url)
    entry |= {"prompt": prompt, "resolution": resolution, "is_image_safe": url is not None}
    return entry | {"seed": seed, "style_type": "GENERAL"}


def _withheld(form: WithheldUrl) -> dict[str, Any]:
    forms: dict[WithheldUrl, dict[str, Any]] = {
        "null": {"url": None},
        "empty": {"url": ""},
        "absent": {},
    }
    return forms[form]


def image_reply(
    shape: Reply, created: str | int | None, entries: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The list of images, bare or wrapped as some gateways do."""
    stamp: dict[str, Any] = {} if created is None else {"created": created}
    listed = stamp | {"data": list(entries)}
    if shape == "wrapped":
        return {"code": 0, "data": list(entries)}
    if shape == "wrapped_object":
        return {"code": 0, "data": listed}
    return listed


@attrs.define(kw_only=True)
class Task:
    """A call with a task envelope as its response; it advances when it is polled.

    Attributes:
        task_id: Its id.
        created_at: Unix milliseconds.
        updated_at: Unix milliseconds.
        images: Its images once it succeeds.
        status: Its current status.
        polls: How often it was polled before its end.
        failure: Why it failed; None if it did not.
    """

    task_id: str
    created_at: int
    updated_at: int = attrs.field(init=False)
    images: Sequence[dict[str, Any]]
    status: TaskStatus = "submitted"
    polls: int = 0
    failure: str | None = None

    def __attrs_post_init__(self) -> None:
        self.updated_at = self.created_at

    def poll(self, now: int, *, polls_needed: int, failure: str | None) -> None:
        """Advance by one poll, at `now` (Unix milliseconds)."""
        if self.status in {"succeed", "failed"}:
            return
        self.polls += 1
        self.updated_at = now
        if self.polls <= polls_needed:
            self.status = "processing"
        else:
            self.failure = failure
            self.status = "succeed" if failure is None else "failed"


def task_reply(task: Task, request_id: str) -> dict[str, Any]:
    """The task envelope; its terminal forms are those of the gateway's other task routes."""
    data: dict[str, Any] = {
        "task_id": task.task_id,
        "task_status": task.status,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
    }
    if task.failure is not None:
        data["task_status_msg"] = task.failure
    if task.status == "succeed":
        data["task_result"] = {
            "images": [
                {"index": index, "url": image.get("url") or ""}
                for index, image in enumerate(task.images)
            ]
        }
    return {"code": 0, "message": "SUCCEED", "request_id": request_id, "data": data}


def model_list() -> dict[str, Any]:
    """The list of models, in the form the gateway family shares with others."""
    model = {"id": "ideogram-v3", "object": "model", "created": 1746000000, "owned_by": "ideogram"}
    return {"object": "list", "data": [model]}


def choices(literal: object) -> tuple[str, ...]:
    """The values of a `Literal`, for checks at run time."""
    return cast("tuple[str, ...]", get_args(literal))
