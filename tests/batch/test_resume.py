"""What a second run with the same ledger does, and does not."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chainhub_async import AsyncChainHub, Billed, JobState, ResultExpiredError
from chainhub_async.batch.ledger import retry_jobs
from chainhub_async.testing import (
    Answer,
    AnswerWell,
    CloseAfter,
    CutBody,
    EmptyAnswer,
    Emulator,
    Expired,
    HtmlError,
    MisbehavingServer,
    NoAnswer,
    ResetAfter,
)

from .conftest import MakeHub, calls, names, photo, posts, rows, run, sha, states

pytestmark = pytest.mark.anyio
Photos = Callable[[int], list[Path]]


async def test_done_work_is_skipped(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path, ledger: Path
) -> None:
    """What is done costs nothing again, not even a download, and says where its files are."""
    requests = calls(photos(4))
    await run(hub, requests, ledger=ledger, save_to=out)
    before = len(emulator.requests)
    outcomes = await run(hub, requests, ledger=ledger, save_to=out)
    assert states(outcomes) == ["SKIPPED"] * 4
    assert [o.saved for o in outcomes] == [(out / f"p{n}.png",) for n in range(4)]
    assert len(emulator.requests) == before
    assert all(o.result is not None and o.billed is Billed.YES and not o.spent for o in outcomes)


async def test_unchanged_files_are_not_read_again(
    hub: AsyncChainHub, photos: Photos, out: Path, ledger: Path
) -> None:
    """A photograph whose state is as before is recognised without being opened."""
    (path,) = photos(1)
    _age(path)
    await run(hub, calls([path]), ledger=ledger, save_to=out)
    assert rows(ledger, "SELECT path, sha256 FROM files") == [(str(path), sha(photo(0)))]
    path.chmod(0)  # changes its state: so it is read, or refused where that is forbidden
    again = await run(hub, calls([path]), ledger=ledger, save_to=out)
    assert states(again)[0] in {"SKIPPED", "REFUSED"}
    path.chmod(0o600)
    # What the ledger knows is believed: this is not the photograph's hash.
    info = path.stat()
    with sqlite3.connect(ledger) as connection:
        connection.execute(
            "UPDATE files SET changed_ns = ?, sha256 = ?", (info.st_ctime_ns, sha(b"other"))
        )
    connection.close()
    (outcome,) = await run(hub, calls([path]), ledger=ledger, save_to=out)
    assert outcome.state.value == "SAVED"
    assert outcome.key != again[0].key


async def test_style_references_are_read_once(
    hub: AsyncChainHub, photos: Photos, ledger: Path
) -> None:
    """An image that many calls refer to is read once, not for each of them."""
    first, second, reference = photos(3)
    _age(reference)
    await run(hub, calls([first], style_reference_images=[reference]), ledger=ledger)
    assert str(reference) in rows(ledger, "SELECT path FROM files")
    connection = sqlite3.connect(ledger)
    with connection:
        connection.execute("UPDATE files SET sha256 = 'known'")
    connection.close()
    (outcome,) = await run(hub, calls([second], style_reference_images=[reference]), ledger=ledger)
    (options,) = rows(ledger, "SELECT options FROM jobs WHERE key = ?", outcome.key)
    assert '["style_reference_images","sha256:known"]' in options


def _age(path: Path) -> None:
    """Waits until the file's times are old enough to be trusted."""
    end = path.stat().st_ctime_ns + 2_600_000_000
    while time.time_ns() < end:
        time.sleep(0.05)


async def test_new_bytes_under_an_old_name(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path, ledger: Path
) -> None:
    """A photograph that was replaced is another job, also with the same size and time."""
    (path,) = photos(1)
    await run(hub, calls([path]), ledger=ledger, save_to=out)
    info = path.stat()
    path.write_bytes(photo(7))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert path.stat().st_size == info.st_size
    (outcome,) = await run(hub, calls([path]), ledger=ledger, save_to=out)
    assert emulator.billed == {sha(photo(0)): 1, sha(photo(7)): 1}
    assert outcome.saved == (out / "p0 (2).png",)


