"""Replace the background of photos through the ChainHub gateway, with asyncio or blocking calls.

    async with AsyncChainHub() as hub:
        result = await hub.ideogram.replace_background("cat.png", prompt="a forest at dawn")
        paths = await hub.save(result, "out/")

Importing this package is cheap: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chainhub_async._version import __version__

if TYPE_CHECKING:
    from chainhub_async.batch.blocking import Batch
    from chainhub_async.batch.front import AsyncBatch
    from chainhub_async.batch.jobs import JobState, Outcome, PlanAction, PlannedJob
    from chainhub_async.client import AsyncChainHub, ClientOptions
    from chainhub_async.config import Limits, Timeout
    from chainhub_async.errors import (
        APIError,
        Attempt,
        AuthenticationError,
        BadRequestError,
        BatchError,
        BatchStoppedError,
        Billed,
        CallCancelledError,
        CertificateError,
        ChainHubError,
        ClosedError,
        ConfigurationError,
        ConnectError,
        ConnectionLostError,
        ContentRejectedError,
        DeadlineError,
        DownloadError,
        EnvelopeError,
        ImageChangedError,
        InsufficientBalanceError,
        InvalidImageError,
        InvalidOptionError,
        InvalidReplyError,
        InvalidRequestError,
        LedgerError,
        LedgerLockedError,
        NameResolutionError,
        NotFoundError,
        PayloadTooLargeError,
        PermissionDeniedError,
        ProxyError,
        RateLimitError,
        RedirectError,
        ResultExpiredError,
        SaveError,
        ServerError,
        SpendLimitError,
        TaskError,
        TaskFailedError,
        TaskTimeoutError,
        TransportError,
        UnsafeAddressError,
    )
    from chainhub_async.events import (
        CallCancelled,
        DownloadProgress,
        Event,
        Paused,
        ReplyReceived,
        RequestQueued,
        RetryScheduled,
        Saved,
        UploadProgress,
    )
    from chainhub_async.file_objects import SupportsRead
    from chainhub_async.images import ImageInput, ImageSource
    from chainhub_async.models import (
        ColorMember,
        ColorPalette,
        GeneratedImage,
        MagicPrompt,
        PaletteName,
        RenderingSpeed,
        ReplaceBackground,
        ReplaceBackgroundResult,
        StylePreset,
        Task,
    )
    from chainhub_async.sync import ChainHub
    from chainhub_async.transport.messages import Response
    from chainhub_async.transport.retry import RetryPolicy

_HOMES = {
    "batch.blocking": "Batch",
    "batch.front": "AsyncBatch",
    "batch.jobs": "JobState Outcome PlanAction PlannedJob",
    "client": "AsyncChainHub ClientOptions",
    "config": "Limits Timeout",
    "errors": (
        "APIError Attempt AuthenticationError BadRequestError BatchError BatchStoppedError "
        "Billed CallCancelledError CertificateError ChainHubError ClosedError "
        "ConfigurationError ConnectError ConnectionLostError ContentRejectedError DeadlineError "
        "DownloadError EnvelopeError ImageChangedError InsufficientBalanceError "
        "InvalidImageError InvalidOptionError InvalidReplyError InvalidRequestError LedgerError "
        "LedgerLockedError NameResolutionError NotFoundError PayloadTooLargeError "
        "PermissionDeniedError ProxyError RateLimitError RedirectError ResultExpiredError "
        "SaveError ServerError SpendLimitError TaskError TaskFailedError TaskTimeoutError "
        "TransportError UnsafeAddressError"
    ),
    "events": (
        "CallCancelled DownloadProgress Event Paused ReplyReceived RequestQueued "
        "RetryScheduled Saved UploadProgress"
    ),
    "file_objects": "SupportsRead",
    "images": "ImageInput ImageSource",
    "models": (
        "ColorMember ColorPalette GeneratedImage MagicPrompt PaletteName RenderingSpeed "
        "ReplaceBackground ReplaceBackgroundResult StylePreset Task"
    ),
    "sync": "ChainHub",
    "transport.messages": "Response",
    "transport.retry": "RetryPolicy",
}

__all__ = [
    "APIError",
    "AsyncBatch",
    "AsyncChainHub",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchError",
    "BatchStoppedError",
    "Billed",
    "CallCancelled",
    "CallCancelledError",
    "CertificateError",
    "ChainHub",
    "ChainHubError",
    "ClientOptions",
    "ClosedError",
    "ColorMember",
    "ColorPalette",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLostError",
    "ContentRejectedError",
    "DeadlineError",
    "DownloadError",
    "DownloadProgress",
    "EnvelopeError",
    "Event",
    "GeneratedImage",
    "ImageChangedError",
    "ImageInput",
    "ImageSource",
    "InsufficientBalanceError",
    "InvalidImageError",
    "InvalidOptionError",
    "InvalidReplyError",
    "InvalidRequestError",
    "JobState",
    "LedgerError",
    "LedgerLockedError",
    "Limits",
    "MagicPrompt",
    "NameResolutionError",
    "NotFoundError",
    "Outcome",
    "PaletteName",
    "Paused",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PlanAction",
    "PlannedJob",
    "ProxyError",
    "RateLimitError",
    "RedirectError",
    "RenderingSpeed",
    "ReplaceBackground",
    "ReplaceBackgroundResult",
    "ReplyReceived",
    "RequestQueued",
    "Response",
    "ResultExpiredError",
    "RetryPolicy",
    "RetryScheduled",
    "SaveError",
    "Saved",
    "ServerError",
    "SpendLimitError",
    "StylePreset",
    "SupportsRead",
    "Task",
    "TaskError",
    "TaskFailedError",
    "TaskTimeoutError",
    "Timeout",
    "TransportError",
    "UnsafeAddressError",
    "UploadProgress",
    "__version__",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names.split():
            value = getattr(import_module(f"chainhub_async.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
