"""The ledger: what is on disk before anything is sent, and what is refused."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainhub_async import (
    AsyncChainHub,
    ChainHubError,
    ConfigurationError,
    JobState,
    LedgerError,
    LedgerLockedError,
    RateLimitError,
    ReplaceBackground,
    ReplyReceived,
    Saved,
)
from chainhub_async.batch import entries, schema
from chainhub_async.batch import ledger as ledgers
from chainhub_async.batch.ledger import Ledger, retry_jobs
from chainhub_async.batch.records import error_of_json, error_to_json
from chainhub_async.errors import Attempt, Billed
from chainhub_async.testing import (
    Answer,
    Emulator,
    HtmlError,
    MisbehavingServer,
    NoAnswer,
    TooManyRequests,
)
from chainhub_async.testing.faults import Fault

from .conftest import KEY, MakeHub, calls, names, photo, posts, rows, run, states

pytestmark = pytest.mark.anyio
Photos = Callable[[int], list[Path]]


class Look(Fault):
    """Looks into the ledger from outside, while a call is being answered."""

    def __init__(self, ledger: Path) -> None:
        super().__init__()
        object.__setattr__(self, "ledger", ledger)
        object.__setattr__(self, "seen", [])

    async def act(self, x: Any) -> None:
        query = "SELECT state, sent_at IS NOT NULL, reply FROM jobs JOIN attempts USING (key)"
        self.seen.append(rows(self.ledger, query))  # type: ignore[attr-defined]  # set above
        await super().act(x)


async def test_the_intent_comes_first(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path, out: Path
) -> None:
    """When a call arrives its intent is on disk, and when a download arrives, its response is."""
    post, get = Look(ledger), Look(ledger)
    server.always(post)
    server.gets.always(get)
    await run(tried, calls(photos(1)), ledger=ledger, save_to=out)
    (((state, sent, reply),),) = post.seen  # type: ignore[attr-defined]  # set above
    assert (state, sent, reply) == ("SENDING", 1, None)
    (((state, sent, reply),),) = get.seen  # type: ignore[attr-defined]  # set above
    assert (state, sent) == ("ACCEPTED", 1)
    assert "url" in json.loads(reply)["data"][0]


async def test_readable_by_anyone(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, ledger: Path, out: Path
) -> None:
    """State, options, response and files can be read with nothing but sqlite3."""
    (path,) = photos(1)
    await run(hub, calls([path], seed=7, style_codes=["0123abcd"]), ledger=ledger, save_to=out)
    ((state, options, images, billed, status, reply),) = rows(
        ledger, "SELECT state, options, images, billed, reply_status, reply FROM jobs"
    )
    assert (state, images, billed, status) == ("SAVED", 1, "yes", 200)
    assert json.loads(options) == [
        ["prompt", "a forest"],
        ["seed", "7"],
        ["style_codes", "0123abcd"],
    ]
    assert json.loads(reply)["data"][0]["seed"] == 7
    ((source, stem),) = rows(ledger, "SELECT source, stem FROM inputs")
    assert (source, stem) == (str(path), "p0")
    ((saved, size),) = rows(ledger, "SELECT path, bytes FROM outputs")
    assert (saved, size) == (str(out / "p0.png"), (out / "p0.png").stat().st_size)
    assert rows(ledger, "PRAGMA integrity_check") == ["ok"]
    assert rows(ledger, "PRAGMA journal_mode") == ["wal"]


async def test_every_attempt_is_recorded(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path
) -> None:
    """The history of attempts says how each ended, and what it may have cost."""
    server.script(TooManyRequests(retry_after=0), HtmlError(500))
    await run(tried, calls(photos(1)), ledger=ledger)
    found = rows(
        ledger,
        "SELECT number, status, billed, bytes_sent = bytes_total, reason, ended_at >= started_at"
        " FROM attempts ORDER BY number",
    )
    assert [one[:4] for one in found] == [(1, 429, "no", 1), (2, 500, "maybe", 1)]
    assert "slow down" in found[0][4]
    assert {one[5] for one in found} == {1}
    ((kind, request),) = rows(ledger, "SELECT error ->> '$.type', error ->> '$.status' FROM jobs")
    assert (kind, request) == ("ServerError", 500)


async def test_refused_inputs_are_listed(hub: AsyncChainHub, photos: Photos, ledger: Path) -> None:
    """A file that is no image has no job, but is listed until it is one."""
    (path,) = photos(1)
    path.write_bytes(b"no image")
    await run(hub, calls([path]), ledger=ledger)
    ((source, kind),) = rows(ledger, "SELECT source, error ->> '$.type' FROM refusals")
    assert (source, kind) == (str(path), "InvalidImageError")
    path.write_bytes(photo(1))
    await run(hub, calls([path]), ledger=ledger)
    assert rows(ledger, "SELECT * FROM refusals") == []


async def test_the_key_is_not_in_it(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path, out: Path
) -> None:
    """The key is nowhere in the ledger, also when the server sends it back."""
    server.script(
        Answer(status=422, body=json.dumps({"error": {"message": KEY}}).encode()),
        Answer(status=200, body=KEY.encode()),
        Answer(status=500, headers=(("X-Request-Id", KEY),), body=KEY.encode()),
    )
    await run(tried, calls(photos(4)), ledger=ledger, save_to=out)
    everything = b"".join(path.read_bytes() for path in ledger.parent.glob("batch.db*"))
    assert KEY.encode() not in everything
    assert len(rows(ledger, "SELECT key FROM jobs")) == 4


async def test_one_batch_at_a_time(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, ledger: Path, tmp_path: Path
) -> None:
    """A second batch on the same ledger is refused, here and in another process."""
    link = tmp_path / "link.db"
    async with hub.batch(ledger=ledger):
        link.symlink_to(ledger)
        for path in (ledger, link):
            with pytest.raises(LedgerLockedError, match="another batch of this process"):
                await run(hub, calls(photos_once(photos)), ledger=path)
        text = (
            "import sys; from pathlib import Path\n"
            "from chainhub_async.batch.ledger import Ledger\n"
            "try: Ledger.open(Path(sys.argv[1]))\n"
            "except Exception as e: print(type(e).__name__, e)\n"
        )
        told = subprocess.run(
            [sys.executable, "-c", text, str(link)], capture_output=True, text=True, check=True
        ).stdout
        assert told.startswith("LedgerLockedError")
        assert f"(PID {os.getpid()})" in told
    assert not emulator.requests
    async with hub.batch(ledger=link):
        pass


def photos_once(photos: Photos) -> list[bytes]:
    """Images in memory, since the paths can be made only once."""
    del photos
    return [photo(0)]


async def test_a_lock_dies_with_its_process(hub: AsyncChainHub, ledger: Path) -> None:
    """A process that is killed leaves no lock behind."""
    text = (
        "import sys, os; from pathlib import Path\n"
        "from chainhub_async.batch.ledger import Ledger\n"
        "Ledger.open(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", text, str(ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    with pytest.raises(LedgerLockedError, match=f"PID {child.pid}"):
        await run(hub, [], ledger=ledger)
    child.kill()
    child.communicate()
    assert await run(hub, [], ledger=ledger) == []


def _damaged(ledger: Path) -> None:
    data = bytearray(ledger.read_bytes())
    data[5000:9000] = os.urandom(4000)
    ledger.write_bytes(data)


def _truncated(ledger: Path) -> None:
    ledger.write_bytes(ledger.read_bytes()[:10_000])


def _text(ledger: Path) -> None:
    ledger.write_text(
        "these are my notes, and no database at all, of more than a hundred bytes\n" * 9
    )


def _foreign(ledger: Path) -> None:
    ledger.unlink()
    with sqlite3.connect(ledger) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()


def _newer(ledger: Path) -> None:
    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _folder(ledger: Path) -> None:
    ledger.unlink()
    ledger.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_damaged, "damaged|malformed|cannot be used"),
        (_truncated, "damaged|malformed|cannot be used"),
        (_text, "not a database"),
        (_foreign, "another application"),
        (_newer, "newer version"),
        (_folder, "cannot be used"),
    ],
)
async def test_unusable_ledgers(
    hub: AsyncChainHub,
    emulator: Emulator,
    photos: Photos,
    ledger: Path,
    spoil: Callable[[Path], None],
    words: str,
) -> None:
    """A ledger that cannot be used is left as it is, and nothing is sent."""
    requests = calls(photos(60))
    await run(hub, requests, ledger=ledger)
    emulator.reset()
    spoil(ledger)
    before = None if ledger.is_dir() else ledger.read_bytes()
    with pytest.raises(LedgerError, match=words) as caught:
        await run(hub, requests, ledger=ledger)
    assert "batch.db" in str(caught.value)
    assert not emulator.requests
    assert before is None or ledger.read_bytes() == before
    # And it is not locked for ever.
    if ledger.is_file():
        ledger.unlink()
        for rest in ledger.parent.glob("batch.db-*"):
            rest.unlink()
        assert states(await run(hub, requests[:1], ledger=ledger)) == ["ACCEPTED"]


async def test_no_place_for_a_ledger(
    hub: AsyncChainHub, emulator: Emulator, tmp_path: Path
) -> None:
    """A ledger in a directory that is missing or no directory is refused with its name."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing" / "l.db", tmp_path / "file" / "l.db"):
        with pytest.raises(LedgerError, match=r"l\.db"):
            await run(hub, calls([photo(1)]), ledger=path)
    with pytest.raises(ConfigurationError, match="Results cannot be saved"):
        await run(hub, calls([photo(1)]), save_to=tmp_path / "file" / "out")
    assert not emulator.requests


