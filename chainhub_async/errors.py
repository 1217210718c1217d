"""Everything this package raises, as one tree.

    ChainHubError
    ├── ConfigurationError           no key, a bad base URL, a limit that makes no sense
    ├── ClosedError                  the client was closed, or belongs to another event loop
    ├── InvalidRequestError          this package refused the call; no byte was sent
    │   ├── InvalidImageError        missing, empty, cut, too large, not JPEG/PNG/WebP
    │   └── InvalidOptionError       an option out of range, or two that exclude each other
    ├── ImageChangedError            the file changed while it was being sent
    ├── APIError                     the gateway answered, and the answer is no
    │   ├── BadRequestError          400 and every other 4xx without a class of its own
    │   ├── AuthenticationError      401
    │   ├── InsufficientBalanceError 402, and 403/429/200 whose body says "no balance"
    │   ├── PermissionDeniedError    403
    │   ├── NotFoundError            404, most often a wrong base URL
    │   ├── PayloadTooLargeError     413
    │   ├── ContentRejectedError     422, prompt or image failed the safety check
    │   ├── RateLimitError           429
    │   ├── RedirectError            3xx; a POST is never sent on to another place
    │   ├── ServerError              5xx
    │   └── EnvelopeError            HTTP 200 whose body carries an error code
    ├── TransportError               no usable answer came
    │   ├── ConnectError             DNS, refused, unreachable, handshake cut
    │   │   ├── NameResolutionError  the host name is not known
    │   │   ├── CertificateError     the server's certificate or TLS version was refused
    │   │   └── ProxyError           the proxy would not pass the connection on
    │   ├── ConnectionLostError      reset or end of stream after the connection stood
    │   ├── DeadlineError            a deadline passed; `phase` says which (also a TimeoutError)
    │   └── InvalidReplyError        an answer that cannot be read; its bytes are kept
    ├── TaskError
    │   ├── TaskFailedError          the task ended without a result
    │   └── TaskTimeoutError         waiting ended before the task did; `task` is kept
    └── DownloadError                a result could not be brought home; asking again is free
        ├── ResultExpiredError       results live 24 hours
        └── UnsafeAddressError       the result's address is not a public one

Every one carries what a caller needs to decide what to do next, above all `billed`.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from chainhub_async.models import Task


class Billed(enum.Enum):
    """Whether money may have been spent on a call that failed."""

    NO = "no"
    """Proven: the request was not executed. Sending it again costs one charge."""
    MAYBE = "maybe"
    """Unknown: the whole request left, and no trustworthy answer came."""
    YES = "yes"
    """The gateway reported success; only the result is missing or unusable."""

    @staticmethod
    def worst(*values: Billed) -> Billed:
        """Returns the gravest of `values`: `YES` before `MAYBE` before `NO`."""
        return max(values, key=list(Billed).index, default=Billed.NO)


@attrs.frozen(kw_only=True)
class Attempt:
    """One try of a call, as it stands on `ChainHubError.attempts`.

    Attributes:
        number: 1 for the first try.
        phase: where it ended: `connect`, `write`, `read` or `reply`.
        reason: a sentence saying how it ended.
        bytes_sent: bytes of the body handed to the socket.
        bytes_total: bytes of the whole body.
        status: the final HTTP status, if one came.
        billed: whether this try may have cost money.
    """

    number: int
    phase: str
    reason: str
    bytes_sent: int = 0
    bytes_total: int = 0
    status: int | None = None
    billed: Billed = Billed.NO


# C0, DEL and C1 controls, line separators, and the marks that reorder text: what can forge a log
# line or drive a terminal. Lone surrogates cannot be printed at all.
_UNPRINTABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u206f\\ufeff\\ud800-\\udfff]"
)


def printable(text: object, limit: int = 500) -> str:
    """Returns `text` on one line, control characters escaped, cut to `limit` characters."""
    cut = str(text)[: limit + 1]
    shown = _UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], cut)
    return shown if len(shown) <= limit else shown[:limit] + "…"


class ChainHubError(Exception):
    """The root of the tree: catch this to catch everything this package raises.

    Attributes:
        message: the sentence shown, with the server's control characters escaped.
        billed: whether money may have been spent.
        status: HTTP status of the answer, if one came.
        code: the gateway's own error code, as sent.
        request_id: the gateway's id of the call; quote it to its support.
        retry_after: seconds the gateway asked to wait, if it did.
        retry_at: the same as an aware datetime.
        attempts: every try that was made, oldest first.
        bytes_sent: bytes of the body handed to the socket in the last try.
    """

    message: str
    billed: Billed = Billed.NO
    status: int | None = None
    code: str | int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    retry_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    bytes_sent: int = 0

    def __init__(self, message: str, **attributes: Any) -> None:
        # One argument by position, so that exceptions pickle and copy as all others do.
        super().__init__(message := printable(message, 2000))
        self.message = message
        for name, value in attributes.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no attribute {name!r}.")
            setattr(self, name, value)

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, billed={self.billed.name})"


class ConfigurationError(ChainHubError, ValueError):
    """The client cannot be built or used as it was set up."""


class ClosedError(ChainHubError, RuntimeError):
    """The client was closed, or is being used where it cannot work."""


class InvalidRequestError(ChainHubError, ValueError):
    """The call was refused before any connection; nothing was sent and nothing billed."""


class InvalidImageError(InvalidRequestError):
    """The image is missing, empty, cut, too large, unreadable, or not JPEG, PNG or WebP."""


class InvalidOptionError(InvalidRequestError):
    """An option is out of its range, of the wrong type, or excluded by another one."""


class ImageChangedError(ChainHubError):
    """The image's file changed between being measured and being sent.

    The upload was broken off before its last byte, so nothing was executed.
    """


class APIError(ChainHubError):
    """The gateway answered with an error."""

    body: bytes = b""
    """The answer's bytes, as received, at most 1 MiB."""


