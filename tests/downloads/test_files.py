"""Files: under which name, in which directory, over what, and what is left when it goes wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import anyio
import attrs
import pytest

from chainhub_async import AsyncChainHub, errors, files
from chainhub_async.events import DownloadProgress, Event, Saved
from chainhub_async.models import GeneratedImage, ReplaceBackgroundResult, Task
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import faults as f
from chainhub_async.testing.http_bytes import result_png
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import GOOD, PATH, MakeHub, names

pytestmark = pytest.mark.anyio

HOSTILE = [
    "../../evil",
    "/etc/passwd",
    "..",
    ".",
    "",
    'a/b\\c:d*e?f"g<h>i|j',
    "nul",
    "CON.txt",
    "x\0y\nz\x1b[31m",
    "-rf",
    "~root",
    "é" * 300,
    "\U0001f600" * 300,
    " . trailing . ",
    "\udcff",
    ".hidden",
]


def result_of(
    server: MisbehavingServer,
    count: int = 1,
    request_id: str | None = "r-1",
    task: Task | None = None,
) -> ReplaceBackgroundResult:
    images = tuple(
        GeneratedImage(url=f"{server.base_url}/results/abc-{number}.png") for number in range(count)
    )
    return ReplaceBackgroundResult(
        images=images,
        request_id=request_id,
        received_at=datetime.now(timezone.utc),
        raw={},
        task=task,
    )


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("source", ["name", "request_id"])
async def test_hostile_name(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, name: str, source: str
) -> None:
    """No name leads out of the directory, and each is a usable one."""
    folder = tmp_path / "deep" / "out"
    result = result_of(server, request_id=name if source == "request_id" else None)
    (saved,) = await hub.save(result, folder, name=name if source == "name" else None)
    assert saved.parent == folder
    assert saved.read_bytes() == GOOD
    assert names(folder) == [saved.name]
    assert names(tmp_path) == ["deep"]
    assert not saved.name.startswith((".", " ", "/"))
    assert saved.name.isprintable()
    assert len(os.fsencode(saved.name)) <= 255


@pytest.mark.parametrize(
    "told", ["../../chainhub-was-here.png", "/tmp/chainhub-was-here.png", "a\\..\\b", "x.exe"]
)
async def test_names_are_not_the_servers(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, told: str
) -> None:
    """What `Content-Disposition` or the address suggests is not heeded."""
    server.gets.always(b.HostileDisposition(told))
    (saved,) = await hub.save(result_of(server), tmp_path / "out")
    assert saved == tmp_path / "out" / "r-1.png"
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["r-1.png"]


async def test_save_overwrites_nothing(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path
) -> None:
    """A name that is taken, even by a dangling link, is left alone."""
    (tmp_path / "r-1.png").write_text("mine")
    (tmp_path / "r-1 (2).png").symlink_to(tmp_path / "nowhere")
    saved = [await hub.save(result_of(server), tmp_path) for _ in range(2)]
    assert saved == [[tmp_path / "r-1 (3).png"], [tmp_path / "r-1 (4).png"]]
    assert (tmp_path / "r-1.png").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


async def test_many_under_one_name(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path
) -> None:
    """Saves that run at the same time under one name each get their own."""
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(lambda: hub.save(result_of(server), tmp_path, name="same"))
    assert len(names(tmp_path)) == 10
    assert {(tmp_path / name).read_bytes() for name in names(tmp_path)} == {GOOD}


async def test_download_replaces(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path
) -> None:
    """`download` replaces a file, and a link itself, not what it points to."""
    victim, link = tmp_path / "victim", tmp_path / "link.png"
    victim.write_text("mine")
    link.symlink_to(victim)
    for target in (link, tmp_path / "plain.png", tmp_path / "plain.png"):
        assert await hub.download(server.base_url + PATH, target) == target
        assert target.read_bytes() == GOOD
    assert victim.read_text() == "mine"
    assert not link.is_symlink()


async def test_failed_download_keeps_the_old(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path
) -> None:
    """What stood there stays when the new one does not come."""
    (tmp_path / "a.png").write_text("old")
    server.gets.always(b.WrongType())
    with pytest.raises(errors.DownloadError):
        await hub.download(server.base_url + PATH, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old"
    assert names(tmp_path) == ["a.png"]


async def test_several(server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path) -> None:
    """Every image of a result is saved, numbered, in order; withheld ones are passed over."""
    result = result_of(server, 3)
    withheld = GeneratedImage(url=None)
    result = attrs.evolve(result, images=(result.images[0], withheld, *result.images[1:]))
    saved = await hub.save(result, tmp_path)
    assert [path.name for path in saved] == ["r-1-1.png", "r-1-3.png", "r-1-4.png"]
    assert [path.read_bytes() for path in saved] == [result_png("abc", n) for n in range(3)]


@pytest.mark.parametrize("failing", [0, 1, 2])
async def test_one_of_several_fails(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, failing: int
) -> None:
    """The others are brought home all the same, and the error says which."""
    result = result_of(server, 3)
    faults: list[f.Fault] = [f.AnswerWell()] * 3
    faults[failing] = b.Expired()
    server.gets.script(*faults)
    with pytest.raises(errors.ResultExpiredError) as caught:
        await hub.save(result, tmp_path)
    expected = [f"r-1-{number + 1}.png" for number in range(3) if number != failing]
    assert [path.name for path in caught.value.saved] == expected == names(tmp_path)
    assert caught.value.url == result.images[failing].url


async def test_expiry_is_told(server: MisbehavingServer, hub: AsyncChainHub) -> None:
    """An image that says when it ends has that in the error."""
    server.gets.always(b.Expired(410))
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    image = GeneratedImage(url=server.base_url + PATH, expires_at=then)
    with pytest.raises(errors.ResultExpiredError, match="2026-01-02 03:04:05 UTC"):
        await hub.download(image, "/tmp/never.png")


async def test_nothing_to_save(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path
) -> None:
    """A task that is not finished has no images; its hostile id drives no terminal."""
    task = Task(task_id="../\x1b[2J", task_status="submitted")
    result = result_of(server, 0, task=task)
    with pytest.raises(errors.TaskError, match="Wait for it") as caught:
        await hub.save(result, tmp_path / "out")
    assert (caught.value.task, caught.value.billed) == (task, errors.Billed.YES)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["is/a/file/x.png", "missing/x.png", "folder"])
async def test_unusable_target(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, target: str
) -> None:
    """A target that cannot be one is refused before anything is fetched."""
    (tmp_path / "is").mkdir()
    (tmp_path / "is" / "a").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(errors.DownloadError, match="cannot be saved to"):
        await hub.download(server.base_url + PATH, tmp_path / target)
    for place in (tmp_path / "is" / "a", tmp_path / "is" / "a" / "b"):
        with pytest.raises(errors.DownloadError, match="directory") as caught:
            await hub.save(result_of(server), place)
        assert caught.value.billed is errors.Billed.YES
    assert not server.received


async def by_scope(call: Any, after: int) -> bool:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            for _ in range(after):
                await asyncio.sleep(0.0002)
            scope.cancel()
    return scope.cancelled_caught


async def by_task(call: Any, after: int) -> bool:
    task = asyncio.create_task(call())
    for _ in range(after):
        await asyncio.sleep(0.0002)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.parametrize("way", [by_scope, by_task])
@pytest.mark.parametrize("kind", ["quick", "drip"])
async def test_cancelled_at_any_point(
    server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path, way: Any, kind: str
) -> None:
    """Cancelled at any moment, there is the whole file or none, and no `.part`."""
    cancelled, after = True, 0
    whole = 0
    if kind == "drip":
        server.gets.always(f.Drip("body", size=30, interval=0.002))
    while cancelled and after < 400:
        hub = make_hub(server)
        folder = tmp_path / str(after)
        folder.mkdir()

        async def call(hub: AsyncChainHub = hub, folder: Path = folder) -> None:
            await hub.download(server.base_url + PATH, folder / "a.png")

        cancelled = await way(call, after)
        # A thread that was not waited for may still have to remove its file.
        for _ in range(100):
            if names(folder) in ([], ["a.png"]) and not hub._transport.pool._under_way:
                break
            await anyio.sleep(0.002)
        assert names(folder) in ([], ["a.png"])
        if names(folder):
            whole += 1
            assert (folder / "a.png").read_bytes() == GOOD
        await hub.aclose()
        after += 1
    await anyio.sleep(0.05)
    assert all(names(tmp_path / name) in ([], ["a.png"]) for name in names(tmp_path))
    assert whole >= 1
    assert not cancelled


async def test_closed_meanwhile(
    server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path
) -> None:
    """Closing the client ends a download and leaves nothing."""
    seen: list[Event] = []
    hub = make_hub(server, on_event=seen.append)
    server.gets.always(f.Drip("body", size=1, interval=0.02))

    async def call() -> None:
        with pytest.raises(errors.ClosedError):
            await hub.download(server.base_url + PATH, tmp_path / "a.png")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.sleep(0.2)
        assert seen
        await hub.aclose()
    assert names(tmp_path) == []


# What follows the end of an image is accepted.
LARGE = GOOD + bytes(3_000_000)


@pytest.mark.parametrize(
    "answer", [f.Drip("body", size=40, interval=0.01), b.Answer(body=LARGE)], ids=["small", "large"]
)
async def test_only_part_before_it_is_whole(
    answer: f.Fault, server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path
) -> None:
    """While the file grows nothing stands under its name; when `Saved` comes, all does."""
    seen: list[tuple[str, list[str]]] = []

    def on_event(event: Event) -> None:
        if isinstance(event, DownloadProgress | Saved):
            seen.append((type(event).__name__, names(tmp_path)))

    hub = make_hub(server, on_event=on_event)
    server.gets.always(answer)
    await hub.download(server.base_url + PATH, tmp_path / "a.png")
    assert seen[-1] == ("Saved", ["a.png"])
    assert len(seen) > 2
    for kind, there in seen[:-1]:
        assert kind == "DownloadProgress"
        for part in there:
            assert part.startswith(".a.png.")
            assert part.endswith(".part")
    # A small one is written in one step.
    assert any(there for _, there in seen[:-1]) == isinstance(answer, b.Answer)


async def test_cancelled_twice(
    server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path
) -> None:
    """A second cancellation during the clean-up leaves no file either."""
    hub = make_hub(server, timeout=None)
    server.gets.always(b.Answer(body=LARGE * 3))
    for turns in range(6):
        task = asyncio.ensure_future(hub.download(server.base_url + PATH, tmp_path / "a.png"))
        while not names(tmp_path) and not task.done():
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert not [name for name in names(tmp_path) if name.endswith(".part")]
        (tmp_path / "a.png").unlink(missing_ok=True)


def test_part_file(tmp_path: Path) -> None:
    """After `drop` nothing begins, and what is under way is waited for."""
    part = files.PartFile(tmp_path, "a")
    part.write(b"one")
    part.write(b"two")
    assert part.publish(lambda path: path).read_bytes() == b"onetwo"
    part.drop()
    assert names(tmp_path) == []
    for late in (lambda: part.write(b""), lambda: part.publish(lambda path: path)):
        with pytest.raises(OSError, match=os.strerror(errno.ECANCELED)):
            late()
    part.drop()
    begun, go_on = threading.Event(), threading.Event()

    def slow(path: Path) -> Path:
        begun.set()
        go_on.wait(5)
        return path.rename(tmp_path / "whole")

    part = files.PartFile(tmp_path, "b")
    part.write(b"x")
    publishing = threading.Thread(target=part.publish, args=(slow,))
    publishing.start()
    begun.wait(5)
    dropping = threading.Thread(target=part.drop)
    dropping.start()
    dropping.join(0.05)
    assert dropping.is_alive()
    go_on.set()
    dropping.join(5)
    publishing.join(5)
    assert names(tmp_path) == ["whole"]


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links nothing is overwritten either."""

    def link(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    (tmp_path / "a.png").write_text("mine")
    part = tmp_path / ".part"
    part.write_text("new")
    assert files.publish_new(tmp_path, "a", part, ".png") == tmp_path / "a (2).png"
    assert (tmp_path / "a.png").read_text() == "mine"
    assert names(tmp_path) == ["a (2).png", "a.png"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_directory_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Systems that cannot sync a directory are forgiven; a disk that fails is not."""

    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "p").write_text("x")
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            files.publish_as(tmp_path / "a", tmp_path / "p", "")
    else:
        assert files.publish_as(tmp_path / "a", tmp_path / "p", "") == tmp_path / "a"

    def other(*_: Any) -> None:
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(os, "link", other)
    with pytest.raises(OSError, match="no"):
        files.publish_new(tmp_path, "b", tmp_path / "a", ".png")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EMFILE])
def test_directory_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A directory that may be written to but not read takes files; a real failure is told."""

    def opened(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    (tmp_path / "p").write_text("x")
    (tmp_path / "q").write_text("y")
    monkeypatch.setattr(os, "open", opened)
    if number == errno.EMFILE:
        with pytest.raises(OSError, match=os.strerror(number)):
            files.publish_as(tmp_path / "a", tmp_path / "p", "")
    else:
        assert files.publish_as(tmp_path / "a", tmp_path / "p", "") == tmp_path / "a"
        assert files.publish_new(tmp_path, "a", tmp_path / "q", ".png") == tmp_path / "a.png"
        assert names(tmp_path) == ["a", "a.png"]


@pytest.mark.skipif(os.name == "nt", reason="directories have no such permissions there")
def test_directory_without_read_permission(tmp_path: Path) -> None:
    """The same, seen by a process without privileges in a real directory of mode -wx."""
    folder = Path(tempfile.mkdtemp())
    (folder / "p").write_text("x")
    script = (
        "import os, sys; from pathlib import Path; from chainhub_async import files\n"
        "folder = Path(sys.argv[1])\n"
        "if os.getuid() == 0:\n"
        "    os.chown(folder, 65534, 65534); os.setgid(65534); os.setuid(65534)\n"
        "folder.chmod(0o300)\n"
        "print(files.publish_as(folder / 'a', folder / 'p', ''))\n"
    )
    # Without its privileges the process could not write down what it covered.
    plain = {name: value for name, value in os.environ.items() if "COV" not in name}
    try:
        ran = subprocess.run(
            [sys.executable, "-c", script, folder],
            capture_output=True,
            text=True,
            check=False,
            env=plain,
        )
        folder.chmod(0o700)
        assert (ran.stdout.strip(), ran.stderr) == (str(folder / "a"), "")
        assert names(folder) == ["a"]
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("place", [None, 3, "a\0b", b"\xff\0"], ids=repr)
async def test_no_place_to_save(server: MisbehavingServer, make_hub: MakeHub, place: Any) -> None:
    """What is no path is refused in a sentence, before anything is fetched."""
    hub = make_hub(server)
    image = GeneratedImage(url=f"{server.base_url}/results/{'0' * 64}/0.png")
    result = ReplaceBackgroundResult(images=(image,), received_at=datetime.now(timezone.utc))
    with pytest.raises(errors.DownloadError, match="cannot be saved to"):
        await hub.save(result, place)
    with pytest.raises(errors.DownloadError, match="cannot be saved to"):
        await hub.download(image, place)
    with pytest.raises(errors.InvalidRequestError, match="name is a int") as caught:
        await hub.save(result, "out", name=cast("Any", 5))
    assert caught.value.billed is errors.Billed.YES
    with pytest.raises(errors.InvalidRequestError, match="result is a NoneType"):
        await hub.save(cast("Any", None), "out")
    assert not server.received