async def test_overwrite_replaces(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path, ledger: Path
) -> None:
    """With `overwrite` a new result takes the place of the old one, and the old one can return."""
    (path,) = photos(1)
    settings = {"ledger": ledger, "save_to": out, "overwrite": True}
    await run(hub, calls([path]), **settings)
    old = (out / "p0.png").read_bytes()
    (outcome,) = await run(hub, calls([path], prompt="a beach"), **settings)
    assert names(out) == ["p0.png"]
    assert (out / "p0.png").read_bytes() != old
    (outcome,) = await run(hub, calls([path]), **settings)
    assert (outcome.state.value, outcome.spent) == ("SAVED", 0)
    assert (out / "p0.png").read_bytes() == old
    assert emulator.billed == {sha(photo(0)): 2}


async def test_overwrite_never_replaces_within_a_run(
    hub: AsyncChainHub, photos: Photos, out: Path, ledger: Path, tmp_path: Path
) -> None:
    """Inputs of one run that have the same name do not replace each other, overwrite or not."""
    first, second = photos(2)
    other = tmp_path / "other" / first.name
    other.parent.mkdir()
    other.write_bytes(second.read_bytes())
    for _ in range(2):
        outcomes = await run(hub, calls([first, other]), ledger=ledger, save_to=out, overwrite=True)
        assert [o.saved[0].name for o in outcomes] == ["p0.png", "p0 (2).png"]
    assert names(out) == ["p0 (2).png", "p0.png"]


async def test_foreign_files_are_not_overwritten(
    hub: AsyncChainHub, photos: Photos, out: Path, ledger: Path
) -> None:
    """A file that was there before stays as it is, unless replacing is asked for."""
    out.mkdir()
    (out / "p0.png").write_bytes(b"precious")
    (outcome,) = await run(hub, calls(photos(1)), ledger=ledger, save_to=out)
    assert outcome.saved == (out / "p0 (2).png",)
    assert (out / "p0.png").read_bytes() == b"precious"
    await run(hub, calls([b"".join([photo(3)])]), save_to=out, overwrite=True)
    assert len(names(out)) == 3


async def test_a_deleted_file_is_fetched_again(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path, ledger: Path
) -> None:
    """A result that was deleted is downloaded again while it exists, and later reported."""
    requests = calls(photos(2))
    await run(hub, requests, ledger=ledger, save_to=out)
    (out / "p0.png").unlink()
    outcomes = await run(hub, requests, ledger=ledger, save_to=out)
    assert states(outcomes) == ["SAVED", "SKIPPED"]
    assert names(out) == ["p0.png", "p1.png"]
    (out / "p0.png").unlink()
    emulator.clock = lambda: time.time() + 90_000
    for _ in range(2):
        outcomes = await run(hub, requests, ledger=ledger, save_to=out)
        assert states(outcomes) == ["EXPIRED", "SKIPPED"]
        assert isinstance(outcomes[0].error, ResultExpiredError)
        assert sorted(rows(ledger, "SELECT state FROM jobs")) == ["EXPIRED", "SAVED"]
    assert sum(emulator.billed.values()) == 2


async def test_saved_later(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path, ledger: Path
) -> None:
    """Results of a run without a directory are saved by a run that has one, for free."""
    requests = calls(photos(3))
    assert states(await run(hub, requests, ledger=ledger)) == ["ACCEPTED"] * 3
    assert states(await run(hub, requests, ledger=ledger)) == ["SKIPPED"] * 3
    outcomes = await run(hub, requests, ledger=ledger, save_to=out)
    assert states(outcomes) == ["SAVED"] * 3
    assert names(out) == ["p0.png", "p1.png", "p2.png"]
    assert sum(emulator.billed.values()) == 3
    elsewhere = out.parent / "elsewhere"
    emulator.reset()  # the results are gone: what is saved is copied
    assert states(await run(hub, requests, ledger=ledger, save_to=elsewhere)) == ["SAVED"] * 3
    assert names(elsewhere) == names(out)
    assert not emulator.billed


