"""A small batch in a directory of its own, run in processes that may die."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import struct
import time
import zlib
from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from chainhub_async.testing import Emulator
from chainhub_async.testing.records import RequestRecord

from .power import cut_power
from .processes import Driver, Report

# Images being made at the same time.
IN_FLIGHT = 3


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def photograph(text: str) -> bytes:
    """A whole PNG that no other text gives."""
    rows = b"".join(b"\0" + bytes(24) for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"tEXt", text.encode()), (b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")])


@attrs.frozen(kw_only=True)
class Photo:
    """An input, and what comes of it."""

    path: Path
    prompt: str
    seed: int
    images: int = 1
    sha256: str

    def files(self) -> dict[str, str]:
        """The names of its results, and the text that the emulator makes each one of."""
        stem = self.path.stem
        names = [f"{stem}-{n + 1}" if self.images > 1 else stem for n in range(self.images)]
        return {f"{name}.png": f"{self.prompt}\n{self.seed + n}" for n, name in enumerate(names)}


@attrs.define
class Clock:
    """When each call was complete at the emulator; also makes the response take a moment."""

    latency: float = 0.015
    arrivals: list[tuple[float, str]] = attrs.field(factory=list)

    def __call__(self, record: RequestRecord) -> float:
        self.arrivals.append((time.time(), record.image_sha256 or ""))
        return self.latency


@attrs.frozen
class Stage:
    """Where scenes are played, one at a time: a process to fork from, and a server."""

    driver: Driver
    emulator: Emulator
    clock: Clock


@contextmanager
def stage(library: Path | None = None) -> Generator[Stage, None, None]:
    """Opens a stage."""
    driver = Driver(library)
    try:
        with stage_with(driver) as opened:
            yield opened
    finally:
        driver.close()


@contextmanager
def stage_with(driver: Driver) -> Generator[Stage, None, None]:
    """Opens a stage with a server of its own."""
    clock = Clock()
    with Emulator.in_thread(latency=clock) as emulator:
        yield Stage(driver, emulator, clock)


@attrs.frozen(kw_only=True)
class Fault:
    """What the preloaded library is to do; see `faults.c`.

    Attributes:
        kind: its name there.
        at: which operation it hits.
        power: also lose everything that was not flushed to disk.
    """

    kind: str
    at: int = 0
    power: bool = False


@attrs.define(kw_only=True)
class Scene:
    """A batch of six photographs: its files, its server, and what its processes reported."""

    name: str
    root: Path
    stage: Stage
    mode: str = "batch"
    reports: list[Report] = attrs.field(factory=list)
    photos: list[Photo] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        (self.place / "photos").mkdir(parents=True)
        self.photos = [self.photo(number) for number in range(6)]

    @property
    def place(self) -> Path:
        """Below this, file operations may fail."""
        return self.root / "place"

    @property
    def ledger(self) -> Path:
        return self.place / "batch.db"

    @property
    def out(self) -> Path:
        return self.place / "out"

    @property
    def disk(self) -> Path:
        """What has been flushed, if that is kept."""
        return self.root / "disk"

    @property
    def log(self) -> Path:
        return self.root / "operations.log"

    def photo(self, number: int) -> Photo:
        like = {4: 1}.get(number, number)
        path = self.place / "photos" / f"p{number}.png"
        data = photograph(f"{self.name} {like}")
        path.write_bytes(data)
        return Photo(
            path=path,
            prompt=f"{self.name}, view {like}",
            seed=100 * like,
            images=2 if number == 2 else 1,
            sha256=hashlib.sha256(data).hexdigest(),
        )

    def run(
        self, fault: Fault | None = None, ledger_elsewhere: str = "", **settings: Any
    ) -> Report:
        """Runs the batch in a process of its own."""
        run: dict[str, Any] = {
            "mode": self.mode,
            "photos": [
                {"path": str(p.path), "prompt": p.prompt, "seed": p.seed, "images": p.images}
                for p in self.photos
            ],
            "api_key": self.stage.emulator.api_key,
            "base_url": self.stage.emulator.base_url,
            "in_flight": IN_FLIGHT,
            "ledger": ledger_elsewhere or str(self.ledger),
            "save_to": str(self.out),
        }
        if fault is not None:
            self.log.unlink(missing_ok=True)
            if fault.power:
                shutil.rmtree(self.disk, ignore_errors=True)
                self.disk.mkdir()
            run["fault"] = {
                "below": str(self.place),
                "kind": fault.kind,
                "at": fault.at,
                "log": str(self.log),
                "disk": str(self.disk) if fault.power else "",
            }
        told = self.root / f"told-{len(self.reports)}.jsonl"
        self.reports.append(self.stage.driver.run(told, **run, **settings))
        if fault is not None and fault.power:
            cut_power(self.place, self.disk)
        return self.reports[-1]

    def resume(self, most: int = 3) -> Report:
        """Runs the batch until nothing is left to be done."""
        for _ in range(most):
            report = self.run()
            if report.is_finished:
                return report
        told = [(each.code, each.lines) for each in self.reports]
        raise AssertionError(f"not finished after {most} more runs: {told}")

    def operations(self) -> list[tuple[int, str, int, str]]:
        """The number, name, size and path of each operation of the last run with a fault."""
        found: list[tuple[int, str, int, str]] = []
        for line in self._log_lines():
            if line[0] != "!":
                number, operation, size, path = line.split(" ", 3)
                found.append((int(number), operation, int(size), path))
        return sorted(found)

    def fault(self) -> tuple[str, float] | None:
        """Which operation went wrong first, on which file, and when; None if none did."""
        for line in self._log_lines():
            if line[0] == "!":
                _, number, operation, when, path = line.split(" ", 4)
                name = Path(path).relative_to(self.place)
                return f"{operation} of {name} (number {number})", float(when)
        return None

    def _log_lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def billed(self) -> Counter[str]:
        """How often each photograph was paid for."""
        mine = {photo.sha256 for photo in self.photos}
        return Counter({k: n for k, n in self.stage.emulator.billed_calls.items() if k in mine})

    def arrivals_after(self, moment: float) -> list[str]:
        """The photographs that were complete at the emulator after a moment."""
        mine = {photo.sha256 for photo in self.photos}
        return [sha for when, sha in self.stage.clock.arrivals if when > moment and sha in mine]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.ledger)) as connection:
            return connection.execute(query).fetchall()
