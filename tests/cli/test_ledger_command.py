"""`chainhub ledger`: what it tells of a ledger, and what it puts back."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import sqlite3
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from chainhub_async.batch.facts import RunCosts
from chainhub_async.batch.jobs import JobState
from chainhub_async.batch.lock import LedgerLock
from chainhub_async.batch.reader import LedgerReader
from chainhub_async.cli import ledger_files, output
from chainhub_async.errors import LedgerError
from chainhub_async.testing import Expired, MisbehavingServer

from .batches import batch, folder
from .conftest import call, command, objects
from .ledgers import WHEN, Sample

TOO_LATE = {"type": "DeadlineError", "message": "No reply within 300 s.", "billed": "maybe"}


@pytest.fixture
def sample(place: Path) -> Sample:
    return Sample(place / "c.db")


def mixed(sample: Sample) -> None:
    sample.add("/in/a.jpg", "SAVED", saved=["/out/a.png"])
    sample.add("/in/b.jpg", "SAVED", saved=["/out/b-1.png", "/out/b-2.png"], images=2)
    sample.add("/in/c.jpg", "UNCERTAIN", error=TOO_LATE, images=3)
    sample.add("/in/d.jpg", "PENDING")
    sample.refuse("/in/notes.txt", "It is no JPEG, PNG or WebP.")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output counts as a terminal."""

    def always(stream: object) -> bool:
        return True

    monkeypatch.setattr(output, "is_terminal", always)


# ---- status ------------------------------------------------------------------------------------


def test_status_counts_inputs_and_money(sample: Sample) -> None:
    """Each input counts in its state, each charge in images."""
    mixed(sample)
    done = call("ledger", "status", "c.db")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[:7] == [
        "5 inputs read so far, 4 different calls.",
        "  PENDING    1  not executed",
        "  SAVED      2  paid for and saved",
        "  REFUSED    1  refused, not billed",
        "  UNCERTAIN  1  billed or maybe billed, without a usable result",
        "Saved files: 0 unchanged, 0 changed since, 3 gone.",
        "Images billed: 3. Maybe billed besides: 3.",
    ]


def results(sample: Sample, place: Path, *received: str | None) -> list[Path]:
    """Adds saved results, whose responses came at these times."""
    paths = [place / f"{number}.png" for number in range(len(received))]
    for path, when in zip(paths, received, strict=True):
        path.write_bytes(b"x")
        key = sample.add(f"/in/{path.stem}.jpg", "SAVED", saved=[str(path)])
        sample.execute("UPDATE jobs SET received_at = ? WHERE key = ?", when, key)
        sample.execute(
            "UPDATE outputs SET modified_ns = ? WHERE key = ?", path.stat().st_mtime_ns, key
        )
    return paths


def test_status_looks_at_the_files(sample: Sample, place: Path) -> None:
    """Saved files that are gone or changed are told, and which of them can be fetched again."""
    lately = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    paths = results(sample, place, lately, None, lately, WHEN, lately)
    told = call("ledger", "status", "c.db").stdout
    assert "Saved files: 5 unchanged, 0 changed since, 0 gone." in told
    assert "Everything is saved." in told
    paths[0].write_bytes(b"edited")
    paths[2].write_bytes(b"")
    for gone in (paths[1], paths[3], paths[4]):
        gone.unlink()
    told = call("ledger", "status", "c.db").stdout
    assert "Saved files: 0 unchanged, 1 changed since, 4 gone." in told
    assert "2 saved files gone, of results from the last 24 hours: run the batch again" in told
    assert "2 saved files gone, of older results, which the gateway does not keep" in told
    assert "Everything is saved." not in told
    files = json.loads(call("ledger", "status", "c.db", "--json").stdout)["files"]
    assert files == {"unchanged": 0, "changed": 1, "gone": 4, "gone_downloadable": 2}


