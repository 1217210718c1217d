"""Servers for tests: an emulator of the API, and one that misbehaves on purpose."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainhub_async.testing.bad_answers import (
        Answer,
        EchoKey,
        EmptyAnswer,
        EmptyError,
        ErrorEnvelope,
        Expired,
        HostileDisposition,
        HtmlError,
        Oversized,
        Redirect,
        RedirectResult,
        Stall,
        TooManyRequests,
        WithoutLength,
        WrongType,
    )
    from chainhub_async.testing.bad_framing import (
        BadChunk,
        BadFraming,
        CloseAfterAnswer,
        Delay,
        ExtraAnswer,
        Framing,
        GzipBomb,
        Gzipped,
    )
    from chainhub_async.testing.emulator import (
        Emulator,
        EmulatorOptions,
    )
    from chainhub_async.testing.fault_script import (
        Script,
    )
    from chainhub_async.testing.faults import (
        AcceptAndClose,
        AcceptAndHang,
        AnswerWell,
        CloseAfter,
        ConnectionFault,
        CutBody,
        CutHead,
        Drip,
        EarlyStatus,
        EndlessHeaders,
        Fault,
        Flood1xx,
        NoAnswer,
        ResetAfter,
        StopReading,
    )
    from chainhub_async.testing.http_bytes import (
        Exchange,
        Received,
        Reply,
        result_png,
    )
    from chainhub_async.testing.misbehaving import (
        MisbehavingServer,
    )
    from chainhub_async.testing.records import (
        PartRecord,
        RequestRecord,
    )

_HOMES = {
    "bad_answers": (
        "Answer EchoKey EmptyAnswer EmptyError ErrorEnvelope Expired HostileDisposition "
        "HtmlError Oversized Redirect RedirectResult Stall TooManyRequests "
        "WithoutLength WrongType"
    ),
    "bad_framing": (
        "BadChunk BadFraming CloseAfterAnswer Delay ExtraAnswer Framing GzipBomb Gzipped"
    ),
    "emulator": "Emulator EmulatorOptions",
    "fault_script": "Script",
    "faults": (
        "AcceptAndClose AcceptAndHang AnswerWell CloseAfter ConnectionFault CutBody "
        "CutHead Drip EarlyStatus EndlessHeaders Fault Flood1xx NoAnswer ResetAfter "
        "StopReading"
    ),
    "http_bytes": "Exchange Received Reply result_png",
    "misbehaving": "MisbehavingServer",
    "records": "PartRecord RequestRecord",
}

__all__ = [
    "AcceptAndClose",
    "AcceptAndHang",
    "Answer",
    "AnswerWell",
    "BadChunk",
    "BadFraming",
    "CloseAfter",
    "CloseAfterAnswer",
    "ConnectionFault",
    "CutBody",
    "CutHead",
    "Delay",
    "Drip",
    "EarlyStatus",
    "EchoKey",
    "EmptyAnswer",
    "EmptyError",
    "Emulator",
    "EmulatorOptions",
    "EndlessHeaders",
    "ErrorEnvelope",
    "Exchange",
    "Expired",
    "ExtraAnswer",
    "Fault",
    "Flood1xx",
    "Framing",
    "GzipBomb",
    "Gzipped",
    "HostileDisposition",
    "HtmlError",
    "MisbehavingServer",
    "NoAnswer",
    "Oversized",
    "PartRecord",
    "Received",
    "Redirect",
    "RedirectResult",
    "Reply",
    "RequestRecord",
    "ResetAfter",
    "Script",
    "Stall",
    "StopReading",
    "TooManyRequests",
    "WithoutLength",
    "WrongType",
    "result_png",
]


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names.split():
            value: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
