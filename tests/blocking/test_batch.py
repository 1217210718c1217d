"""Batches for blocking callers: lazily, in the caller's thread, and interrupted."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chainhub_async import (
    BatchStoppedError,
    ChainHub,
    ClosedError,
    LedgerLockedError,
    Limits,
    Outcome,
    ReplaceBackground,
)
from chainhub_async.testing import Emulator
from chainhub_async.testing.placeholder import flat_png

Start = Callable[..., Any]


def many(count: int, used: list[int] | None = None) -> Iterator[ReplaceBackground]:
    """So many different calls; notes which were read, and in which thread."""
    for number in range(count):
        if used is not None:
            used.append(threading.get_ident())
        yield ReplaceBackground(flat_png((8, 8), str(number)), prompt="a forest")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.in_thread() as running:
        yield running


@pytest.fixture
def hub(emulator: Emulator) -> Iterator[ChainHub]:
    limits = Limits(in_flight=2)
    with ChainHub(emulator.api_key, base_url=emulator.base_url, limits=limits) as hub:
        yield hub


def test_lazy_and_in_the_callers_thread(hub: ChainHub) -> None:
    """Inputs are read as they are needed, by the thread that iterates, as databases require."""
    used: list[int] = []
    with hub.batch() as batch:
        for seen, _ in enumerate(batch.run(many(10_000, used)), start=1):
            assert len(used) <= seen + 40
            if seen == 50:
                break
    assert set(used) == {threading.get_ident()}
    assert len(used) < 120


def test_slow_inputs_hold_nothing_back(hub: ChainHub, emulator: Emulator) -> None:
    """A first input is sent while the second is still being made."""

    def slow() -> Iterator[ReplaceBackground]:
        yield from many(1)
        assert threading.Event().wait(0.3) is False
        while not emulator.billed:
            threading.Event().wait(0.01)
        yield from many(2)

    with hub.batch(ordered=True) as batch:
        assert {o.state.value for o in batch.run(slow())} == {"ACCEPTED"}


def test_exceptions_of_the_inputs(hub: ChainHub) -> None:
    """What the iterable raises comes after the outcomes before it."""

    def broken() -> Iterator[ReplaceBackground]:
        yield from many(3)
        raise KeyError("the catalogue is broken")

    with hub.batch() as batch:
        outcomes = batch.run(broken())
        assert sorted(next(outcomes).index for _ in range(3)) == [0, 1, 2]
        with pytest.raises(KeyError, match="catalogue"):
            next(outcomes)


def test_stopped_from_another_thread(hub: ChainHub, emulator: Emulator, tmp_path: Path) -> None:
    """`stop` can be called from anywhere; what is paid for is still saved."""
    emulator.latency = 0.2
    with hub.batch(save_to=tmp_path) as batch:
        timer = threading.Timer(0.1, batch.stop)
        timer.start()
        outcomes: list[Outcome] = list(batch.run(many(40)))
        timer.join()
        assert isinstance(batch.stopped, BatchStoppedError)
    assert len(outcomes) == 40
    states = [o.state.value for o in outcomes]
    assert states.count("SAVED") == sum(emulator.billed.values()) == batch.spent
    assert set(states) == {"SAVED", "PENDING"}


def test_stopped_in_a_callback_and_once_more(emulator: Emulator) -> None:
    """`on_event` may stop the batch, and stopping one that is closed does nothing."""
    stops: list[Callable[[], None]] = []

    def on_event(_: object) -> None:
        stops[0]()

    limits = Limits(in_flight=2)
    with ChainHub(
        emulator.api_key, base_url=emulator.base_url, limits=limits, on_event=on_event
    ) as hub:
        with hub.batch() as batch:
            stops.append(batch.stop)
            outcomes = list(batch.run(many(50)))
        batch.stop()
        assert isinstance(batch.stopped, BatchStoppedError)
        stops[0] = lambda: None
        assert hub.ideogram.replace_background(flat_png((8, 8), "a")).images
    batch.stop()
    assert len(outcomes) == 50
    assert len(emulator.requests) < 10
    # Nor is a stop lost that comes before the batch is open.
    with ChainHub(emulator.api_key, base_url=emulator.base_url) as hub:
        early = hub.batch()
        early.stop()
        with early as batch:
            assert {outcome.state for outcome in batch.run(many(3))} == {"PENDING"}


def test_the_client_closed_first(hub: ChainHub, tmp_path: Path) -> None:
    """As for awaited batches that is no error, and its ledger can be used again at once."""
    with hub.batch(ledger=tmp_path / "a.ledger") as batch:
        assert len(list(batch.run(many(3)))) == 3
        hub.close()
        with pytest.raises(ClosedError):
            list(batch.run(many(3)))
    with sqlite3.connect(tmp_path / "a.ledger") as ledger:
        assert list(ledger.execute("SELECT DISTINCT state FROM jobs")) == [("ACCEPTED",)]
    ledger.close()


def test_what_fails_at_the_start(hub: ChainHub, tmp_path: Path) -> None:
    """An error of opening is raised by the `with`, and leaves nothing running."""
    ledger = tmp_path / "l.db"
    before = threading.active_count()
    with hub.batch(ledger=ledger), pytest.raises(LedgerLockedError):
        hub.batch(ledger=ledger).__enter__()
    with hub.batch(ledger=ledger) as batch:
        assert list(batch.run([])) == []
    batch.__exit__(None, None, None)
    assert threading.active_count() <= before + 4
    hub.close()
    with pytest.raises(ClosedError):
        hub.batch(ledger=ledger).__enter__()


def test_many_threads_share_a_batch(hub: ChainHub, emulator: Emulator) -> None:
    """Several threads may iterate over runs of one batch; nothing is paid for twice."""
    counts: list[int] = []
    with hub.batch() as batch:
        workers = [
            threading.Thread(target=lambda: counts.append(len(list(batch.run(many(20))))))
            for _ in range(8)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert counts == [20] * 8
    assert set(emulator.billed.values()) == {1}
    assert len(emulator.billed) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_interrupted(start: Start, emulator: Emulator, tmp_path: Path) -> None:
    """Ctrl-C is raised at once; leaving the block saves what is paid for and starts no more."""
    emulator.latency = 1.0
    program = start(
        f"""
        hub = ChainHub({emulator.api_key!r}, limits=Limits(in_flight=2))
        requests = [ReplaceBackground(PHOTO, seed=n) for n in range(40)]
        began = None
        try:
            with hub.batch(ledger={str(tmp_path / "l.db")!r}, save_to={str(tmp_path)!r}) as batch:
                say("ready")
                try:
                    for outcome in batch.run(requests):
                        say(outcome.state)
                except KeyboardInterrupt:
                    say("interrupted", len([t for t in [1]]))
                    raise
        except KeyboardInterrupt:
            say("left", batch.spent)
        """,
        emulator.base_url,
    )
    program.wait_for("ready")
    while len(emulator.requests) < 2 or sum(emulator.billed.values()) < 2:
        threading.Event().wait(0.01)
    program.interrupt()
    assert program.end() == ["interrupted 1", "left 2"]
    assert sum(emulator.billed.values()) == 2
    assert len(list(tmp_path.glob("*.png"))) == 2
    connection = sqlite3.connect(tmp_path / "l.db")
    states = connection.execute("SELECT state FROM jobs WHERE state != 'PENDING'").fetchall()
    connection.close()
    assert states == [("SAVED",)] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_interrupted_twice(start: Start, emulator: Emulator, tmp_path: Path) -> None:
    """A second Ctrl-C ends the grace period, and what had left is recorded as uncertain."""
    emulator.latency = 60.0
    program = start(
        f"""
        hub = ChainHub({emulator.api_key!r}, limits=Limits(in_flight=2))
        requests = [ReplaceBackground(PHOTO, seed=n) for n in range(40)]
        try:
            with hub.batch(ledger={str(tmp_path / "l.db")!r}) as batch:
                try:
                    for outcome in batch.run(requests):
                        say(outcome.state)
                except KeyboardInterrupt:
                    say("once")
                    raise
        except KeyboardInterrupt:
            say("twice")
        """,
        emulator.base_url,
    )
    while sum(emulator.billed.values()) < 2:
        threading.Event().wait(0.01)
    program.interrupt()
    program.wait_for("once")
    threading.Event().wait(0.3)
    program.interrupt()
    assert program.end() == ["twice"]
    connection = sqlite3.connect(tmp_path / "l.db")
    states = connection.execute("SELECT state FROM jobs WHERE state != 'PENDING'").fetchall()
    connection.close()
    assert states == [("UNCERTAIN",)] * 2


def test_left_open(start: Start, emulator: Emulator, tmp_path: Path) -> None:
    """A program that leaves a batch open ends, in silence, and its ledger can be used again."""
    for expected in ("ACCEPTED", "SKIPPED"):
        program = start(
            f"""
            hub = ChainHub({emulator.api_key!r})
            batch = hub.batch(ledger={str(tmp_path / "l.db")!r}).__enter__()
            for outcome in batch.run([ReplaceBackground(PHOTO)]):
                say(outcome.state)
            """,
            emulator.base_url,
        )
        assert program.end() == [expected]