async def test_a_failed_download_is_made_up_for(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, out: Path, ledger: Path
) -> None:
    """A result that could not be downloaded is by the next run, without another call."""
    server.gets.always(Answer(status=500))
    requests = calls(photos(2))
    outcomes = await run(tried, requests, ledger=ledger, save_to=out)
    assert states(outcomes) == ["ACCEPTED"] * 2
    assert all(o.error is not None and o.error.billed is Billed.YES for o in outcomes)
    assert names(out) == []
    server.gets.always(Expired())
    outcomes = await run(tried, requests, ledger=ledger, save_to=out)
    assert states(outcomes) == ["EXPIRED"] * 2
    assert posts(server) == 2


async def test_uncertain_is_held(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path, out: Path
) -> None:
    """What may have been billed is not sent again until that is asked for."""
    server.script(ResetAfter(), NoAnswer(), EmptyAnswer())
    requests = calls(photos(3))
    outcomes = await run(tried, requests, ledger=ledger, save_to=out)
    assert states(outcomes) == ["UNCERTAIN"] * 3
    assert sorted(o.billed.value for o in outcomes) == ["maybe", "maybe", "yes"]
    assert [o.spent for o in outcomes] == [1, 1, 1]
    before = {o.index: o.error for o in outcomes}
    outcomes = await run(tried, requests, ledger=ledger, save_to=out)
    assert states(outcomes) == ["UNCERTAIN"] * 3
    assert posts(server) == 3
    for outcome in outcomes:
        error, earlier = outcome.error, before[outcome.index]
        assert error is not None
        assert earlier is not None
        assert (type(error), error.message) == (type(earlier), earlier.message)
        assert (error.billed, error.status) == (earlier.billed, earlier.status)
    outcomes = await run(tried, requests, ledger=ledger, save_to=out, resend_uncertain=True)
    assert states(outcomes) == ["SAVED"] * 3
    assert posts(server) == 6
    assert rows(ledger, "SELECT number, count(*) FROM attempts GROUP BY number") == [(1, 3), (2, 3)]


async def test_what_came_of_a_response_is_kept(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path
) -> None:
    """Of a response that is paid for and cannot be used, every byte is kept in the ledger."""
    server.script(CutBody(), Answer(body=b"<html>not JSON"), HtmlError(500))
    outcomes = await run(tried, calls(photos(3)), ledger=ledger)
    assert states(outcomes) == ["UNCERTAIN"] * 3
    kept = sorted(rows(ledger, "SELECT reply_status, reply FROM jobs"), key=str)
    assert [status for status, _ in kept] == [200, 200, 500]
    assert "<html>not JSON" in [body for _, body in kept]
    assert any(body.startswith('{"created"') for _, body in kept)


async def test_uncertain_stays_so(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path
) -> None:
    """A second try that costs nothing does not make an uncertain job a free one."""
    requests = calls(photos(1))
    server.script(ResetAfter())
    await run(tried, requests, ledger=ledger)
    server.always(Answer(status=400))
    (outcome,) = await run(tried, requests, ledger=ledger, resend_uncertain=True)
    assert (outcome.state.value, outcome.billed) == ("UNCERTAIN", Billed.MAYBE)
    assert rows(ledger, "SELECT state, billed FROM jobs") == [("UNCERTAIN", "maybe")]


async def test_refused_is_kept(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, ledger: Path
) -> None:
    """What the gateway refused is sent again only on request."""
    emulator.unsafe = "forest"
    requests = calls(photos(2))
    assert states(await run(hub, requests, ledger=ledger)) == ["REFUSED"] * 2
    emulator.unsafe = None
    (first, _) = await run(hub, requests, ledger=ledger)
    assert first.state.value == "REFUSED"
    assert "safety check" in str(first.error)
    assert states(await run(hub, requests, ledger=ledger, retry_refused=True)) == ["ACCEPTED"] * 2