def test_what_a_run_cost_and_saved(sample: Sample) -> None:
    """Of what the latest run paid for, that is saved which was saved after it was sent."""
    sample.add("/in/a.jpg", "SAVED", saved=["/out/a.png"])
    sample.add("/in/twice.jpg", "SAVED", saved=["/out/t.png"], attempts=["maybe", "yes"])
    sample.add("/in/withheld.jpg", "SAVED", saved=["/out/w-1.png"], images=2)
    sample.add("/in/lost.jpg", "UNCERTAIN")
    sample.add("/in/free.jpg", "REFUSED")
    again = sample.add("/in/again.jpg", "UNCERTAIN", saved=["/out/old.png"])
    sample.execute("UPDATE outputs SET saved_at = '2026-02-28' WHERE key = ?", again)
    shared = sample.add("/in/b.jpg", "SAVED", saved=["/out/b.png"])
    sample.add("/in/copy.jpg", "SAVED", saved=["/out/copy.png"], key=shared)
    open_ = sample.add("/in/open.jpg", "SENDING", images=3)
    sample.execute("UPDATE attempts SET ended_at = NULL, billed = NULL WHERE key = ?", open_)
    with LedgerReader(sample.path) as reader:
        assert reader.last_costs() == RunCosts(images=11, saved=4, open_calls=1)
        sample.execute("INSERT INTO runs SELECT 2, started_at, NULL, version, pid FROM runs")
        assert reader.last_costs() == RunCosts()


def test_what_is_said_of_lost_files_is_true(server: MisbehavingServer) -> None:
    """The next run fetches what is still there, reports the rest, and --key buys one again."""
    batch(folder(2), "--in-flight", "1")
    Path("out/p0.png").unlink()
    assert "1 saved file gone, of results from the last 24 hours" in (
        call("ledger", "status", "out/chainhub.db").stdout
    )
    assert "1 saved, 1 done by an earlier run" in batch("in").stderr
    Path("out/p0.png").unlink()
    server.gets.script(Expired())
    assert "EXPIRED in/p0.png" in batch("in").stderr
    assert server.billed.total() == 2
    (key,) = [
        each["key"]
        for each in objects(call("ledger", "list", "out/chainhub.db", "--json").stdout)
        if each["saved"] == [str(Path("out/p0.png").absolute())]
    ]
    arguments = ["ledger", "retry", "out/chainhub.db", "--state", "EXPIRED", "--key", key]
    assert "1 image already billed will be PAID FOR AGAIN" in call(*arguments).stderr
    assert call(*arguments, "--yes").exit_code == 0
    assert batch("in").exit_code == 0
    assert server.billed.total() == 3
    assert Path("out/p0.png").exists()


def test_what_is_done_is_put_back_by_its_key_only(sample: Sample) -> None:
    """Nobody buys a whole batch again with one word."""
    key = sample.add("/in/a.jpg", "SAVED")
    sample.add("/in/b.jpg", "SAVED")
    refused = call("ledger", "retry", "c.db", "--state", "SAVED", "--yes")
    assert (refused.exit_code, "--state SAVED needs --key" in refused.stderr) == (2, True)
    assert state_of() == {"/in/a.jpg": "SAVED", "/in/b.jpg": "SAVED"}
    call("ledger", "retry", "c.db", "--state", "SAVED", "--key", key, "--yes")
    assert state_of() == {"/in/a.jpg": "PENDING", "/in/b.jpg": "SAVED"}


@pytest.mark.slow
def test_status_of_a_hundred_thousand_inputs(sample: Sample, place: Path) -> None:
    """Looking at every file takes seconds, and no memory."""
    (path,) = results(sample, place, WHEN)
    stamp = path.stat().st_mtime_ns
    with closing(sqlite3.connect(sample.path)) as connection, connection:
        connection.execute("DELETE FROM outputs")
        connection.executemany(
            "INSERT INTO jobs SELECT ?, state, endpoint, image_sha256, options, images, billed, "
            "error, request_id, 200, '[]', ?, ?, ?, ? FROM jobs LIMIT 1",
            ((f"{number:064}", "x" * 1000, WHEN, WHEN, WHEN) for number in range(100_000)),
        )
        connection.execute("INSERT INTO inputs SELECT '/' || key, key, '', key, 1, 1 FROM jobs")
        connection.executemany(
            "INSERT INTO outputs VALUES (?, ?, 1, ?, 1, ?, ?)",
            (
                (f"/in/{number}.jpg", f"{number:064}", str(path), stamp, WHEN)
                for number in range(100_000)
            ),
        )
    tracemalloc.start()
    try:
        with LedgerReader(sample.path) as reader:
            counts = ledger_files.look(reader.files())
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert counts == ledger_files.FileCounts(unchanged=100_000)
    begun = time.monotonic()
    assert call("ledger", "status", "c.db").exit_code == 0
    assert time.monotonic() - begun < 10  # about one on an idle machine


