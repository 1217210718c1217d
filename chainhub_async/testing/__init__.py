"""Servers for tests: the emulator of the API, and one that misbehaves; imported once used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainhub_async.testing.emulator import Emulator, EmulatorOptions
    from chainhub_async.testing.misbehaving import MisbehavingServer
    from chainhub_async.testing.records import PartRecord, RequestRecord

__all__ = ["Emulator", "EmulatorOptions", "MisbehavingServer", "PartRecord", "RequestRecord"]

_HOMES = {
    "Emulator": "emulator",
    "EmulatorOptions": "emulator",
    "MisbehavingServer": "misbehaving",
    "PartRecord": "records",
    "RequestRecord": "records",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
