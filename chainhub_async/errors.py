"""Everything this package raises, as one tree.

    ChainHubError
    ├── ConfigurationError           no API key, an invalid base URL or setting
    ├── ClosedError                  the client was closed, or belongs to another event loop
    ├── InvalidRequestError          this package refused the call; nothing was sent
    │   ├── InvalidImageError        missing, empty, truncated, too large, not JPEG/PNG/WebP
    │   └── InvalidOptionError       an option out of range, or two that cannot be combined
    ├── ImageChangedError            the file changed while it was being sent
    ├── APIError                     the gateway responded with an error
    │   ├── BadRequestError          400, and every other 4xx without its own class
    │   ├── AuthenticationError      401
    │   ├── InsufficientBalanceError 402, or a 403, 429 or 200 that reports no balance
    │   ├── PermissionDeniedError    403
    │   ├── NotFoundError            404, usually a wrong base URL
    │   ├── PayloadTooLargeError     413
    │   ├── ContentRejectedError     422, the prompt or image failed the safety check
    │   ├── RateLimitError           429
    │   ├── RedirectError            3xx; a paid call never follows a redirect
    │   ├── ServerError              5xx
    │   └── EnvelopeError            HTTP 200 whose body contains an error code
    ├── TransportError               no usable response was received
    │   ├── ConnectError             refused, unreachable, handshake interrupted
    │   │   ├── NameResolutionError  the host name could not be resolved
    │   │   ├── CertificateError     the server's certificate or TLS version was rejected
    │   │   └── ProxyError           the proxy did not open a connection
    │   ├── ConnectionLostError      the connection was lost once established
    │   ├── DeadlineError            a timeout expired, see `deadline` (also a TimeoutError)
    │   └── InvalidReplyError        an unreadable response; kept in `body`
    ├── CallCancelledError           the `__context__` of the interruption that ended a call
    ├── TaskError
    │   ├── TaskFailedError          the task ended without a result
    │   └── TaskTimeoutError         the wait ended before the task did; see `task`
    ├── DownloadError                a result could not be downloaded; retrying is free
    │   ├── ResultExpiredError       results expire after 24 hours
    │   ├── SaveError                the file cannot be written
    │   └── UnsafeAddressError       the result's URL leads to a non-public address
    └── BatchError                   a batch starts nothing new
        ├── BatchStoppedError        it was stopped, closed or cancelled
        ├── SpendLimitError          `max_images` is reached
        └── LedgerError              the ledger cannot be read or written
            └── LedgerLockedError    another batch is using it

Each carries what you need to decide what to do next, above all `billed`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from chainhub_async.models import Task


class Billed(enum.Enum):
    """Whether money may have been spent on a call that failed."""

    NO = "no"
    """Proven: the request was not executed. Calling again costs one charge."""
    MAYBE = "maybe"
    """Unknown: the whole request was sent, and no conclusive response was received."""
    YES = "yes"
    """The gateway reported success; only the result is missing or unusable."""

    @staticmethod
    def worst(*values: Billed) -> Billed:
        """Returns the worst of `values`: `YES` before `MAYBE` before `NO`."""
        return max(values, key=list(Billed).index, default=Billed.NO)


@attrs.frozen(kw_only=True)
class Attempt:
    """One attempt of a call, as recorded in `ChainHubError.attempts`.

    Attributes:
        number: 1 for the first attempt.
        phase: where it ended: `connect`, `write`, `read` or `reply`.
        reason: the error message of the attempt.
        bytes_sent: bytes of the body handed to the socket.
        bytes_total: bytes of the whole body.
        status: the final HTTP status, if one was received.
        billed: whether this attempt may have cost money.
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
    """Returns `text` on one line, control characters escaped, truncated to `limit` characters."""
    cut = str(text)[: limit + 1]
    shown = _UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], cut)
    return shown if len(shown) <= limit else shown[:limit] + "…"


class ChainHubError(Exception):
    """The base class: catch this to catch everything this package raises.

    Attributes:
        message: the error message, with control characters escaped.
        billed: whether money may have been spent.
        status: the response's HTTP status, if one was received.
        code: the gateway's own error code, as sent.
        request_id: the gateway's ID for the call; quote it to support.
        retry_after: seconds to wait, if the gateway sent `Retry-After`.
        retry_at: the same as an aware datetime.
        attempts: every attempt made, oldest first.
        bytes_sent: bytes of the body handed to the socket in the last attempt.
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
    """The client cannot be created or used with these settings."""


class ClosedError(ChainHubError, RuntimeError):
    """The client was closed, or was used on an event loop or in a process where it cannot work."""


class InvalidRequestError(ChainHubError, ValueError):
    """The call was refused before any connection; nothing was sent or billed."""


class InvalidImageError(InvalidRequestError):
    """The image is missing, empty, truncated, too large, unreadable, or not JPEG, PNG or WebP."""


class InvalidOptionError(InvalidRequestError):
    """An option is out of range, of the wrong type, or cannot be combined with another."""


class ImageChangedError(ChainHubError):
    """The image's file changed during the call. The upload was aborted; nothing was executed."""