def test_every_charge_counts(sample: Sample) -> None:
    """A job that was sent again after an uncertain attempt may have cost twice."""
    sample.add("/in/a.jpg", "SAVED", images=2, attempts=["no", "maybe", "yes"])
    told = json.loads(call("ledger", "status", "c.db", "--json").stdout)
    assert told["images"] == {"billed": 2, "maybe_billed": 2}


def test_duplicates_are_inputs_of_one_call(sample: Sample) -> None:
    """Two inputs of the same bytes and options count twice as inputs, and cost once."""
    key = sample.add("/in/a.jpg", "SAVED")
    sample.add("/in/copy.jpg", "SAVED", key=key)
    told = json.loads(call("ledger", "status", "c.db", "--json").stdout)
    assert (told["inputs"], told["jobs"]) == ({"SAVED": 2}, 1)
    assert told["images"] == {"billed": 1, "maybe_billed": 0}


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        ("PENDING", "1 input to do: run the batch again"),
        ("SENDING", "1 input being sent by a run in progress"),
        ("ACCEPTED", "1 input paid for, but not saved: run the batch again within 24 hours"),
        ("SAVED", "Everything is saved. To look at it: chainhub gallery 'my ledger.db'"),
        ("REFUSED", "chainhub ledger retry 'my ledger.db' --state REFUSED"),
        ("UNCERTAIN", "RISK PAYING TWICE: chainhub ledger retry 'my ledger.db' --state UNCERTAIN"),
        ("EXPIRED", "PAY AGAIN for them: chainhub ledger retry 'my ledger.db' --state EXPIRED"),
    ],
)
def test_status_says_what_to_do(place: Path, state: str, advice: str) -> None:
    """Each state has its next step, as a command that can be pasted."""
    Sample(place / "my ledger.db").add("/in/a.jpg", state)
    last = call("ledger", "status", "my ledger.db").stdout.splitlines()[-1]
    assert advice in last


def test_status_of_files_that_are_no_images(sample: Sample) -> None:
    """What could not become a job is not to be retried, but corrected."""
    sample.refuse("/in/notes.txt", "It is no JPEG, PNG or WebP.")
    told = json.loads(call("ledger", "status", "c.db", "--json").stdout)
    assert (told["inputs"], told["unreadable"]) == ({"REFUSED": 1}, 1)
    assert told["next"] == [
        "1 input not sent, being no valid image or call: correct it, then run the batch again."
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("SELECT 1", "number 1, from 2026-03-01 10:00:00 UTC to 2026-03-01 10:05:00 UTC."),
        (
            "UPDATE runs SET ended_at = NULL",
            (
                "number 1, from 2026-03-01 10:00:00 UTC; it has not ended (process 77), or was "
                "interrupted."
            ),
        ),
        ("UPDATE runs SET started_at = 'noon'", "number 1, from noon to 2026-03-01 10:05:00 UTC."),
        ("DELETE FROM runs", "none."),
    ],
    ids=["ended", "open", "odd", "none"],
)
def test_status_of_the_last_run(sample: Sample, change: str, line: str) -> None:
    """The last run is told with its time, and whether it ended."""
    sample.execute(change)
    assert f"Last run: {line}" in call("ledger", "status", "c.db").stdout.splitlines()


# ---- list --------------------------------------------------------------------------------------


def test_list_for_programs(sample: Sample) -> None:
    """Piped, a line has the state, the exact source, and each saved file or the error."""
    mixed(sample)
    assert call("ledger", "list", "c.db").stdout.splitlines() == [
        "SAVED\t/in/a.jpg\t/out/a.png",
        "SAVED\t/in/b.jpg\t/out/b-1.png\t/out/b-2.png",
        "UNCERTAIN\t/in/c.jpg\tNo reply within 300 s.",
        "PENDING\t/in/d.jpg\t",
        "REFUSED\t/in/notes.txt\tIt is no JPEG, PNG or WebP.",
    ]


