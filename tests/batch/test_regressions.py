"""Ways of losing money, results or time that were found by trying."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from chainhub_async import (
    AsyncChainHub,
    BatchStoppedError,
    InvalidOptionError,
    InvalidRequestError,
    LedgerError,
    Limits,
    Outcome,
    ReplaceBackground,
    RetryPolicy,
    SaveError,
)
from chainhub_async.testing import (
    Answer,
    Emulator,
    HtmlError,
    MisbehavingServer,
    NoAnswer,
    TooManyRequests,
)

from .conftest import PROMPT, MakeHub, calls, names, photo, posts, rows, run, sha, states

pytestmark = pytest.mark.anyio
Photos = Callable[[int], list[Path]]


def many(count: int) -> list[ReplaceBackground]:
    """So many different calls."""
    return [ReplaceBackground(photo(number), prompt=PROMPT) for number in range(count)]


async def test_the_ledger_as_an_input(hub: AsyncChainHub, emulator: Emulator, ledger: Path) -> None:
    """The ledger's own files, given as images, are refused unopened, and the lock stays."""
    async with hub.batch(ledger=ledger) as batch:
        files = sorted(ledger.parent.glob("batch.db*"))
        assert len(files) >= 3
        outcomes = [o async for o in batch.run(calls(files))]
        assert states(outcomes) == ["REFUSED"] * len(files)
        assert "own ledger" in str(outcomes[0].error)
        for file in files:
            file.open("rb").close()  # as anything else in the process may do
        text = (
            "import sys; from pathlib import Path; from chainhub_async.batch.ledger import Ledger\n"
            "try: Ledger.open(Path(sys.argv[1]))\n"
            "except Exception as e: print(type(e).__name__)\n"
        )
        command = [sys.executable, "-c", text, str(ledger)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told == "LedgerLockedError\n"
    assert not emulator.requests


FORKING = """
import os, sys, time
from pathlib import Path
from chainhub_async import LedgerLockedError
from chainhub_async.batch.ledger import Ledger
opened = Ledger.open(Path(sys.argv[1]))
child = os.fork()
if not child:
    time.sleep(60)
    os._exit(0)
opened.close()
until = time.monotonic() + 20
try:
    while True:  # until the child has run its first steps
        try:
            Ledger.open(Path(sys.argv[1])).close()
            break
        except LedgerLockedError:
            if time.monotonic() > until:
                raise
    print("opened")
finally:
    os.kill(child, 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
async def test_a_forked_child_holds_no_lock(ledger: Path) -> None:
    """A child that lives on does not keep the ledger locked when its parent is done with it."""
    command = [sys.executable, "-c", FORKING, str(ledger)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "opened\n"


async def test_a_ledger_with_two_names(
    hub: AsyncChainHub, emulator: Emulator, ledger: Path
) -> None:
    """A hard-linked ledger could be used twice at once, and is refused."""
    await run(hub, many(1), ledger=ledger)
    emulator.reset()
    os.link(ledger, ledger.parent / "other.db")
    with pytest.raises(LedgerError, match="hard link"):
        await run(hub, many(2), ledger=ledger)
    assert not emulator.requests


async def test_results_of_others_are_not_replaced(
    hub: AsyncChainHub, tmp_path: Path, out: Path, ledger: Path
) -> None:
    """With `overwrite`, a file that another input of the batch was given is left alone."""
    out.mkdir()
    (out / "photo.png").write_bytes(b"foreign")
    paths: list[Path] = []
    for number, folder in enumerate("ab"):
        paths.append(tmp_path / folder / "photo.jpg")
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(photo(number))
    (first,) = await run(hub, calls(paths[:1]), ledger=ledger, save_to=out)
    kept = first.saved[0].read_bytes()
    outcomes = await run(hub, calls(paths, seed=None), ledger=ledger, save_to=out, overwrite=True)
    assert outcomes[0].saved != outcomes[1].saved
    assert outcomes[0].saved[0].read_bytes() == kept
    assert (out / "photo.png").read_bytes() == b"foreign"


async def test_inputs_are_not_replaced(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, ledger: Path
) -> None:
    """Results saved among the photographs never take their place, not even with `overwrite`."""
    paths = photos(2)
    outcomes: list[Outcome] = []
    for _ in range(2):
        outcomes = await run(
            hub, calls(paths), ledger=ledger, save_to=paths[0].parent, overwrite=True
        )
    assert [path.read_bytes() for path in paths] == [photo(0), photo(1)]
    assert [o.saved[0].name for o in outcomes] == ["p0 (2).png", "p1 (2).png"]
    assert sum(emulator.billed.values()) == 2


async def test_uncertainty_survives_a_kill(
    tried: AsyncChainHub, server: MisbehavingServer, ledger: Path
) -> None:
    """A resend that was interrupted at no cost leaves the job as uncertain as it was."""
    server.script(HtmlError(504))
    await run(tried, many(1), ledger=ledger)
    connection = sqlite3.connect(ledger)
    with connection:  # as a kill leaves it, before the last bytes of a second attempt
        connection.execute("UPDATE jobs SET state = 'SENDING'")
        connection.execute("INSERT INTO runs VALUES (2, '', NULL, '', 1)")
        connection.execute(
            "INSERT INTO attempts (key, number, run, started_at) SELECT key, 2, 2, '' FROM jobs"
        )
    connection.close()
    (outcome,) = await run(tried, many(1), ledger=ledger)
    assert (outcome.state.value, outcome.billed.value) == ("UNCERTAIN", "maybe")
    assert posts(server) == 1


async def test_duplicates_are_not_resent_within_a_run(
    tried: AsyncChainHub, server: MisbehavingServer, ledger: Path
) -> None:
    """What this very run tried is neither resent nor retried for a duplicate."""
    server.script(HtmlError(504), *[HtmlError(504)] * 6)
    same = many(1) * 6
    outcomes = await run(tried, same, ledger=ledger, resend_uncertain=True)
    assert states(outcomes) == ["UNCERTAIN"] * 6
    assert posts(server) == 1
    server.posts._queue.clear()
    server.always(Answer(status=422))
    requests = [ReplaceBackground(photo(9), prompt=PROMPT)] * 4
    assert states(await run(tried, requests, ledger=ledger, retry_refused=True)) == ["REFUSED"] * 4
    assert posts(server) == 2


async def test_results_that_cannot_be_saved_stop(
    make_hub: MakeHub, emulator: Emulator, ledger: Path, out: Path
) -> None:
    """When files cannot be written, no more are bought for long; later they are fetched."""
    hub = make_hub(emulator, limits=Limits(in_flight=1))
    async with hub.batch(ledger=ledger, save_to=out) as batch:
        seen: list[Any] = []
        async for outcome in batch.run(many(100)):
            seen.append(outcome)
            if len(seen) == 5:
                while out.exists():  # files come and go meanwhile
                    shutil.rmtree(out, ignore_errors=True)
        assert isinstance(batch.stopped, BatchStoppedError)
        assert "could not be saved" in str(batch.stopped)
    assert any(isinstance(o.error, SaveError) for o in seen)
    assert sum(emulator.billed.values()) < 60
    outcomes = await run(hub, many(100), ledger=ledger, save_to=out)
    assert set(states(outcomes)) == {"SAVED"}
    assert set(emulator.billed.values()) == {1}


async def test_a_generator_that_fails_at_its_end(
    emulator: Emulator, make_hub: MakeHub, ledger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in the clean-up of the inputs is logged, and costs no result."""
    emulator.latency = 0.2
    hub = make_hub(emulator)

    async def fails() -> AsyncIterator[ReplaceBackground]:
        try:
            for request in many(1_000):
                yield request
        finally:
            raise RuntimeError("in the clean-up")

    with caplog.at_level(logging.WARNING):
        async with hub.batch(ledger=ledger) as batch:
            async for _ in batch.run(fails()):
                break
    assert "in the clean-up" in caplog.text
    assert set(rows(ledger, "SELECT state FROM jobs WHERE billed != 'no'")) == {"ACCEPTED"}


async def test_a_generator_that_does_not_end(hub: AsyncChainHub) -> None:
    """A clean-up of the inputs that takes for ever is left after the grace period."""

    async def slow() -> AsyncIterator[ReplaceBackground]:
        try:
            for request in many(1_000):
                yield request
        finally:
            await anyio.sleep_forever()

    with anyio.fail_after(10):
        async with hub.batch(grace=0.2) as batch:
            async for _ in batch.run(slow()):
                break


async def test_an_iterable_that_is_cancelled(hub: AsyncChainHub) -> None:
    """An iterable whose own work was cancelled ends the run after the outcomes before it."""

    async def cancelled() -> AsyncIterator[ReplaceBackground]:
        for request in many(3):
            yield request
        raise asyncio.CancelledError

    async with hub.batch() as batch:
        outcomes = batch.run(cancelled())
        assert {(await anext(outcomes)).index for _ in range(3)} == {0, 1, 2}
        with pytest.raises(BatchStoppedError, match="was cancelled"):
            await anext(outcomes)


class Silent:
    """A file object that never delivers."""

    async def read(self, _: int) -> bytes:
        await anyio.sleep_forever()
        return b""


async def test_a_file_object_that_hangs(hub: AsyncChainHub) -> None:
    """A file that never delivers holds up neither `stop` nor the end of the block."""
    with anyio.fail_after(20):
        async with hub.batch(grace=5) as batch:
            outcomes = batch.run([ReplaceBackground(Silent(), prompt=PROMPT), *many(2)])
            await anyio.sleep(0.2)
            batch.stop()
            assert states([o async for o in outcomes]) == ["PENDING"] * 3
        async with hub.batch(grace=5) as batch:
            batch.run([ReplaceBackground(Silent(), prompt=PROMPT)])
            await anyio.sleep(0.2)


PROGRAM = """
import asyncio, sys, threading, os, signal
from chainhub_async import AsyncChainHub, ReplaceBackground
from chainhub_async.testing.placeholder import flat_png

async def main():
    async with AsyncChainHub("key", base_url=sys.argv[1]) as hub:
        async with hub.batch(ledger=sys.argv[2], grace=60) as batch:
            async for _ in batch.run(ReplaceBackground(flat_png((8, 8), str(n))) for n in range(4)):
                pass

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
async def test_two_interrupts_of_a_plain_program(server: MisbehavingServer, ledger: Path) -> None:
    """A second Ctrl-C ends a plain asyncio program, and the ledger says the truth."""
    import signal

    server.always(NoAnswer())
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, server.base_url, str(ledger)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while len(server.billed) < 4:
        await anyio.sleep(0.02)
    for _ in range(2):
        child.send_signal(signal.SIGINT)
        await anyio.sleep(0.5)
    out, _ = await anyio.to_thread.run_sync(lambda: child.communicate(timeout=20))
    assert b"interrupted" in out
    assert rows(ledger, "SELECT state, billed FROM jobs") == [("UNCERTAIN", "maybe")] * 4


async def test_a_thread_that_cannot_be_started(
    hub: AsyncChainHub, emulator: Emulator, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that no thread can be had for is an error, and not taken for one that was made."""
    async with hub.batch(ledger=ledger) as batch:
        opened = batch._opened()[0].ledger
        real = anyio.to_thread.run_sync

        async def none(work: Any, *args: Any, **options: Any) -> Any:
            if options.get("limiter") is opened._limiter:
                raise RuntimeError("can't start new thread")
            return await real(work, *args, **options)

        monkeypatch.setattr(anyio.to_thread, "run_sync", none)
        with anyio.fail_after(10):
            outcomes = [o async for o in batch.run(many(3))]
        monkeypatch.undo()
    assert states(outcomes) == ["PENDING"] * 3
    assert "can't start new thread" in str(outcomes[0].error)
    assert not emulator.requests


async def test_the_same_input_twice_after_a_failed_download(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path, out: Path
) -> None:
    """Inputs that share a file fetch it one after another, and a saved job stays saved."""
    (path,) = photos(1)
    server.gets.always(Answer(status=500))
    await run(tried, calls([path]), ledger=ledger, save_to=out)
    server.gets.always(Answer(status=200, body=photo(5), headers=(("Content-Type", "image/png"),)))
    outcomes = await run(tried, calls([path] * 5), ledger=ledger, save_to=out)
    assert states(outcomes) == ["SAVED", *["SKIPPED"] * 4]
    assert names(out) == ["p0.png"]
    assert rows(ledger, "SELECT state, error FROM jobs") == [("SAVED", None)]


async def test_touched_and_edited_results_are_kept(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, ledger: Path, out: Path
) -> None:
    """A result that was copied back or edited is still done; one that is empty is not."""
    paths = photos(3)
    await run(hub, calls(paths), ledger=ledger, save_to=out)
    os.utime(out / "p0.png", (1, 1))
    (out / "p1.png").write_bytes(b"edited")
    (out / "p2.png").write_bytes(b"")
    outcomes = await run(hub, calls(paths), ledger=ledger, save_to=out, overwrite=True)
    assert states(outcomes) == ["SKIPPED", "SKIPPED", "SAVED"]
    assert (out / "p1.png").read_bytes() == b"edited"


async def test_what_can_never_start_is_refused(hub: AsyncChainHub, emulator: Emulator) -> None:
    """A call for more images than may be in flight is refused, and the others are made."""
    requests = [
        *(ReplaceBackground(photo(n), prompt=PROMPT, num_images=8) for n in range(60)),
        *many(2),
    ]
    plans = [one.action.value async for one in hub.batch().plan(requests)]
    assert plans == ["REFUSE"] * 60 + ["SEND"] * 2
    outcomes = await run(hub, requests)
    assert states(outcomes) == ["REFUSED"] * 60 + ["ACCEPTED"] * 2
    assert isinstance(outcomes[0].error, InvalidOptionError)


class Odd(os.PathLike[str]):
    """A path with a mind of its own."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __fspath__(self) -> Any:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


async def test_odd_inputs_end_alone(hub: AsyncChainHub, photos: Photos) -> None:
    """A path that is bytes is a path; one that raises, or is no path, is refused."""
    (path,) = photos(1)
    odd: list[Any] = [Odd(os.fsencode(path)), Odd(ValueError("no")), Odd(5), photo(3)]
    outcomes = await run(hub, calls(odd))
    assert states(outcomes) == ["ACCEPTED", "REFUSED", "REFUSED", "ACCEPTED"]
    assert all(isinstance(o.error, InvalidRequestError) for o in outcomes[1:3])


async def test_a_long_pause_stops(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A pause longer than the client waits for ends the batch, instead of every input."""
    server.always(TooManyRequests(retry_after=3600))
    hub = make_hub(server, retry=RetryPolicy(max_retry_after=10))
    async with hub.batch() as batch:
        outcomes = [o async for o in batch.run(many(300))]
        assert batch.stopped is not None
        assert batch.stopped.retry_at is not None
    assert states(outcomes) == ["PENDING"] * 300
    assert posts(server) <= 4


async def test_a_wrong_address_stops(server: MisbehavingServer, tried: AsyncChainHub) -> None:
    """A base URL that leads nowhere is not asked for every input."""
    server.always(Answer(status=404))
    async with tried.batch() as batch:
        outcomes = [o async for o in batch.run(many(300))]
        assert "50 failures" in str(batch.stopped)
    assert states(outcomes) == ["PENDING"] * 300
    assert posts(server) <= 54


async def test_the_order_of_keys_means_nothing(hub: AsyncChainHub, emulator: Emulator) -> None:
    """Two ways to write the same JSON are one job."""
    requests = [
        ReplaceBackground(photo(1), extra_fields={"options": options})
        for options in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    ]
    emulator.strict_fields = False
    await run(hub, requests)
    assert emulator.billed == {sha(photo(1)): 1}


@pytest.mark.slow
async def test_thousands_of_one_name(hub: AsyncChainHub, tmp_path: Path, ledger: Path) -> None:
    """Many photographs of one name do not slow each other down."""
    paths = [tmp_path / str(number) / "front.png" for number in range(1_000)]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_bytes(photo(number))
    with anyio.fail_after(30):
        await run(hub, calls(paths), ledger=ledger)
    assert len(set(rows(ledger, "SELECT claim FROM inputs"))) == 1_000


async def test_a_closed_batch_says_so(hub: AsyncChainHub) -> None:
    """What is asked of a batch after its block is refused with a sentence."""
    async with hub.batch() as batch:
        pass
    with pytest.raises(BatchStoppedError, match="is closed"):
        batch.run([])
    batch.stop()  # nothing is left to be stopped


async def test_a_client_closed_in_an_upload_is_recorded(
    server: MisbehavingServer, make_hub: MakeHub, ledger: Path
) -> None:
    """The attempt that a closed client cut is recorded as what it was."""
    server.script(TooManyRequests(retry_after=0), NoAnswer())
    hub = make_hub(server, timeout=None)
    outcomes: list[Outcome] = []
    async with hub.batch(ledger=ledger) as batch, anyio.create_task_group() as group:

        async def close_soon() -> None:
            while not sum(server.billed.values()):
                await anyio.sleep(0.01)
            await hub.aclose()

        group.start_soon(close_soon)
        outcomes.extend([o async for o in batch.run(many(1))])
    assert states(outcomes) == ["UNCERTAIN"]
    query = "SELECT number, status, billed, bytes_sent = bytes_total, phase FROM attempts"
    assert rows(ledger, query) == [(1, 429, "no", 1, "reply"), (2, None, "maybe", 1, "read")]