class APIError(ChainHubError):
    """The gateway responded with an error."""

    body: bytes = b""
    """The response body, at most 1 MiB."""


class BadRequestError(APIError):
    """400, or another 4xx: the gateway does not accept the request as it is."""


class AuthenticationError(APIError):
    """401: the key is missing, unknown, expired or disabled."""


class InsufficientBalanceError(APIError):
    """The account has no balance left. Retrying fails until it is topped up."""


class PermissionDeniedError(APIError):
    """403: the key may not do this."""


class NotFoundError(APIError):
    """404: the base URL does not lead to this gateway's API."""


class PayloadTooLargeError(APIError):
    """413: the gateway, or a proxy in front of it, does not accept a body of this size."""


class ContentRejectedError(APIError):
    """422: the prompt or the image failed the safety check."""


class RateLimitError(APIError):
    """429: too many calls; see `retry_after` and `retry_at`."""


class RedirectError(APIError):
    """3xx. The client never follows a redirect of an API call."""

    location: str | None = None
    """The response's `Location` header."""


class ServerError(APIError):
    """5xx: the gateway, its upstream or a proxy failed; see `billed`."""


class EnvelopeError(APIError):
    """HTTP 200 whose body reports that the call failed."""


class TransportError(ChainHubError):
    """No usable response was received."""

    body: bytes = b""
    """What came of one, at most 1 MiB: its body or, if it is not valid HTTP, every byte."""


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent."""


class NameResolutionError(ConnectError):
    """The host name could not be resolved. Nothing was sent."""


class CertificateError(ConnectError):
    """TLS failed: certificate, host name or protocol version. Nothing was sent."""


class ProxyError(ConnectError):
    """The proxy did not open a connection to the gateway. Nothing was sent."""


class ConnectionLostError(TransportError):
    """The connection was lost after it was established; see `billed` and `bytes_sent`."""


class DeadlineError(TransportError, TimeoutError):
    """A timeout expired."""

    phase: str = ""
    """The attempt's phase when it ended: `connect`, `write`, `read` or `reply`."""
    deadline: str = ""
    """The field of `Timeout` that expired: one of these, `attempt` or `total`."""


class InvalidReplyError(TransportError):
    """A response was received that cannot be used; see `body`."""


class CallCancelledError(ChainHubError):
    """A call was interrupted or cancelled. Never raised: the `__context__` of what ended it.

    With Ctrl-C during a blocking call, that is the `KeyboardInterrupt`; with a cancellation, the
    `CancelledError`. See `billed`, `bytes_sent` and `attempts`.
    """


class TaskError(ChainHubError):
    """A task did not produce a result."""

    task: Task | None = None
    """The task as last seen. It can be pickled: keep it to wait again without paying again."""


class TaskFailedError(TaskError):
    """The task ended without a result."""


class TaskTimeoutError(TaskError, TimeoutError):
    """The timeout expired before the task finished. It may still finish: wait for `task` again."""

    billed: Billed = Billed.YES


class DownloadError(ChainHubError):
    """A result could not be downloaded; retrying is free. The image is already paid for."""

    billed: Billed = Billed.YES
    url: str | None = None
    """The result's URL."""
    saved: tuple[Path, ...] = ()
    """Paths of this result's images that were saved."""


class ResultExpiredError(DownloadError):
    """The result's URL is no longer valid; results expire after 24 hours."""


class SaveError(DownloadError):
    """The result cannot be written to disk; the message says why."""


class UnsafeAddressError(DownloadError):
    """The result's URL leads to a private address; see `allow_private`."""


class BatchError(ChainHubError):
    """A batch starts nothing new. Calls in progress are recorded when they end."""


class BatchStoppedError(BatchError):
    """The batch was stopped, closed or cancelled; the message says why."""


class SpendLimitError(BatchError):
    """One more call could exceed `max_images`."""


class LedgerError(BatchError):
    """The ledger cannot be read or written. Without it, nothing is sent."""


class LedgerLockedError(LedgerError):
    """Another batch, in this process or another, is using the ledger."""


@contextmanager
def already_paid() -> Generator[None, None, None]:
    """Surrounds what is done with a result that is paid for: no error from it says otherwise."""
    try:
        yield
    except ChainHubError as error:
        if error.billed is Billed.NO:
            error.billed = Billed.YES
        raise
    except Exception:
        raise
    except BaseException as interruption:
        interruption.__context__ = CallCancelledError(
            "Interrupted; the result is already paid for, and can be fetched again without cost.",
            billed=Billed.YES,
        )
        raise