def test_a_withheld_result(sample: Sample) -> None:
    """A job that is done and has no file is explained."""
    sample.add("/in/a.jpg", "SAVED")
    line = call("ledger", "list", "c.db").stdout
    assert line == "SAVED\t/in/a.jpg\twithheld as unsafe by the gateway\n"


@pytest.mark.usefixtures("terminal")
def test_list_for_people(sample: Sample) -> None:
    """On a terminal nothing that a file is named or a server said can control it."""
    sample.add("/in/\x1b[31m.jpg", "SAVED", saved=["/out/\x1b]0;x.png"])
    sample.add("", "REFUSED", error={"message": "no\x07\n"})
    sample.add("/in/d.jpg", "PENDING")
    lines = call("ledger", "list", "c.db").stdout.splitlines()
    assert sorted(lines) == [
        "PENDING    /in/d.jpg",
        "REFUSED    (in memory)  →  no\\x07\\n",
        "SAVED      /in/\\x1b[31m.jpg  →  /out/\\x1b]0;x.png",
    ]


def test_list_of_some_states(sample: Sample) -> None:
    """States can be chosen, in any case, several at once."""
    mixed(sample)
    chosen = call("ledger", "list", "c.db", "--state", "refused", "--state", "PENDING").stdout
    assert [line.split("\t")[0] for line in chosen.splitlines()] == ["PENDING", "REFUSED"]
    assert call("ledger", "list", "c.db", "--state", "EXPIRED").stdout == ""


def test_list_as_json(sample: Sample) -> None:
    """Each line is an object, in ASCII, whatever the names."""
    sample.add("/in/ä\x1b.jpg", "UNCERTAIN", prompt="été", error=TOO_LATE, attempts=["no", "maybe"])
    text = call("ledger", "list", "c.db", "--json").stdout
    (told,) = objects(text)
    assert text.isascii()
    assert "\x1b" not in text
    assert told == {
        "image": "/in/ä\x1b.jpg",
        "key": told["key"],
        "state": "UNCERTAIN",
        "billed": "maybe",
        "images": 1,
        "options": [["prompt", "été"]],
        "saved": [],
        "error": {**TOO_LATE, "status": None, "code": None, "request_id": None},
        "request_id": "req-1",
        "attempts": 2,
        "updated_at": "2026-03-01T10:00:00.000+00:00",
    }


def test_a_job_whose_name_was_given_away_is_listed(sample: Sample) -> None:
    """A paid job is not forgotten when a later run takes over its file's name."""
    sample.add("/in/a.jpg", "SAVED")
    sample.execute("DELETE FROM inputs")
    (told,) = objects(call("ledger", "list", "c.db", "--json").stdout)
    assert (told["image"], told["state"], told["billed"]) == (None, "SAVED", "yes")


