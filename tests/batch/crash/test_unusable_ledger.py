"""Ledgers that are locked, damaged or something else: nothing is sent, and nothing changed."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from chainhub_async.batch.lock import LedgerLock
from chainhub_async.errors import LedgerLockedError

from .scene import Scene, Stage

pytestmark = pytest.mark.slow  # many processes

PAGE = 4096


@pytest.fixture
def scene(plain_stage: Stage, tmp_path: Path) -> Scene:
    """A batch that is finished, and one photograph more than was in it."""
    played = Scene(name="whole", root=tmp_path / "scene", stage=plain_stage)
    assert played.run().is_finished
    played.photos.append(played.photo(6))
    return played


def contents(scene: Scene) -> dict[str, bytes]:
    """All that is beside the ledger; the lock is not, since it may always be there."""
    paths = [path for path in scene.place.iterdir() if path.is_file()]
    return {path.name: path.read_bytes() for path in paths if path.suffix != ".lock"}


def refused(scene: Scene, **settings: Any) -> str:
    """Runs the batch, which must refuse the ledger; returns its message."""
    requests, before = len(scene.stage.emulator.requests), contents(scene)
    report = scene.run(**settings)
    assert report.raised.get("raised") in {"LedgerError", "LedgerLockedError"}, report.lines
    assert len(scene.stage.emulator.requests) == requests
    assert contents(scene) == before
    message = str(report.raised["message"])
    assert str(scene.ledger) in message
    return message


def as_before(scene: Scene, data: bytes) -> None:
    """The file is brought back from a copy: only the new photograph is sent."""
    scene.ledger.write_bytes(data)
    assert scene.resume().is_finished
    assert set(scene.billed().values()) == {1}
    assert len(scene.billed()) == 6


def cut_to(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * share)]


def random_page(number: int) -> Callable[[bytes], bytes]:
    noise = random.Random(number).randbytes(PAGE)
    return lambda data: data[: number * PAGE] + noise + data[(number + 1) * PAGE :]


def zeroed_page(number: int) -> Callable[[bytes], bytes]:
    return lambda data: data[: number * PAGE] + bytes(PAGE) + data[(number + 1) * PAGE :]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "half of it": cut_to(0.5),
    "without its last page": lambda data: data[:-PAGE],
    "its first page": lambda data: data[:PAGE],
    "not even a page": lambda data: data[:700],
    "its header": lambda data: data[:100],
    "ten bytes": lambda data: data[:10],
    "nothing but zeros": lambda data: b"\0" * len(data),
    "a first page of noise": random_page(0),
    "its tables' names": lambda data: data[:100] + b"\xff" * 200 + data[300:],
    "a text": lambda _: b"Not a database, but a list of photographs.\n" * 9,
    "a picture": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(5000),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_damaged_file(scene: Scene, how: str) -> None:
    """It is refused, and left for its owner to repair."""
    whole = scene.ledger.read_bytes()
    scene.ledger.write_bytes(SPOILT[how](whole))
    refused(scene)
    as_before(scene, whole)


@pytest.mark.parametrize("spoil", [random_page, zeroed_page])
def test_damage_in_any_page(scene: Scene, spoil: Callable[[int], Callable[[bytes], bytes]]) -> None:
    """One page after another is lost; those that hold anything are missed."""
    whole = scene.ledger.read_bytes()
    pages = len(whole) // PAGE
    assert pages > 8
    for number in range(pages):
        scene.ledger.write_bytes(spoil(number)(whole))
        refused(scene)
    as_before(scene, whole)


def test_damage_of_a_key(plain_stage: Stage, tmp_path: Path) -> None:
    """Tables that contradict their indexes are noticed: a job that is paid for is not a new one."""
    scene = Scene(name="keys", root=tmp_path / "scene", stage=plain_stage)
    assert scene.run().is_finished
    whole = scene.ledger.read_bytes()
    places = [
        found.start() + 20
        for (key,) in scene.rows("SELECT key FROM jobs")
        for found in re.finditer(key.encode(), whole)
    ]
    assert len(places) > 20
    for at in places:
        put(scene, whole[:at] + (b"0" if whole[at : at + 1] != b"0" else b"1") + whole[at + 1 :])
        scene.run()
        assert set(scene.billed().values()) == {1}, f"page {at // PAGE} of {len(whole) // PAGE}"


def test_damage_of_a_few_bytes_anywhere(plain_stage: Stage, tmp_path: Path) -> None:
    """Found or not, and whatever it hits: what was paid for is not paid for again."""
    scene = Scene(name="bytes", root=tmp_path / "scene", stage=plain_stage)
    assert scene.run().is_finished
    whole, dice = scene.ledger.read_bytes(), random.Random(11)
    found = 0
    for _ in range(50):
        at, size = dice.randrange(100, len(whole) - 40), dice.choice([4, 16, 40])
        put(scene, whole[:at] + dice.randbytes(size) + whole[at + size :])
        report = scene.run()
        found += bool(report.raised)
        assert set(scene.billed().values()) == {1}, f"{size} bytes at {at}: {report.lines}"
        assert "Please report" not in str(report.lines), f"{size} bytes at {at}: {report.lines}"
    assert found >= 2


def put(scene: Scene, data: bytes) -> None:
    """Replaces the ledger, and what SQLite may have left beside it."""
    for suffix in ("-wal", "-shm", "-journal"):
        scene.ledger.with_name(scene.ledger.name + suffix).unlink(missing_ok=True)
    scene.ledger.write_bytes(data)


def test_the_database_of_another_application(scene: Scene) -> None:
    """Its tables are not touched, and none are added."""
    scene.ledger.unlink()
    with closing(sqlite3.connect(scene.ledger)) as connection:
        connection.execute("CREATE TABLE jobs (mine TEXT)")
        connection.execute("INSERT INTO jobs VALUES ('precious')")
        connection.commit()
    assert "another application" in refused(scene)
    with closing(sqlite3.connect(scene.ledger)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA application_id = 1234")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    assert "another application" in refused(scene)


def test_a_ledger_of_a_newer_version(scene: Scene) -> None:
    """It may hold what this version does not understand."""
    with closing(sqlite3.connect(scene.ledger)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "newer version" in refused(scene)


@pytest.mark.parametrize("what", ["directory", "pipe", "device", "missing directory"])
def test_a_ledger_that_is_no_file(scene: Scene, what: str) -> None:
    """It is refused at once."""
    if what == "directory":
        scene.ledger.unlink()
        scene.ledger.mkdir()
    elif what == "pipe":
        scene.ledger.unlink()
        os.mkfifo(scene.ledger)
    elif what == "device":
        scene.ledger.unlink()
        scene.ledger.symlink_to("/dev/full" if Path("/dev/full").exists() else "/dev/null")
    requests = len(scene.stage.emulator.requests)
    place = scene.place / "missing" / "batch.db" if what == "missing directory" else scene.ledger
    report = scene.run(ledger_elsewhere=str(place), patience=20)
    assert report.raised.get("raised") == "LedgerError", report.lines
    assert str(place) in report.raised["message"]
    assert len(scene.stage.emulator.requests) == requests


@contextmanager
def another_process(script: str, *arguments: str) -> Generator[None, None, None]:
    """Runs a script that writes a line when it is ready, and holds what it has until the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", script + "\nprint(flush=True); sys.stdin.read()", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


