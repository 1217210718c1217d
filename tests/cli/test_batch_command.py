"""`chainhub batch` from end to end: photos in, files out, each paid for once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chainhub_async.batch.ledger import Ledger
from chainhub_async.cli import exits
from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer, Expired
from chainhub_async.testing.faults import ResetAfter

from .batches import batch, folder, posts, rows
from .conftest import call, command, names, objects, png, replace

# --- one run after another ----------------------------------------------------------------------


def test_a_folder(emulator: Emulator) -> None:
    """Paths on standard output; a line for each photo and a summary on standard error."""
    done = batch(folder(3), "--ordered")
    assert done.exit_code == 0
    saved = [str(Path("out", f"p{n}.png")) for n in range(3)]
    assert done.stdout.splitlines() == saved
    told = done.stderr.splitlines()
    assert told[:3] == [f"SAVED {Path('in', f'p{n}.png')} → {saved[n]}" for n in range(3)]
    assert told[3] == "3 photos: 3 saved. Billed or maybe billed in this run: 3 images."
    assert told[4].endswith(f"chainhub gallery {Path('out', 'chainhub.db')}")
    assert sum(emulator.billed.values()) == 3


def test_run_again(emulator: Emulator) -> None:
    """What is done is skipped; what is new, or is gone, is made, or downloaded free of charge."""
    batch(folder(3))
    Path("out/p1.png").unlink()
    Path("in/p3.png").write_bytes(png(3))
    done = batch("in", "--ordered", "--json")
    assert done.exit_code == 0
    told = objects(done.stdout)
    assert [each["state"] for each in told] == ["SKIPPED", "SAVED", "SKIPPED", "SAVED"]
    assert [each["spent"] for each in told] == [0, 0, 0, 1]
    assert sum(emulator.billed.values()) == 4
    assert "2 saved, 2 done by an earlier run" in done.stderr
    again = batch("in")
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr.startswith(f"SKIPPED {Path('in', 'p0.png')} → {Path('out', 'p0.png')}\n")


def test_json(emulator: Emulator) -> None:
    """All there is to know of an outcome, on one line."""
    emulator.withhold = lambda _, index: index == 1
    done = batch(folder(1), "--json", "--num-images", "2", "-q")
    (told,) = objects(done.stdout)
    assert len(told.pop("key")) == 64
    assert told.pop("request_id")
    assert told == {
        "index": 0,
        "image": str(Path("in", "p0.png")),
        "state": "SAVED",
        "saved": [str(Path("out", "p0-1.png"))],
        "billed": "yes",
        "spent": 2,
        "withheld": 1,
        "error": None,
    }
    assert done.exit_code == exits.BILLED
    assert "1 image was withheld as unsafe by the gateway, but billed." in done.stderr


def test_json_of_every_command(server: MisbehavingServer) -> None:
    """The same goes by the same name, with the same values, and help tells the names."""
    refusal = Answer.json({"error": {"message": "unsafe"}}, status=422)
    for photo in (png(1), png(1)):
        server.for_image(photo, refusal)
    folder(2)
    Path("in/text.png").write_text("no photo")
    sources = [str(Path("in", name)) for name in ("p0.png", "p1.png", "text.png")]
    single = objects(replace(*sources, "-o", "single", "--json", "--in-flight", "1").stdout)
    ran = objects(batch(*sources, "--json", "--in-flight", "1", "--ordered").stdout)
    listed = objects(call("ledger", "list", "out/chainhub.db", "--json").stdout)
    exported = objects(call("ledger", "export", "out/chainhub.db", "--format", "jsonl").stdout)
    planned = objects(batch(*sources, "--dry-run", "--json").stdout)
    for one in (single, ran, listed, exported):
        one.sort(key=lambda each: str(each["image"]))
        assert [each["state"] for each in one] == ["SAVED", "REFUSED", "REFUSED"]
        assert [each["billed"] for each in one] == ["yes", "no", "no"]
        assert [Path(each["image"]).name for each in one] == ["p0.png", "p1.png", "text.png"]
    for one in (single, ran, listed, exported, planned):
        errors = [each["error"] for each in one]
        assert [error and error["type"] for error in errors] == [
            *(None, "ContentRejectedError", "InvalidImageError")
        ]
        assert [error and error["status"] for error in errors] == [None, 422, None]
        assert all(error["billed"] == "no" and error["message"] for error in errors[1:])
    everywhere = {"image", "billed", "error"}
    for one, arguments in (
        (single, ["replace-background"]),
        (ran, ["batch"]),
        (planned, ["batch"]),
        (listed, ["ledger", "list"]),
    ):
        text = call(*arguments, "--help").stdout
        assert everywhere <= one[0].keys()
        assert [name for name in one[0] if name not in text] == []


def test_a_manifest(emulator: Emulator) -> None:
    """Each row is a call with its own options; the command line fills what it leaves empty."""
    folder(2)
    Path("m.csv").write_text(
        "image,prompt,num_images\nin/p0.png,a beach,2\nin/p0.png,,\nin/p1.png,a beach,\n"
    )
    done = batch("m.csv", "--seed", "5")
    assert done.exit_code == 0
    assert names(Path("out"))[-4:] == ["p0 (2).png", "p0-1.png", "p0-2.png", "p1.png"]
    options = [dict(json.loads(each)) for each in rows("SELECT options FROM jobs")]
    assert sorted(each["prompt"] for each in options) == ["a beach", "a beach", "a forest"]
    assert {each["seed"] for each in options} == {"5"}


@pytest.mark.parametrize("dry", [False, True])
def test_a_bad_manifest_sends_nothing(emulator: Emulator, *, dry: bool) -> None:
    """Every row is looked at before the first is sent, and each that is wrong is told."""
    folder(1)
    Path("m.csv").write_text("image,seed\n" + "in/p0.png,1\n" * 500 + "in/p0.png,x\n,1\n")
    done = batch("m.csv", *(["--dry-run"] if dry else []))
    assert (done.exit_code, done.stdout) == (exits.USAGE, "")
    assert done.stderr == (
        "Error: 'm.csv', line 502: seed is 'x'; a whole number is expected.\n"
        "'m.csv', line 503: image is empty; a path is expected.\n"
    )
    assert not emulator.requests
    assert not Path("out").exists()


def test_a_manifest_that_changes(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before the bad row is saved, and the run says why it ended."""
    folder(1)
    Path("m.csv").write_text("image\nin/p0.png\n")
    opened = Ledger.open.__func__  # type: ignore[attr-defined]  # it is a classmethod

    def change(path: Path | None) -> Ledger:
        Path("m.csv").write_text("image\nin/p0.png\n,\nin/p0.png,x\n")
        found: Ledger = opened(Ledger, path)
        return found

    monkeypatch.setattr(Ledger, "open", change)
    done = batch("m.csv")
    assert done.exit_code == exits.FAILED
    assert "Error: 'm.csv', line 4: it has 2 values" in done.stderr
    assert "1 saved" in done.stderr