def test_a_reader_that_leaves(sample: Sample) -> None:
    """A pipe that is closed early ends the list without a traceback."""
    sample.refuse("/in/a.jpg", "no" * 50_000)
    sample.refuse("/in/b.jpg", "no")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(
            command("ledger", "list", "c.db"), stdout=stdout, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(sample: Sample) -> None:
    """A list that could not be written whole does not pass for one."""
    mixed(sample)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("ledger", "list", "c.db"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"Standard output is incomplete: No space left on device." in done.stderr


# ---- export ------------------------------------------------------------------------------------


def test_export_as_csv(sample: Sample) -> None:
    """A row for each input, with the history of its attempts."""
    mixed(sample)
    rows = list(csv.DictReader(io.StringIO(call("ledger", "export", "c.db").stdout)))
    assert [row["state"] for row in rows] == ["SAVED", "SAVED", "UNCERTAIN", "PENDING", "REFUSED"]
    assert rows[1]["saved"] == "/out/b-1.png\n/out/b-2.png"
    assert (rows[2]["error_type"], rows[2]["billed"]) == ("DeadlineError", "maybe")
    assert json.loads(rows[2]["history"])[0]["billed"] == "maybe"
    assert (rows[4]["key"], rows[4]["history"]) == ("", "[]")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_csv_runs_no_formulas(sample: Sample, start: str) -> None:
    """No cell can begin a formula, whoever wrote the prompt or the error."""
    text = f'{start}HYPERLINK("http://x")'
    sample.add("/in/a.jpg", "REFUSED", prompt=text, error={"type": "E", "message": text})
    told = call("ledger", "export", "c.db").stdout_bytes.decode()
    (row,) = csv.DictReader(io.StringIO(told, newline=""))
    assert row["prompt"] == row["error_message"] == f"'{text}"
    assert not [cell for cell in row.values() if cell.startswith(start)]


@pytest.mark.usefixtures("terminal")
def test_csv_on_a_terminal(sample: Sample) -> None:
    """Shown on a terminal, its cells control nothing."""
    sample.add("/in/a.jpg", "SAVED", prompt="\x1b[2J")
    assert "\x1b" not in call("ledger", "export", "c.db").stdout


def test_export_as_json_lines(sample: Sample) -> None:
    """Each object also has the attempts and the gateway's response, as it came."""
    sample.add("/in/a.jpg", "SAVED", reply='{"data":[]}', attempts=["no", "yes"])
    sample.add("/in/b.jpg", "UNCERTAIN", reply=b"\xff\0")
    sample.refuse("/in/notes.txt", "no image")
    text, binary, refused = objects(call("ledger", "export", "c.db", "--format", "jsonl").stdout)
    assert [attempt["billed"] for attempt in text["history"]] == ["no", "yes"]
    assert text["reply"] == {
        "status": 200,
        "headers": [["X", "y"]],
        "received_at": "2026-03-01T10:00:00.000+00:00",
        "body": '{"data":[]}',
    }
    assert base64.b64decode(binary["reply"]["body_base64"]) == b"\xff\0"
    assert (refused["history"], refused["reply"]) == ([], None)


def test_export_to_a_file(sample: Sample, place: Path) -> None:
    """The file's name chooses the format, and nothing else is left beside it."""
    mixed(sample)
    call("ledger", "export", "c.db", "-o", "all.jsonl")
    call("ledger", "export", "c.db", "-o", "all.csv")
    assert len(objects((place / "all.jsonl").read_text())) == 5
    assert len(list(csv.reader(io.StringIO((place / "all.csv").read_text())))) == 6
    assert not list(place.glob("*.part")) + list(place.glob(".*.part"))


def test_export_replaces_only_on_request(sample: Sample, place: Path) -> None:
    """A file that exists is kept, unless `--force` is given; the ledger is kept in any case."""
    mixed(sample)
    (place / "all.csv").write_text("mine")
    refused = call("ledger", "export", "c.db", "-o", "all.csv")
    assert (refused.exit_code, (place / "all.csv").read_text()) == (2, "mine")
    assert call("ledger", "export", "c.db", "-o", "all.csv", "--force").exit_code == 0
    assert (place / "all.csv").read_text().startswith("image,")
    itself = call("ledger", "export", "c.db", "-o", "./c.db", "--force")
    assert (itself.exit_code, "the ledger itself" in itself.stderr) == (2, True)
    assert call("ledger", "status", "c.db").exit_code == 0


def test_export_that_fails_leaves_the_old_file(sample: Sample, place: Path) -> None:
    """An export that breaks off is not taken for one that is complete."""
    mixed(sample)
    sample.execute("UPDATE jobs SET options = 'broken' WHERE state = 'PENDING'")
    (place / "all.csv").write_text("old")
    done = call("ledger", "export", "c.db", "-o", "all.csv", "--force")
    assert (done.exit_code, "cannot be read" in done.stderr) == (1, True)
    assert (place / "all.csv").read_text() == "old"
    assert sorted(path.name for path in place.iterdir() if "part" in path.name) == []


def test_export_into_nowhere(sample: Sample) -> None:
    """A folder that does not exist is told in a sentence."""
    done = call("ledger", "export", "c.db", "-o", "no/such/all.csv")
    assert done.exit_code == 1
    assert "'no/such/all.csv' cannot be written: No such file or directory." in done.stderr


# ---- retry -------------------------------------------------------------------------------------


def state_of(ledger: str = "c.db") -> dict[str, str]:
    lines = call("ledger", "list", ledger).stdout.splitlines()
    return {line.split("\t")[1]: line.split("\t")[0] for line in lines}


def test_refused_jobs_are_put_back_at_once(sample: Sample) -> None:
    """What was not billed needs no confirmation, and other states stay as they are."""
    mixed(sample)
    sample.add("/in/r.jpg", "REFUSED")
    done = call("ledger", "retry", "c.db", "--state", "REFUSED")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("1 job put back. Run the batch again")
    assert state_of()["/in/r.jpg"] == "PENDING"
    assert state_of()["/in/c.jpg"] == "UNCERTAIN"


@pytest.mark.parametrize(
    ("state", "billed", "warning"),
    [
        ("UNCERTAIN", "maybe", "3 images maybe billed already MAY BE PAID FOR TWICE."),
        ("UNCERTAIN", "yes", "3 images already billed will be PAID FOR AGAIN."),
        ("EXPIRED", "yes", "3 images already billed will be PAID FOR AGAIN."),
    ],
)
def test_what_may_cost_twice_needs_a_yes(
    sample: Sample, state: str, billed: str, warning: str
) -> None:
    """Without a terminal to ask on, nothing is changed but with `--yes`."""
    sample.add("/in/a.jpg", state, images=3, billed=billed)
    refused = call("ledger", "retry", "c.db", "--state", state)
    assert (refused.exit_code, state_of()["/in/a.jpg"]) == (2, state)
    assert warning in refused.stderr
    assert "--yes" in refused.stderr
    done = call("ledger", "retry", "c.db", "--state", state, "--yes")
    assert (done.exit_code, state_of()["/in/a.jpg"]) == (0, "PENDING")
    assert warning in done.stderr


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("answer", "code", "state"), [(b"y\n", 0, "PENDING"), (b"n\n", 1, "UNCERTAIN")]
)
def test_a_terminal_is_asked(sample: Sample, answer: bytes, code: int, state: str) -> None:
    """On a terminal the question is asked, and no means no."""
    sample.add("/in/a.jpg", "UNCERTAIN")
    done = call("ledger", "retry", "c.db", "--state", "UNCERTAIN", stdin=answer)
    assert "Put them back to be sent again? [y/N]" in done.stderr
    assert done.exit_code == code
    with LedgerReader(sample.path) as reader:
        assert [entry.state.value for entry in reader.entries()] == [state]


def test_some_jobs_by_their_keys(sample: Sample) -> None:
    """A key, or its beginning, chooses single jobs."""
    first = sample.add("/in/a.jpg", "EXPIRED")
    sample.add("/in/b.jpg", "EXPIRED")
    done = call("ledger", "retry", "c.db", "--state", "EXPIRED", "--key", first[:4], "--yes")
    assert "1 image already billed" in done.stderr
    assert state_of() == {"/in/a.jpg": "PENDING", "/in/b.jpg": "EXPIRED"}


@pytest.mark.parametrize("key", ["", "%", "a b"])
def test_a_key_that_is_none_chooses_nothing(sample: Sample, key: str) -> None:
    """An unset variable does not choose every job."""
    sample.add("/in/a.jpg", "EXPIRED")
    done = call("ledger", "retry", "c.db", "--state", "EXPIRED", "--key", key, "--yes")
    assert (done.exit_code, state_of()["/in/a.jpg"]) == (2, "EXPIRED")


def test_nothing_to_put_back(sample: Sample) -> None:
    """If no job matches, that is said, and nothing is written."""
    mixed(sample)
    done = call("ledger", "retry", "c.db", "--state", "EXPIRED")
    assert (done.exit_code, done.stderr) == (0, "No job matches; nothing was changed.\n")
    assert not Path("c.db.lock").exists()


def test_no_retry_during_a_run(sample: Sample) -> None:
    """While a batch uses the ledger, nothing is put back, and that is said."""
    sample.add("/in/r.jpg", "REFUSED")
    lock = LedgerLock(sample.path)
    try:
        done = call("ledger", "retry", "c.db", "--state", "REFUSED")
    finally:
        lock.release()
    assert (done.exit_code, "in use" in done.stderr) == (1, True)
    assert state_of()["/in/r.jpg"] == "REFUSED"


# ---- ledgers that cannot be read -----------------------------------------------------------------


def _nothing(path: Path) -> None:
    del path


def _directory(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("source,state\n" * 100)


def _empty(path: Path) -> None:
    path.touch()


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (key)")


def _newer(path: Path) -> None:
    Sample(path).execute("PRAGMA user_version = 99")


def _cut(path: Path) -> None:
    sample = Sample(path)
    for number in range(200):
        sample.refuse(f"/in/{number}.jpg", "no" * 100)
    sample.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xaa" * (len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_nothing, "The ledger 'x.db' does not exist."),
        (_directory, "The ledger 'x.db' does not exist."),
        (_text, "The ledger 'x.db' cannot be read: file is not a database."),
        (_empty, "'x.db' is no ledger yet"),
        (_foreign, "'x.db' is a database of another application, not a ledger."),
        (_newer, "was written by a newer version of chainhub-async (schema 99;"),
        (_cut, "The ledger 'x.db' cannot be read: database disk image is malformed."),
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [["status"], ["list"], ["export"], ["retry", "--state", "REFUSED"]],
    ids=lambda arguments: arguments[0],
)
def test_what_is_no_ledger(
    place: Path, make: Callable[[Path], None], sentence: str, arguments: list[str]
) -> None:
    """Each command says in a sentence why it cannot read a file, and leaves it as it was."""
    make(place / "x.db")
    before = (place / "x.db").read_bytes() if (place / "x.db").is_file() else None
    done = call("ledger", arguments[0], "x.db", *arguments[1:])
    assert (done.exit_code, sentence in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    assert ((place / "x.db").read_bytes() if before is not None else None) == before


def test_values_that_are_none_of_ours(sample: Sample) -> None:
    """A value of no meaning is damage, and told as such."""
    sample.add("/in/a.jpg", "SAVED")
    sample.execute("UPDATE jobs SET options = '[1]'")
    with LedgerReader(sample.path) as reader, pytest.raises(LedgerError, match="cannot be read"):
        list(reader.entries())


def test_errors_of_other_shapes(sample: Sample) -> None:
    """An error that is no object is shown all the same."""
    sample.add("/in/a.jpg", "REFUSED")
    sample.execute("UPDATE jobs SET error = '[1, 2]'")
    assert call("ledger", "list", "c.db").stdout == "REFUSED\t/in/a.jpg\t[1, 2]\n"


# ---- during a run, and after ---------------------------------------------------------------------


def test_reading_while_a_run_writes(sample: Sample) -> None:
    """Reading neither disturbs a writer nor waits for it."""
    mixed(sample)
    with closing(sqlite3.connect(sample.path, timeout=0, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE jobs SET state = 'SAVED'")
        with LedgerReader(sample.path) as reader:
            entries = reader.entries()
            assert next(entries).source == "/in/a.jpg"
            writer.execute("COMMIT")  # nobody holds it up
            assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            assert reader.counts().inputs == {JobState.SAVED: 4, JobState.REFUSED: 1}
            assert len(list(entries)) == 4


def test_reading_changes_nothing(sample: Sample) -> None:
    """The ledger's bytes stay the same."""
    mixed(sample)
    before = sample.path.read_bytes()
    call("ledger", "list", "c.db")
    call("ledger", "export", "c.db")
    assert sample.path.read_bytes() == before


def test_many_inputs_in_order(sample: Sample) -> None:
    """More than one step of reading yields each input once, by its path."""
    with closing(sqlite3.connect(sample.path)) as connection, connection:
        key = sample.add("/in/00000.jpg", "SAVED")
        connection.executemany(
            "INSERT INTO inputs VALUES (?, ?, '', ?, 1, 1)",
            [(f"/in/{number:05}.jpg", key, str(number)) for number in range(1, 1234)],
        )
    with LedgerReader(sample.path) as reader:
        sources = [entry.source for entry in reader.entries([JobState.SAVED])]
    assert sources == [f"/in/{number:05}.jpg" for number in range(1234)]


@pytest.mark.slow
def test_a_hundred_thousand_inputs_take_no_memory(sample: Sample) -> None:
    """Reading is lazy: its memory does not grow with the ledger."""
    with closing(sqlite3.connect(sample.path)) as connection, connection:
        key = sample.add("/in/x.jpg", "SAVED")
        connection.executemany(
            "INSERT INTO inputs VALUES (?, ?, '', ?, 1, 1)",
            ((f"/in/{number}.jpg", key, str(number)) for number in range(100_000)),
        )
    tracemalloc.start()
    try:
        with LedgerReader(sample.path) as reader:
            assert sum(1 for _ in reader.entries()) == 100_001
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