LOCK = """
import sys
from pathlib import Path
from chainhub_async.batch.lock import LedgerLock
lock = LedgerLock(Path(sys.argv[1]))
"""
TRANSACTION = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
"""


def test_a_ledger_that_another_batch_is_using(scene: Scene) -> None:
    """The message says which process has it; under any name, and until that process is dead."""
    link = scene.place / "link.db"
    with another_process(LOCK, str(scene.ledger)):
        began = time.monotonic()
        assert "PID" in refused(scene)
        assert time.monotonic() - began < 10
        link.symlink_to(scene.ledger)
        report = scene.run(ledger_elsewhere=str(link))
        assert report.raised["raised"] == "LedgerLockedError"
        with pytest.raises(LedgerLockedError, match="another process"):
            LedgerLock(scene.ledger)
    assert scene.resume().is_finished


def test_a_ledger_with_two_names(scene: Scene) -> None:
    """SQLite would keep a log under each of them, and lose what is in the other."""
    other = scene.place / "other.db"
    os.link(scene.ledger, other)
    with another_process(LOCK, str(scene.ledger)):
        requests = len(scene.stage.emulator.requests)
        report = scene.run(ledger_elsewhere=str(other))
        assert report.raised.get("raised") in {"LedgerError", "LedgerLockedError"}, report.lines
        assert len(scene.stage.emulator.requests) == requests


def test_a_ledger_that_another_program_is_writing(scene: Scene) -> None:
    """A lock of SQLite's own is waited for, and then respected."""
    with another_process(TRANSACTION, str(scene.ledger)):
        assert "locked" in refused(scene)
    assert scene.resume().is_finished
    assert set(scene.billed().values()) == {1}