def test_duplicates_cost_once(emulator: Emulator) -> None:
    """Copies of a photo get a file each."""
    folder(1)
    Path("in/copy.png").write_bytes(png(0))
    done = batch("in")
    assert done.exit_code == 0
    assert sorted(done.stdout.split()) == sorted(
        str(Path("out", name)) for name in ("p0.png", "copy.png")
    )
    assert sum(emulator.billed.values()) == 1


def test_results_beside_the_photos(emulator: Emulator, place: Path) -> None:
    """A second run over the same folder does not take the results of the first for photos."""
    Path("cat.jpg").write_bytes(png(0))
    arguments = ["batch", ".", "--prompt", "x", "-o", "."]
    assert call(*arguments, "--yes").exit_code == 0
    done = call(*arguments, "--yes")
    assert done.exit_code == 0
    assert "Results of earlier runs were found and not taken as photos: 1." in done.stderr
    assert sum(emulator.billed.values()) == 1
    # Nor does another ledger in the same place.
    done = call(*arguments, "--emulator")
    assert "1 photo: 1 saved. The gateway would have billed: 1 image." in done.stderr


def test_results_of_another_ledger_beside_the_photos(emulator: Emulator) -> None:
    """Wherever ledgers lie, no run takes the results of another for photos in the same folder."""
    Path("elsewhere").mkdir()
    folder(1)
    Path("in/p0.png").rename("in/cat.jpg")
    for number, ledger in enumerate(["elsewhere/a.db", "in/b.db", "", "c.db"]):
        chosen = ["--ledger", ledger] if ledger else []
        done = call("batch", "in", "--prompt", "x", "-o", "in", "--yes", *chosen)
        assert done.exit_code == 0
        assert ("not taken as photos: " in done.stderr) == (number > 0)
        assert sum(emulator.billed.values()) == number + 1
    done = call("batch", "in/*", "--prompt", "x", "-o", "out", "--dry-run", "--json")
    assert [each["image"] for each in objects(done.stdout)] == [str(Path("in", "cat.jpg"))]
    results = len(list(Path("in").glob("*.png")))
    assert f"not taken as photos: {results}." in done.stderr


