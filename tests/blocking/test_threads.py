"""Sixty-four threads and one client: one pool, one gate, and everyone gets their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chainhub_async import ChainHub, ChainHubError, Limits
from chainhub_async.testing import Emulator
from chainhub_async.testing.placeholder import flat_png

from .conftest import PHOTO

THREADS = 64
Threads = Callable[[], list[threading.Thread]]


def test_never_crossed(emulator: Emulator, loop_threads: Threads) -> None:
    """Every thread gets the results of its own calls, through the connections of one pool."""
    emulator.latency, emulator.in_flight = 0.01, 16
    together = threading.Barrier(THREADS)
    limits = Limits(in_flight=16, connections=16)
    with ChainHub(emulator.api_key, base_url=emulator.base_url, limits=limits) as hub:

        def work(number: int) -> list[tuple[int | None, str | None]]:
            together.wait()
            results = [
                hub.ideogram.replace_background(
                    flat_png((8, 8), f"{number} {turn}"),
                    prompt=f"prompt of {number}",
                    seed=100 * number + turn,
                )
                for turn in range(5)
            ]
            return [(result.images[0].seed, result.images[0].prompt) for result in results]

        with ThreadPoolExecutor(THREADS) as threads:
            found = list(threads.map(work, range(THREADS)))
        assert len(loop_threads()) == 1
    assert found == [
        [(100 * number + turn, f"prompt of {number}") for turn in range(5)]
        for number in range(THREADS)
    ]
    assert emulator.connections <= 16
    # One gate: the server, which allows as many at a time as the client, refused none.
    assert {request.status for request in emulator.requests} == {200}
    assert sum(emulator.billed.values()) == 5 * THREADS


def test_errors_and_downloads_too(emulator: Emulator, tmp_path: Path) -> None:
    """What fails in one thread fails there only, and files are those of each thread's result."""
    with ChainHub(emulator.api_key, base_url=emulator.base_url) as hub:
        wrong = hub.with_options(api_key="wrong")

        def work(number: int) -> str:
            if number % 3 == 0:
                try:
                    wrong.ideogram.replace_background(PHOTO)
                except ChainHubError as error:
                    return f"{error.status}"
            if number % 3 == 1:
                try:
                    hub.ideogram.replace_background(PHOTO, num_images=100 + number)
                except ChainHubError as error:
                    return str(error).partition(";")[0]
            result = hub.ideogram.replace_background(PHOTO, seed=number)
            (path,) = hub.save(result, tmp_path, name=f"n{number}")
            return path.name

        with ThreadPoolExecutor(THREADS) as threads:
            found = list(threads.map(work, range(THREADS)))
    expected = {0: "401", 1: "num_images is {}", 2: "n{}.png"}
    assert found == [expected[n % 3].format(100 + n if n % 3 == 1 else n) for n in range(THREADS)]