class BadRequestError(APIError):
    """400, or another 4xx: the gateway does not accept the request as it is."""


class AuthenticationError(APIError):
    """401: the key is missing, unknown, expired or disabled."""


class InsufficientBalanceError(APIError):
    """The account has no balance left. Sending again changes nothing until it is topped up."""


class PermissionDeniedError(APIError):
    """403: the key may not do this."""


class NotFoundError(APIError):
    """404: the base URL does not lead to this gateway's API."""


class PayloadTooLargeError(APIError):
    """413: the gateway, or a proxy before it, does not take a body of this size."""


class ContentRejectedError(APIError):
    """422: the prompt or the image failed the safety check."""


class RateLimitError(APIError):
    """429: too many calls; see `retry_after` and `retry_at`."""


class RedirectError(APIError):
    """3xx. A paid call is never sent on to another address by itself."""

    location: str | None = None
    """The address the answer named."""


class ServerError(APIError):
    """5xx: the gateway, its upstream or a proxy between failed; see `billed`."""


class EnvelopeError(APIError):
    """HTTP 200 whose body says that the call failed."""


class TransportError(ChainHubError):
    """No usable answer came back."""


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent."""


class NameResolutionError(ConnectError):
    """The host name could not be looked up. Nothing was sent."""


class CertificateError(ConnectError):
    """TLS was refused: certificate, host name or protocol version. Nothing was sent."""


class ProxyError(ConnectError):
    """The proxy did not open the way to the gateway. Nothing was sent."""


class ConnectionLostError(TransportError):
    """The connection broke after it had been made; `billed` says how far the call had come."""


class DeadlineError(TransportError, TimeoutError):
    """A deadline passed."""

    phase: str = ""
    """How far the attempt had come: `connect`, `write`, `read` or `reply`."""
    deadline: str = ""
    """The field of `Timeout` whose time was over: one of these, `attempt` or `total`."""


class InvalidReplyError(TransportError):
    """An answer came that cannot be understood."""

    body: bytes = b""
    """What could be read of it, at most 1 MiB."""


class TaskError(ChainHubError):
    """A task did not give a result."""

    task: Task | None = None
    """The task as last seen. It pickles: keep it, and nothing is bought twice."""


class TaskFailedError(TaskError):
    """The task ended without a result."""


class TaskTimeoutError(TaskError, TimeoutError):
    """Waiting ended before the task did. It may still finish: wait for `task` again."""

    billed: Billed = Billed.YES


class DownloadError(ChainHubError):
    """A result could not be saved. The image is paid for, and downloading again is free."""

    billed: Billed = Billed.YES
    url: str | None = None
    """The result's address."""
    saved: tuple[Path, ...] = ()
    """Images of the same result that were saved all the same."""


class ResultExpiredError(DownloadError):
    """The result's address is no longer valid; results live 24 hours."""


class UnsafeAddressError(DownloadError):
    """The result's address leads into a private network; see `allow_private`."""