def test_results_that_are_meant(emulator: Emulator) -> None:
    """A folder with nothing but results is as good a source as any, and so is one by its name."""
    assert batch(folder(2), "--ledger", "a.db").exit_code == 0
    for sources in (["out"], [str(Path("out", "p0.png")), str(Path("out", "p1.png"))]):
        done = call("batch", *sources, "--prompt", "x", "-o", "next", "--dry-run")
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["SEND", "SEND"]


def test_results_that_cannot_be_known(emulator: Emulator) -> None:
    """If the ledger that knows them is gone, nothing is guessed, and there are ways out."""
    Path("in").mkdir()
    Path("in/cat.jpg").write_bytes(png(0))
    arguments = ["batch", "in", "--prompt", "x", "-o", "in", "--yes", "--ledger"]
    assert call(*arguments, "a.db").exit_code == 0
    Path("a.db").rename("b.db")
    done = call(*arguments, "c.db")
    assert done.exit_code == exits.USAGE
    assert "which is gone. They cannot be told from photos" in done.stderr
    assert sum(emulator.billed.values()) == 1
    Path("b.db").rename("a.db")
    assert call(*arguments, "c.db", "--dry-run").exit_code == 0


def test_a_note_that_is_damaged(emulator: Emulator) -> None:
    """It is not taken for one that names no ledger."""
    folder(1)
    note = Path("in/.chainhub-ledgers")
    note.write_text('"/x/a.d')
    done = batch("in")
    assert (done.exit_code, "which is gone" in done.stderr) == (exits.USAGE, True)
    note.unlink()
    note.mkdir()
    done = batch("in")
    assert done.exit_code == exits.USAGE
    assert "Whether 'in' contains results of earlier runs cannot be found out" in done.stderr
    assert not emulator.requests


@pytest.mark.skipif(os.name == "nt", reason="a directory does as a file there")
def test_a_note_that_cannot_be_left(emulator: Emulator) -> None:
    """Results that no later run would know are not bought."""
    Path("out/.chainhub-ledgers").mkdir(parents=True)
    done = batch(folder(1), "--ledger", "a.db")
    assert done.exit_code == exits.USAGE
    assert "cannot be written: Is a directory. Nothing was sent." in done.stderr
    assert not emulator.requests


