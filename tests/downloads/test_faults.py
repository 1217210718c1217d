"""Results that are not what they should be: never under the final name, never paid for again."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from chainhub_async import AsyncChainHub, Billed, RetryPolicy, Timeout, errors
from chainhub_async.events import DownloadProgress, Event, Saved
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing import faults as f
from chainhub_async.testing.http_bytes import Exchange, Reply
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import GOOD, KEY, PATH, QUICK, MakeHub, names

pytestmark = pytest.mark.anyio

AGAIN = 5


@pytest.mark.parametrize(
    ("fault", "tries", "error"),
    [
        (b.EmptyAnswer(), AGAIN, errors.DownloadError),
        (f.CutBody(10), AGAIN, errors.DownloadError),
        (f.CutBody(10, reset=True), AGAIN, errors.DownloadError),
        (f.CutBody(len(GOOD) - 1), AGAIN, errors.DownloadError),
        (b.WithoutLength(len(GOOD) - 1), AGAIN, errors.DownloadError),
        (b.WithoutLength(len(GOOD) - 12), AGAIN, errors.DownloadError),
        (b.WithoutLength(0), AGAIN, errors.DownloadError),
        (b.WrongType(), AGAIN, errors.DownloadError),
        (b.WrongType(None), AGAIN, errors.DownloadError),
        (b.Oversized(), 1, errors.DownloadError),
        (b.Oversized(declared=False), 1, errors.DownloadError),
        (g.GzipBomb(), 1, errors.DownloadError),
        (g.Gzipped(cut=True), AGAIN, errors.DownloadError),
        (b.Expired(403), 1, errors.ResultExpiredError),
        (b.Expired(410), 1, errors.ResultExpiredError),
        (b.HtmlError(401), 1, errors.DownloadError),
        (b.HtmlError(404), 1, errors.DownloadError),
        (b.EmptyError(204), 1, errors.DownloadError),
        (b.EmptyError(206), 1, errors.DownloadError),
        (b.Redirect(304), 1, errors.DownloadError),
        *((b.HtmlError(status), AGAIN, errors.DownloadError) for status in (408, 425, 500, 504)),
        (b.TooManyRequests(0), AGAIN, errors.DownloadError),
        (f.AcceptAndClose(), AGAIN, errors.DownloadError),
        (f.AcceptAndClose(reset=True), AGAIN, errors.DownloadError),
        (f.ResetAfter(), AGAIN, errors.DownloadError),
        (f.CloseAfter(), AGAIN, errors.DownloadError),
        (f.CutHead(), AGAIN, errors.DownloadError),
        (g.BadFraming(g.Framing.NOT_HTTP), AGAIN, errors.DownloadError),
        (g.BadFraming(g.Framing.CHUNKS_CUT), AGAIN, errors.DownloadError),
        (f.EndlessHeaders(), AGAIN, errors.DownloadError),
        (b.Stall(), AGAIN, errors.DownloadError),
        (f.NoAnswer(), AGAIN, errors.DownloadError),
        (f.Flood1xx(), AGAIN, errors.DownloadError),
    ],
    ids=repr,
)
async def test_never_saved(
    server: MisbehavingServer,
    make_hub: MakeHub,
    tmp_path: Path,
    fault: f.Fault,
    tries: int,
    error: type[errors.DownloadError],
) -> None:
    """Nothing stands in the directory, no POST was made, and trying again was bounded."""
    # No deadline ends what is refused at once, some of it after megabytes.
    hub = make_hub(server, timeout=QUICK if tries == AGAIN else Timeout())
    server.gets.always(fault)
    started = time.monotonic()
    with pytest.raises(error) as caught:
        await hub.download(server.base_url + PATH, tmp_path / "cat.png")
    assert time.monotonic() - started < 30
    assert names(tmp_path) == []
    assert {request.method for request in server.received} <= {"GET"}
    assert max(len(server.received), server.connections) == tries
    assert caught.value.billed is Billed.YES
    assert caught.value.url == server.base_url + PATH
    assert all(request.header("Authorization") is None for request in server.received)


@pytest.mark.parametrize(
    "fault",
    [
        f.CutBody(10),
        b.WithoutLength(30),
        b.HtmlError(503),
        b.WrongType(),
        f.AcceptAndClose(),
        b.Stall(),
        b.TooManyRequests(0),
    ],
    ids=repr,
)
async def test_tried_again(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, fault: f.Fault
) -> None:
    """What fails four times and then goes well is saved."""
    server.gets.script(*[fault] * 4)
    saved = await hub.download(server.base_url + PATH, tmp_path / "cat.png")
    assert saved.read_bytes() == GOOD
    assert names(tmp_path) == ["cat.png"]


@pytest.mark.parametrize(
    "fault",
    [b.WithoutLength(), g.Gzipped(), f.Drip("body", size=20, interval=0.02), g.ExtraAnswer()],
    ids=repr,
)
async def test_unusual_but_whole(
    server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path, fault: f.Fault
) -> None:
    """A whole image is saved however it comes, and progress never exceeds what is told."""
    events: list[Event] = []
    hub = make_hub(server, on_event=events.append)
    server.gets.always(fault)
    assert (await hub.download(server.base_url + PATH, tmp_path / "a")).read_bytes() == GOOD
    progress = [event for event in events if isinstance(event, DownloadProgress)]
    assert all((event.bytes_total or 1e9) >= event.bytes_received for event in progress)
    assert progress[-1].bytes_received == len(GOOD)
    assert events[-1] == Saved(call=progress[0].call, path=tmp_path / "a", bytes_received=len(GOOD))


async def test_deadlines(server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path) -> None:
    """A download that drips for ever ends with the attempt's deadline, all tries with `total`."""
    server.gets.always(f.Drip("body", size=1, interval=0.05))
    once = Timeout(connect=1, read=1, reply=1, attempt=0.2)
    started = time.monotonic()
    with pytest.raises(errors.DownloadError, match=r"After 0\.2 s the attempt"):
        await make_hub(server, timeout=once).download(server.base_url + PATH, tmp_path / "a")
    assert 1 <= time.monotonic() - started < 10
    started = time.monotonic()
    total = attrs.evolve(once, attempt=30, total=0.3)
    with pytest.raises(errors.DownloadError, match=r"attempts: 1;|0\.3 s the call"):
        await make_hub(server, timeout=total).download(server.base_url + PATH, tmp_path / "a")
    assert time.monotonic() - started < 10
    assert names(tmp_path) == []