async def test_a_ledger_that_fails_stops_the_batch(
    hub: AsyncChainHub, emulator: Emulator, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program that writes to it, and does not end, stops the batch before any call."""
    monkeypatch.setattr(schema, "_BUSY_SECONDS", 0.1)
    async with hub.batch(ledger=ledger) as batch:
        other = sqlite3.connect(ledger, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        outcomes = [o async for o in batch.run(calls([photo(n) for n in range(5)]))]
        assert states(outcomes) == ["PENDING"] * 5
        assert isinstance(batch.stopped, LedgerError)
        assert "locked" in str(outcomes[0].error)
        other.close()
    assert not emulator.requests
    assert states(await run(hub, calls([photo(1)]), ledger=ledger)) == ["ACCEPTED"]


async def test_many_writes_share_a_commit(ledger: Path, anyio_backend: str) -> None:
    """Writes that arrive together are committed together."""
    import anyio

    opened = Ledger.open(ledger)
    statements: list[str] = []
    opened._connection.set_trace_callback(statements.append)
    async with anyio.create_task_group() as group:
        group.start_soon(opened.serve)
        async with anyio.create_task_group() as writers:
            for number in range(100):
                writers.start_soon(opened.write, _add(number))
        opened.end()
    assert statements.count("COMMIT") <= 3
    opened.close()
    assert rows(ledger, "SELECT count(*) FROM jobs") == [100]


def _add(number: int) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        entries.add_job(
            connection,
            key=f"{number:064x}",
            endpoint="/",
            image_sha256="",
            options="[]",
            images=1,
        )

    return work


async def test_a_write_that_fails_takes_no_other_along(ledger: Path, anyio_backend: str) -> None:
    """Of writes that are committed together only the one that fails is refused."""
    import anyio

    opened = Ledger.open(ledger)
    failed: list[Exception] = []

    async def fails() -> None:
        try:
            await opened.write(
                lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)")
            )
        except LedgerError as error:
            failed.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(opened.serve)
        async with anyio.create_task_group() as writers:
            writers.start_soon(opened.write, _add(1))
            writers.start_soon(fails)
            writers.start_soon(opened.write, _add(2))
        opened.end()
    opened.close()
    assert "nowhere" in str(failed[0])
    assert rows(ledger, "SELECT count(*) FROM jobs") == [2]


def test_what_an_interrupted_run_left(tmp_path: Path) -> None:
    """A job whose last bytes never left is pending again; of any other nobody knows."""
    path = tmp_path / "l.db"
    opened = Ledger.open(path)
    connection = opened._connection
    connection.execute("BEGIN")
    for number, ends in enumerate(["unsent", "sent", "limited", "again"]):
        key = f"{number:064x}"
        _add(number)(connection)
        attempt = entries.begin_attempt(connection, key, opened.run, JobState.PENDING)
        if ends != "unsent":
            entries.mark_sent(connection, key, attempt)
        if ends in {"limited", "again"}:
            told = Attempt(number=1, phase="reply", reason="", billed=Billed.NO)
            if ends == "again":
                told = Attempt(number=1, phase="reply", reason="", billed=Billed.MAYBE)
            entries.end_attempt(connection, key, attempt, told)
            entries.begin_attempt(connection, key, opened.run, JobState.SENDING)
    connection.execute("COMMIT")
    connection.close()  # as by a kill: nothing else is written
    opened._lock.release()  # type: ignore[union-attr]  # a ledger with a path has one
    Ledger.open(path).close()
    assert rows(path, "SELECT state, billed FROM jobs ORDER BY key") == [
        ("PENDING", "no"),
        ("UNCERTAIN", "maybe"),
        ("PENDING", "no"),
        ("UNCERTAIN", "maybe"),
    ]
    assert rows(path, "SELECT count(*) FROM attempts WHERE ended_at IS NULL") == [0]
    assert retry_jobs(path, [JobState.UNCERTAIN], ["0" * 63 + "1"]) == 1
    assert retry_jobs(path, [JobState.UNCERTAIN, JobState.REFUSED]) == 1
    assert rows(path, "SELECT DISTINCT state FROM jobs") == ["PENDING"]
    with pytest.raises(LedgerError, match="does not exist"):
        retry_jobs(tmp_path / "none.db", [JobState.REFUSED])


def test_migration(tmp_path: Path) -> None:
    """Later migrations are applied once, all or none, and keep what is there."""
    path = tmp_path / "l.db"
    Ledger.open(path).close()
    more = (*schema.MIGRATIONS, "ALTER TABLE jobs ADD COLUMN note TEXT;\nUPDATE jobs SET note = ''")
    broken = (*more, "CREATE TABLE half (x);\nINSERT INTO nowhere VALUES (1)")
    with pytest.raises(sqlite3.Error, match="nowhere"):
        schema.open_for_writing(path, broken)
    assert rows(path, "PRAGMA user_version") == [len(schema.MIGRATIONS)]
    for _ in range(2):
        schema.open_for_writing(path, more).close()
    assert rows(path, "PRAGMA user_version") == [len(more)]
    assert rows(path, "SELECT count(*) FROM runs") == [1]
    with pytest.raises(LedgerError, match="newer version"):
        Ledger.open(path)
    schema.open_for_reading(path, more).close()
    with pytest.raises(LedgerError, match="older"):
        schema.open_for_reading(path, broken)


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError("slow", status=429, retry_after=3.0, billed=Billed.NO),
        ChainHubError("anything \u2028 at all", request_id="abc", code=7, billed=Billed.YES),
    ],
)
def test_errors_are_kept(error: ChainHubError) -> None:
    """An error comes back from the ledger with its class and what it told."""
    again = error_of_json(error_to_json(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)


def test_errors_of_other_versions() -> None:
    """A class that this version does not know is the base class; what is no error is its words."""
    assert type(error_of_json('{"type": "Newer", "message": "x"}')) is ChainHubError
    assert type(error_of_json('{"type": "attrs", "message": "x"}')) is ChainHubError
    assert str(error_of_json('"text"')) == '"text"'
    assert error_of_json(None) is None


async def test_a_forked_child_writes_nothing(hub: AsyncChainHub, ledger: Path) -> None:
    """A child that inherits an open batch leaves the ledger alone."""
    async with hub.batch(ledger=ledger) as batch:
        opened = batch._opened()[0].ledger
        opened._process += 1
        with pytest.raises(ChainHubError, match="forked"):
            await opened.write(lambda _: None)
        opened.close()
        opened._process -= 1
    assert rows(ledger, "SELECT count(*) FROM runs WHERE ended_at IS NOT NULL") == [1]


@pytest.mark.slow
async def test_full_disk_in_the_middle(
    emulator: Emulator, make_hub: MakeHub, ledger: Path, out: Path
) -> None:
    """When the ledger cannot grow, no call is made; with room again, the batch is resumed."""
    hub = make_hub(emulator)
    requests = calls([photo(n) for n in range(400)])
    async with hub.batch(ledger=ledger, save_to=out) as batch:
        connection = batch._opened()[0].ledger._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 12}")
        outcomes = [o async for o in batch.run(requests)]
        assert isinstance(batch.stopped, LedgerError)
        assert "full" in str(batch.stopped)
    assert len(outcomes) == 400
    made = sum(emulator.billed.values())
    assert made < 400
    # What came of each call was in hand, and is told, recorded or not.
    assert sum(o.result is not None for o in outcomes) == made
    again = await run(hub, requests, ledger=ledger, save_to=out)
    assert set(emulator.billed.values()) == {1}
    uncertain = states(again).count("UNCERTAIN")
    assert uncertain <= 4
    assert states(again).count("SAVED") + states(again).count("SKIPPED") == 400 - uncertain
    assert not [name for name in names(out) if name.endswith(".part")]


async def test_a_response_is_recorded_with_the_next_file(
    emulator: Emulator,
    make_hub: MakeHub,
    ledger: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that could not be recorded when it came is not lost when the disk has room again."""
    monkeypatch.setattr(ledgers, "_RETRY_AFTER", (0.01,))
    connections: list[sqlite3.Connection] = []

    def on_event(event: object) -> None:
        if isinstance(event, ReplyReceived):
            connections[0].execute("PRAGMA query_only = ON")
        if isinstance(event, Saved):
            connections[0].execute("PRAGMA query_only = OFF")

    hub = make_hub(emulator, on_event=on_event)
    requests = [ReplaceBackground(photo(1), num_images=2)]
    async with hub.batch(ledger=ledger, save_to=out) as batch:
        connections.append(batch._opened()[0].ledger._connection)
        (outcome,) = [o async for o in batch.run(requests)]
        assert isinstance(batch.stopped, LedgerError)
    assert (outcome.state, outcome.error, len(outcome.saved)) == ("SAVED", None, 2)
    assert rows(ledger, "SELECT state, billed, reply_status FROM jobs") == [("SAVED", "yes", 200)]
    assert rows(ledger, "SELECT billed FROM attempts") == ["yes"]
    assert sum(emulator.billed.values()) == 2


def test_commits_are_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is urgent is tried again while another program keeps the ledger."""
    monkeypatch.setattr(schema, "_BUSY_SECONDS", 0.01)
    path = tmp_path / "l.db"
    opened = Ledger.open(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    free = threading.Timer(0.3, other.close)
    free.start()
    entry = ledgers._Entry(_add(1), urgent=True)
    opened._commit_all([entry])
    free.join()
    assert entry.error is None
    opened.close()
    assert rows(path, "SELECT count(*) FROM jobs") == [1]


async def test_lost_answers_are_told(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path
) -> None:
    """A call without an answer is uncertain in the ledger as well, with its request's bytes."""
    server.always(NoAnswer())
    outcomes = await run(tried, calls(photos(2)), ledger=ledger)
    assert states(outcomes) == ["UNCERTAIN"] * 2
    assert (
        rows(ledger, "SELECT bytes_sent = bytes_total, billed, phase FROM attempts")
        == [(1, "maybe", "read")] * 2
    )
    assert posts(server) == 2
