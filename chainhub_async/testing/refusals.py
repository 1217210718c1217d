"""The gateway's refusals, as exceptions that know their response bodies."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = [
    "GATEWAY_ERROR",
    "RefusalError",
    "bad_request",
    "in_flight_limit",
    "no_balance",
    "no_such_path",
    "no_such_task",
    "too_large",
    "unauthorized",
    "unsafe",
    "wrong_method",
]

GATEWAY_ERROR = "new_api_error"


@attrs.define(eq=False)
class RefusalError(Exception):
    """A request is refused.

    Attributes:
        status: The HTTP status.
        message: What the body says.
        code: The body's `error.code`.
        headers: Headers besides those of every response.
        whole_body: The whole body, if it is not in the gateway's usual form.
    """

    status: int
    message: str
    code: str = attrs.field(default="", kw_only=True)
    headers: dict[str, str] = attrs.field(factory=dict[str, str], kw_only=True)
    whole_body: dict[str, Any] | None = attrs.field(default=None, kw_only=True)

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body; the gateway writes its request id into the message's text."""
        if self.whole_body is not None:
            return self.whole_body
        message = f"{self.message} (request id: {request_id})"
        return {"error": {"message": message, "type": GATEWAY_ERROR, "code": self.code}}


def bad_request(message: str) -> RefusalError:
    """400: a field or the framing is not as documented."""
    return RefusalError(400, message, code="invalid_request")


def unauthorized() -> RefusalError:
    """401: the key is missing or unknown. The message never repeats what was sent."""
    return RefusalError(401, "Invalid token")


def no_balance(message: str) -> RefusalError:
    """403: the account cannot pay for the requested images."""
    return RefusalError(403, message, code="insufficient_user_quota")


def too_large(message: str) -> RefusalError:
    """413: the body or an image in it is larger than allowed."""
    return RefusalError(413, message, code="request_too_large")


def unsafe(message: str) -> RefusalError:
    """422: the prompt or the image failed the safety check."""
    return RefusalError(422, message, code="safety_check_failed")


def no_such_path(method: str, path: str) -> RefusalError:
    """404, in the gateway's wording, which has no request ID yet."""
    error = {
        "message": f"Invalid URL ({method} {path})",
        "type": "invalid_request_error",
        "param": "",
        "code": "",
    }
    return RefusalError(404, error["message"], whole_body={"error": error})


def wrong_method(method: str, path: str, allowed: str) -> RefusalError:
    """405, naming the method that would be served."""
    message = f"{method} is not allowed for {path}; use {allowed}"
    return RefusalError(405, message, headers={"Allow": allowed})


def no_such_task(task_id: str) -> RefusalError:
    """404, in the form of the gateway's task routes."""
    message = f"task {task_id!r} does not exist"
    body = {"code": "task_not_exist", "message": message, "data": None}
    return RefusalError(404, message, whole_body=body)


def in_flight_limit(limit: int) -> RefusalError:
    """429: too many images in progress, in the form Ideogram documents."""
    message = f"at most {limit} images may be in progress"
    body = {"error": message, "reject_reason": "inflight_limit", "max_inflight_requests": limit}
    return RefusalError(429, message, whole_body=body)