async def test_total_bounds_the_pauses(
    server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path
) -> None:
    """No pause is begun that the deadline cannot hold."""
    server.gets.always(b.TooManyRequests(40))
    hub = make_hub(server, timeout=Timeout(total=30))
    started = time.monotonic()
    with pytest.raises(errors.DownloadError, match="attempts: 1;"):
        await hub.download(server.base_url + PATH, tmp_path / "a")
    assert time.monotonic() - started < 10


async def test_retry_after(server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path) -> None:
    """A host that asks for time gets it, up to `max_retry_after`."""
    server.gets.script(b.TooManyRequests(1), b.TooManyRequests(3600))
    retry = RetryPolicy(base_delay=0.001, max_retry_after=1)
    hub = make_hub(server, retry=retry)
    started = time.monotonic()
    await hub.download(server.base_url + PATH, tmp_path / "a")
    assert 2 <= time.monotonic() - started < 30


@attrs.frozen
class Picture(f.Fault):
    """Serves these bytes."""

    body: bytes = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()

    async def act(self, x: Exchange) -> None:
        await x.reply(Reply(headers=self.headers, body=self.body))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_broken_compression(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, encoding: str
) -> None:
    """A stream that does not unpack is no image."""
    server.gets.always(Picture(b"\xff" * 1000, (("Content-Encoding", encoding),)))
    with pytest.raises(errors.DownloadError):
        await hub.download(server.base_url + PATH, tmp_path / "a")
    assert names(tmp_path) == []


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="limits of processes are POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["plain", "gzip"])
async def test_full_disk(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, small_files: int, kind: str
) -> None:
    """A disk that takes no more is told at once, and nothing is left on it."""
    big = GOOD[:-12] + bytes(3 * small_files) + GOOD[-12:]
    headers = (("Content-Encoding", "gzip"),) if kind == "gzip" else ()
    server.gets.always(Picture(gzip.compress(big) if kind == "gzip" else big, headers))
    with pytest.raises(errors.DownloadError, match="cannot be saved in"):
        await hub.download(server.base_url + PATH, tmp_path / "a.png")
    assert names(tmp_path) == []
    assert len(server.received) == 1


async def test_directory_gone(server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path) -> None:
    """A directory that vanishes during the download is told, and not made again."""
    folder = tmp_path / "out"
    folder.mkdir()

    def on_event(event: Event) -> None:
        if isinstance(event, DownloadProgress) and folder.exists():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    hub = make_hub(server, on_event=on_event)
    with pytest.raises(errors.DownloadError, match="cannot be saved in"):
        await hub.download(server.base_url + PATH, folder / "a.png")
    assert names(tmp_path) == []


async def test_callback_that_breaks(
    server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that raises breaks no download."""

    def on_event(event: Event) -> None:
        raise ValueError("a broken progress bar")

    hub = make_hub(server, on_event=on_event)
    await hub.download(server.base_url + PATH, tmp_path / "a.png")
    assert names(tmp_path) == ["a.png"]
    assert "on_event raised" in caplog.text
    assert KEY not in caplog.text


async def test_connections_come_back(
    server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path
) -> None:
    """After downloads of every kind the places in the pool are free."""
    hub = make_hub(server, timeout=QUICK)
    server.gets.script(b.Stall(), b.RedirectResult(times=5), b.Oversized(), f.CutBody())
    for number in range(4):
        try:
            await hub.download(server.base_url + PATH, tmp_path / str(number))
        except errors.DownloadError:
            continue
    (session,) = hub._transport.pool._downloads.values()
    assert session.connector is not None
    assert not session.connector._acquired