async def test_transient_failures_are_sent_again(
    tried: AsyncChainHub, server: MisbehavingServer, ledger: Path
) -> None:
    """What failed at no cost, through no fault of the input, is sent again by itself."""
    server.always(CloseAfter(10))
    # Larger than what the system takes at once: less may have left as a whole.
    requests = calls([photo(number) + bytes(8_000_000) for number in range(2)])
    outcomes = await run(tried, requests, ledger=ledger)
    assert states(outcomes) == ["PENDING"] * 2
    assert all(o.error is not None and o.error.billed is Billed.NO for o in outcomes)
    assert not server.billed
    server.always(AnswerWell())
    assert states(await run(tried, requests, ledger=ledger)) == ["ACCEPTED"] * 2
    assert set(server.billed.values()) == {1}
    assert rows(ledger, "SELECT DISTINCT billed, bytes_sent < bytes_total FROM attempts") == [
        ("no", 1),
        ("yes", None),
    ]


@pytest.mark.parametrize("path", [None, "/ideogram/v1/ideogram-v3/tasks/{task_id}"])
async def test_tasks(
    hub: AsyncChainHub,
    emulator: Emulator,
    photos: Photos,
    ledger: Path,
    out: Path,
    path: str | None,
) -> None:
    """A task is kept, polled only at a path that was given, and its result saved."""
    emulator.reply = "task"
    requests = calls(photos(2))
    outcomes = await run(hub, requests, ledger=ledger, save_to=out, task_path=path)
    assert states(outcomes) == (["ACCEPTED"] if path is None else ["SAVED"]) * 2
    assert all(o.result is not None and o.result.task is not None for o in outcomes)
    outcomes = await run(hub, requests, ledger=ledger, save_to=out)
    assert states(outcomes) == (["ACCEPTED"] if path is None else ["SKIPPED"]) * 2
    outcomes = await run(hub, requests, ledger=ledger, save_to=out, task_path=emulator.task_path)
    assert states(outcomes) == (["SAVED"] if path is None else ["SKIPPED"]) * 2
    assert sum(emulator.billed.values()) == 2
    assert names(out) == ["p0.png", "p1.png"]


async def test_a_failed_task_is_uncertain(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, ledger: Path
) -> None:
    """A task that failed may have been billed."""
    emulator.reply, emulator.task_failure = "task", "the model broke"
    (outcome,) = await run(hub, calls(photos(1)), ledger=ledger, task_path=emulator.task_path)
    assert (outcome.state.value, outcome.billed) == ("UNCERTAIN", Billed.YES)
    assert "the model broke" in str(outcome.error)
    assert rows(ledger, "SELECT state FROM jobs") == ["UNCERTAIN"]


async def test_from_another_client(
    emulator: Emulator, make_hub: MakeHub, photos: Photos, ledger: Path, out: Path
) -> None:
    """A ledger belongs to no client, and paths may be written otherwise."""
    paths = photos(2)
    await run(make_hub(emulator), calls(paths), ledger=ledger, save_to=out)
    others = calls([f"{path.parent}/./{path.name}" for path in paths])
    outcomes = await run(make_hub(emulator), others, ledger=str(ledger), save_to=str(out))
    assert states(outcomes) == ["SKIPPED"] * 2


async def test_what_is_bought_again_is_saved(
    hub: AsyncChainHub, photos: Photos, out: Path, ledger: Path
) -> None:
    """Of a job that was put back and paid for once more, the new result is saved, not the old."""
    requests = calls(photos(1))
    (first,) = await run(hub, requests, ledger=ledger, save_to=out)
    assert retry_jobs(ledger, [JobState.SAVED]) == 1
    (second,) = await run(hub, requests, ledger=ledger, save_to=out)
    assert second.result is not None
    assert first.result is not None
    assert second.result.images[0].url != first.result.images[0].url
    expected = await hub.download(second.result.images[0], out / "expected.png")
    assert second.saved[0].read_bytes() == expected.read_bytes()
    assert rows(ledger, "SELECT path FROM outputs") == [str(second.saved[0])]


async def test_an_input_by_another_name_is_not_replaced(
    hub: AsyncChainHub, tmp_path: Path, ledger: Path
) -> None:
    """`overwrite` never replaces a photo, also where the directory has another name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    original = folder / "cat.png"
    original.write_bytes(photo(1))
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    (outcome,) = await run(hub, calls([original]), ledger=ledger, save_to=link, overwrite=True)
    assert outcome.state is JobState.SAVED
    assert original.read_bytes() == photo(1)