def test_overwrite(emulator: Emulator) -> None:
    """Existing files stay, unless asked otherwise."""
    Path("out").mkdir()
    Path("out/p0.png").write_text("mine")
    assert batch(folder(1)).stdout.splitlines() == [str(Path("out", "p0 (2).png"))]
    done = batch("in", "--seed", "1", "--overwrite", "--ledger", "other.db")
    assert done.stdout.splitlines() == [str(Path("out", "p0.png"))]
    assert Path("out/p0.png").read_bytes().startswith(b"\x89PNG")
    assert rows("SELECT count(*) FROM jobs", "other.db") == [1]


def test_tasks(emulator: Emulator) -> None:
    """Without --task-path they are kept for a later run that has one."""
    emulator.reply = "task"
    done = batch(folder(1))
    assert done.exit_code == exits.BILLED
    assert "The gateway has not finished it: task " in done.stderr
    assert "With --task-path, the next run fetches it" in done.stderr
    done = batch("in", "--task-path", emulator.task_path)
    assert (done.exit_code, done.stdout.split()) == (0, [str(Path("out", "p0.png"))])
    assert posts(emulator) == 1


# --- the emulator -------------------------------------------------------------------------------


def test_the_embedded_emulator() -> None:
    """No key, no question, and a ledger of its own: its results never pass for bought ones."""
    done = batch(folder(2), "--emulator", "--price", "0.5", yes=False)
    assert done.exit_code == 0
    assert done.stderr.startswith("Emulator at http://127.0.0.1:")
    assert "The gateway would have billed: 2 images at 0.5 = 1.0." in done.stderr
    assert "chainhub-emulator.db" in names(Path("out"))
    assert "chainhub.db" not in names(Path("out"))
    done = batch("in", "--dry-run")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["SEND", "SEND"]
    done = batch("in", "--emulator", "--dry-run")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["SKIP", "SKIP"]


# --- a dry run ----------------------------------------------------------------------------------


def test_dry_run(place: Path) -> None:
    """It needs no key and no network, lists everything with its cost, and writes nothing."""
    folder(2)
    Path("in/copy.png").write_bytes(png(1))
    Path("in/text.png").write_text("no photo")
    done = batch("in", "--dry-run", "--price", "0.06", "--num-images", "2", "--max-images", "3")
    assert done.exit_code == exits.FAILED
    told = [line.split("\t") for line in done.stdout.splitlines()]
    assert [each[:2] for each in told] == [
        ["SEND", str(Path("in", "copy.png"))],
        ["SEND", str(Path("in", "p0.png"))],
        ["DUPLICATE", str(Path("in", "p1.png"))],
        ["REFUSE", str(Path("in", "text.png"))],
    ]
    assert "text.png' is not a JPEG, PNG or WebP" in told[3][2]
    assert done.stderr == (
        "Dry run, nothing was sent. 4 photos: 2 to send, 1 the same as another, 1 refused. To be "
        "billed: 4 images at 0.06 = 0.24. --max-images stops at 3 images at 0.06 = 0.18.\n"
    )
    assert names(place) == ["in"]


def test_dry_run_of_what_was_begun(server: MisbehavingServer) -> None:
    """What is saved, not downloaded, uncertain or refused is listed as such."""
    folder(4)
    server.for_image(png(1), ResetAfter())
    server.for_image(png(2), Answer.json({"error": {"message": "unsafe"}}, status=422))
    server.gets.script(Answer(status=404))
    assert batch("in", "--in-flight", "1").exit_code == exits.BILLED
    before = len(server.received)
    done = batch("in", "--dry-run", "--json")
    assert done.exit_code == exits.BILLED
    told = objects(done.stdout)
    assert [each["action"] for each in told] == ["DOWNLOAD", "HOLD", "REFUSE", "SKIP"]
    assert [each["images"] for each in told] == [0, 0, 0, 0]
    assert [each["index"] for each in told] == [0, 1, 2, 3]
    assert told[1]["error"]["type"] == "ConnectionLostError"
    assert told[2]["error"]["status"] == 422
    done = batch("in", "--dry-run", "--json", "--resend-uncertain", "--retry-refused")
    assert [each["action"] for each in objects(done.stdout)] == [
        *("DOWNLOAD", "SEND", "SEND", "SKIP")
    ]
    assert len(server.received) == before


def test_dry_run_of_what_may_be_paid_for_twice(server: MisbehavingServer) -> None:
    """What may have been billed, and what was, is not listed like what is new."""
    server.for_image(png(0), ResetAfter())
    server.gets.script(Expired())
    batch(folder(2), "--num-images", "2")
    Path("in/p2.png").write_bytes(png(2))
    ledger = ["ledger", "retry", "out/chainhub.db", "--state", "EXPIRED", "--yes"]
    assert call(*ledger).exit_code == 0
    again = ["in", "--dry-run", "--num-images", "2", "--resend-uncertain"]
    done = batch(*again)
    assert [line.split("\t")[::2] for line in done.stdout.splitlines()] == [
        ["SEND", "2 images maybe billed already MAY BE PAID FOR TWICE"],
        ["SEND", "2 images already billed will be PAID FOR AGAIN"],
        ["SEND", ""],
    ]
    assert done.stderr.endswith(
        "To be billed: 6 images. OF THESE, 2 images already billed will be PAID FOR AGAIN; 2 "
        "images maybe billed already MAY BE PAID FOR TWICE.\n"
    )
    told = objects(batch(*again, "--json").stdout)
    assert [each["billed"] for each in told] == ["maybe", "yes", "no"]
    assert "TWICE" not in batch(*again[:-1]).stderr


def test_dry_run_of_nothing_valid() -> None:
    """If every photo is refused, that is the code of a mistake in the arguments."""
    folder(0)
    Path("in/text.png").write_text("no photo")
    assert batch("in", "--dry-run", "-q").exit_code == exits.USAGE


# --- asking -------------------------------------------------------------------------------------


def test_without_a_terminal_it_must_be_told(emulator: Emulator) -> None:
    """A script that spends money says so with --yes."""
    done = batch(folder(1), yes=False)
    assert done.exit_code == exits.USAGE
    assert "there is no terminal to ask on. Add --yes" in done.stderr
    assert not emulator.requests
    assert not Path("out").exists()


# --- what goes wrong ----------------------------------------------------------------------------


def test_one_that_fails_does_not_stop_the_others(server: MisbehavingServer) -> None:
    """A refused photo is code 1, and is sent again only on request."""
    server.for_image(png(1), Answer.json({"error": {"message": "unsafe"}}, status=422))
    done = batch(folder(3))
    assert done.exit_code == exits.FAILED
    assert len(done.stdout.splitlines()) == 2
    assert f"REFUSED {Path('in', 'p1.png')}: " in done.stderr
    assert "3 photos: 2 saved, 1 refused." in done.stderr
    assert "--state REFUSED tells why" in done.stderr
    again = batch("in", "-q")
    assert again.exit_code == exits.FAILED
    assert "refused in an earlier run (--retry-refused sends it)" in again.stderr
    assert again.stderr.count("SKIPPED") == 0
    server.for_image(png(1), Answer.json({"error": {"message": "unsafe"}}, status=422))
    before = sum(one.method == "POST" for one in server.received)
    batch("in", "--retry-refused")
    assert sum(one.method == "POST" for one in server.received) == before + 1


def test_uncertain_is_held(server: MisbehavingServer) -> None:
    """A lost answer is code 5 until it is decided; only then is it sent again."""
    server.script(ResetAfter())
    done = batch(folder(1))
    assert done.exit_code == exits.BILLED
    assert f"UNCERTAIN {Path('in', 'p0.png')}: " in done.stderr
    assert "compare with your account's usage" in done.stderr
    assert "chainhub ledger retry" in done.stderr
    done = batch("in")
    assert done.exit_code == exits.BILLED
    assert "an earlier run may have been billed for it" in done.stderr
    assert server.billed.total() == 1
    done = batch("in", "--resend-uncertain")
    assert done.exit_code == 0
    assert server.billed.total() == 2


def test_expired(server: MisbehavingServer) -> None:
    """What is paid for and can no longer be had is code 5."""
    server.gets.always(Expired())
    done = batch(folder(1))
    assert done.exit_code == exits.BILLED
    assert f"EXPIRED {Path('in', 'p0.png')}: " in done.stderr
    assert "PAY AGAIN" in done.stderr


def test_a_key_that_is_rejected(emulator: Emulator) -> None:
    """It stops the batch, says so once, and is code 4; the rest is counted, not listed."""
    emulator.api_keys = ("another",)
    done = batch(folder(40), "--in-flight", "2")
    assert done.exit_code == exits.ACCOUNT
    assert posts(emulator) <= 2
    assert done.stderr.count("Nothing new is started: ") == 1
    assert len(done.stderr.splitlines()) < 8
    assert " not started." in done.stderr
    assert "40 inputs to do: run the batch again with this ledger to go on." in done.stderr
    told = objects(batch("in", "--json", "-q").stdout)
    assert len(told) == 40
    assert {each["state"] for each in told} == {"PENDING"}


def test_a_gateway_that_is_away(server: MisbehavingServer) -> None:
    """Nothing was billed, so the next run sends it; meanwhile it is code 1."""
    with server.refuse():
        done = batch(folder(1), "--timeout", "0.3")
    assert done.exit_code == exits.FAILED
    assert "It was not billed." in done.stderr
    assert "1 failed (not billed)" in done.stderr


def test_max_images(emulator: Emulator) -> None:
    """No more than that is bought; the next run goes on."""
    done = batch(folder(5), "--max-images", "3")
    assert done.exit_code == exits.FAILED
    assert sum(emulator.billed.values()) == 3
    assert "--max-images is reached" in done.stderr
    assert "3 saved, 2 not started" in done.stderr
    assert batch("in", "--max-images", "3").exit_code == 0
    assert sum(emulator.billed.values()) == 5


def test_invalid_photos_only(emulator: Emulator) -> None:
    """If none is valid, that is a mistake in the arguments."""
    folder(0)
    Path("in/a.png").write_text("no photo")
    done = batch("in")
    assert done.exit_code == exits.USAGE
    assert "correct it, then run the batch again" in done.stderr
    Path("in/p0.png").write_bytes(png(0))
    assert batch("in").exit_code == exits.FAILED


@pytest.mark.parametrize("dry", [False, True])
def test_a_ledger_that_cannot_be_used(emulator: Emulator, *, dry: bool) -> None:
    """Nothing is sent, and it is code 3."""
    Path("text.db").write_text("no ledger at all, however you look at it")
    done = batch(folder(1), "--ledger", "text.db", *(["--dry-run"] if dry else []))
    assert done.exit_code == exits.NOT_SET_UP
    assert "text.db" in done.stderr
    assert not emulator.requests


def test_a_ledger_in_use(emulator: Emulator) -> None:
    """A second process is refused with a sentence."""
    Path("out").mkdir()
    ledger = Ledger.open(Path("out/chainhub.db"))
    try:
        done = batch(folder(1))
    finally:
        ledger.close()
    assert done.exit_code == exits.NOT_SET_UP
    assert "in use" in done.stderr or "is using" in done.stderr
    assert not emulator.requests


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "'nowhere' does not exist."),
        (["in", "--price", "cheap"], "'cheap' is not the price of an image"),
        (["in", "--price", "-1"], "'-1' is not the price of an image"),
        (["in", "--price", "nan"], "'nan' is not the price of an image"),
        (["in", "--task-path", "x"], "--task-path must begin with /"),
        (["in", "--timeout", "0"], "--timeout must be"),
        (["in", "--prompt", " "], "it is empty"),
        (["in", "--style-code", "01234567", "--style-reference", "r"], "cannot be combined"),
        (["in", "--emulator", "--base-url", "http://x"], "cannot be combined"),
        (["in", "--max-images", "0"], "--max-images"),
        (["in", "-o", "in/p0.png"], "--output"),
    ],
)
def test_refused_arguments(emulator: Emulator, arguments: list[str], said: str) -> None:
    """Before anything is sent or written, with the code for it."""
    folder(1)
    done = batch(*arguments)
    assert done.exit_code == exits.USAGE
    assert said in done.stderr
    assert not emulator.requests
    assert not Path("out").exists()


def test_not_set_up() -> None:
    """Without a key, or with an invalid URL, it is code 3."""
    done = batch(folder(1))
    assert done.exit_code == exits.NOT_SET_UP
    assert "CHAINHUB_API_KEY" in done.stderr
    done = batch("in", "--dry-run", "--base-url", "x")
    assert done.exit_code == exits.NOT_SET_UP


def test_a_url_that_cannot_be_used(emulator: Emulator) -> None:
    """The same when it is not a dry run."""
    done = batch(folder(1), "--base-url", "x")
    assert done.exit_code == exits.NOT_SET_UP
    assert done.stderr.startswith("Error: base_url is 'x'")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_costs_nothing(emulator: Emulator) -> None:
    """With standard output gone, every photo is saved all the same."""
    reading, writing = os.pipe()
    os.close(reading)
    given = command("batch", folder(3), "--prompt", "x", "-o", "out", "--yes", "-q")
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(given, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {"p0.png", "p1.png", "p2.png"} <= set(names(Path("out")))


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_both_streams_in_one_file(emulator: Emulator, place: Path, *, more: list[str]) -> None:
    """With 2>&1 a saved file is told of once, and so is one that was skipped or refused."""
    folder(2)
    Path("in/text.png").write_text("no photo")
    given = command("batch", "in", "--prompt", "x", "-o", "out", "--yes", *more)
    for told in (1, 1 if more else 0):
        with Path("log").open("wb") as log:
            subprocess.run(given, stdout=log, stderr=subprocess.STDOUT, check=False, timeout=30)
        text = Path("log").read_text()
        assert text.count("out/p0.png") == 1
        assert text.count("SKIPPED in/p0.png → out/p0.png\n") == 1 - told
        assert text.count("REFUSED in/text.png: ") == 1
    with Path("log").open("wb") as log, Path("other").open("wb") as other:
        subprocess.run(given, stdout=log, stderr=other, check=False, timeout=30)
    assert "SKIPPED in/p0.png → out/p0.png\n" in Path("other").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize("dry", [False, True])
def test_output_that_is_lost(emulator: Emulator, *, dry: bool) -> None:
    """Every photo is saved, but that not all was told is said, and is code 1."""
    arguments = ["batch", folder(2), "--prompt", "x", "-o", "out", "--yes", "-q"]
    with Path("/dev/full").open("wb") as stdout:
        done = subprocess.run(
            command(*arguments, *(["--dry-run"] if dry else [])),
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            timeout=30,
        )
    assert done.returncode == exits.FAILED
    assert b"Standard output is incomplete: No space left on device." in done.stderr
    assert sum(emulator.billed.values()) == (0 if dry else 2)


def test_help_comes_at_once() -> None:
    """Neither the client nor a database is loaded for it, and it tells what a source can be."""
    code = (
        "import sys\n"
        "heavy = {'aiohttp', 'anyio', 'rich', 'sqlite3'} - sys.modules.keys()\n"
        "from chainhub_async.cli import main\n"
        "try: main()\n"
        "finally: print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "batch", "--help"],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr.strip()) == (0, b"[]")
    for word in (b"a manifest, *.csv or *.jsonl", b"color_palette", b"--dry-run", b"Exit codes"):
        assert word in done.stdout
