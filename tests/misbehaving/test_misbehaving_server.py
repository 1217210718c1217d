"""The server's own behaviour: what is chosen, what is counted, and that all ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chainhub_async.testing.bad_answers import EmptyError
from chainhub_async.testing.faults import (
    AcceptAndHang,
    CloseAfter,
    EarlyStatus,
    Fault,
    NoAnswer,
    ResetAfter,
    StopReading,
)
from chainhub_async.testing.http_bytes import Exchange, result_png
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import IMAGE, SHA

if TYPE_CHECKING:
    import ssl

    from .conftest import Client

pytestmark = pytest.mark.anyio


async def test_answers_well(server: MisbehavingServer, client: Client) -> None:
    """Nothing scripted: an image list, whose image can be downloaded."""
    raw = await client.connect(server.base_url)
    await raw.send(client.form(num_images="2"))
    _, _, body = await raw.reply()
    first, second = json.loads(body)["data"]
    assert first["prompt"] == "a forest"
    assert second["url"] == f"{server.base_url}/results/{SHA}-1.png"
    _, headers, image = await (await client.get(server, f"/results/{SHA}-1.png")).reply()
    assert headers["content-type"] == "image/png"
    assert image == result_png(SHA, 1) != result_png(SHA, 0)
    assert (server.complete, server.billed) == ({SHA: 1}, {SHA: 1})
    post, get = server.received
    assert (post.image, get.image, get.billed) == (SHA, SHA, False)
    assert post.header("authorization") == "Bearer sk-secret"
    assert "sk-secret" not in repr(post)
    assert post.header("X-None") is None
    assert (await (await client.get(server, "/nowhere")).reply())[0] == 404


async def test_order_of_choice(server: MisbehavingServer, client: Client) -> None:
    """By request, then by image, then for all of the image, then for all."""
    server.always(EmptyError(500))
    server.always(EmptyError(501), image=IMAGE)
    server.for_image(SHA, EmptyError(502))
    server.script(EmptyError(503))
    assert server.posts.pending == 2
    raw = await client.connect(server.base_url)
    seen: list[int] = []
    for image in (IMAGE, IMAGE, IMAGE, IMAGE, b"another"):
        await raw.send(client.form(image))
        seen.append((await raw.reply())[0])
    assert seen == [503, 502, 501, 501, 500]
    assert server.posts.pending == 0
    server.always(EarlyStatus(413))
    await raw.send(client.form())
    assert (await raw.reply())[0] == 413


async def test_early_faults_know_no_image(server: MisbehavingServer) -> None:
    """A fault that acts before the image is known cannot be scripted for one."""
    with pytest.raises(ValueError, match=r"EarlyStatus.*use script\(\)"):
        server.for_image(IMAGE, EarlyStatus(413))
    with pytest.raises(ValueError, match=r"ResetAfter\(executes=True, after=5\)|after=5"):
        server.always(ResetAfter(5), image=IMAGE)


async def test_chunked_upload(server: MisbehavingServer, client: Client) -> None:
    """A chunked body is put together, trailers are dropped, and the next request is found."""
    head, _, body = client.form().partition(b"\r\n\r\n")
    head = head.rpartition(b"\r\nContent-Length")[0] + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(
        b"%x;ext=1\r\n%s\r\n" % (len(body[i : i + 50]), body[i : i + 50])
        for i in range(0, len(body), 50)
    )
    raw = await client.connect(server.base_url)
    for _ in range(2):
        await raw.send(head + chunks + b"0\r\nX-Trailer: 1\r\n\r\n")
        assert (await raw.reply())[0] == 200
    assert server.complete == {SHA: 2}
    assert server.connections == 1
    await raw.send(head + b"zz\r\n")
    assert await raw.rest() == b""


async def test_upload_without_an_image(server: MisbehavingServer, client: Client) -> None:
    """A POST that is no form is charged for under the empty name."""
    raw = await client.connect(server.base_url)
    await raw.send(
        b"POST /x HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n"
        b"Content-Length: 2\r\n\r\n"
    )
    assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await raw.send(b"{}")
    status, headers, _ = await raw.reply()
    assert (status, headers["connection"]) == (200, "close")
    assert await raw.rest() == b""
    assert server.billed == {"": 1}


@pytest.mark.parametrize(
    "garbage", [b"hello\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"a" * 200_000]
)
async def test_garbage(server: MisbehavingServer, client: Client, garbage: bytes) -> None:
    """What is no request ends the connection, and is nobody's failure."""
    raw = await client.connect(server.base_url)
    with contextlib.suppress(ConnectionError):
        await raw.send(garbage)
        assert await raw.rest() == b""
    assert sum(server.complete.values()) == 0


async def test_client_leaves_mid_body(server: MisbehavingServer, client: Client) -> None:
    """Half a body is recorded as half, and charged to nobody."""
    raw = await client.connect(server.base_url)
    request = client.form()
    await raw.send(request[:-2])
    raw.writer.write_eof()
    assert await raw.rest() == b""
    record = server.received[0]
    assert not record.body_complete
    assert record.body_received > 0
    assert server.complete == {}


async def test_refuse(server: MisbehavingServer, client: Client) -> None:
    """The port refuses, open connections live on, and afterwards the same port accepts."""
    url = server.base_url
    raw = await client.post(server)
    await raw.reply()
    with server.refuse():
        with pytest.raises(ConnectionRefusedError):
            await client.connect(url)
        await raw.send(client.form())
        assert (await raw.reply())[0] == 200
    assert server.base_url == url
    assert (await (await client.post(server)).reply())[0] == 200


async def test_leaving_while_refusing(client: Client) -> None:
    """The server may end inside the block."""
    async with MisbehavingServer() as server:
        stack = contextlib.ExitStack()
        stack.enter_context(server.refuse())
    stack.close()
    with pytest.raises(ConnectionRefusedError):
        await client.connect(server.base_url)


async def test_other_origin(server: MisbehavingServer, client: Client) -> None:
    """Whoever is lured there is answered well, and everything sent is on record, apart."""
    raw = await client.connect(server.other_origin)
    await raw.send(b"GET /stolen.png HTTP/1.1\r\nAuthorization: Bearer sk-secret\r\n\r\n")
    assert (await raw.reply())[2].startswith(b"\x89PNG")
    await raw.send(client.form())
    assert json.loads((await raw.reply())[2])["data"][0]["url"].startswith(server.other_origin)
    assert server.other_origin != server.base_url
    assert [r.header("Authorization") for r in server.other_received] == ["Bearer sk-secret"] * 2
    assert (server.received, server.connections, server.billed) == ([], 0, {})


async def test_tls(client: Client, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """Over TLS the same faults work, and one before the handshake cuts it."""
    async with MisbehavingServer(ssl_context=server_tls) as server:
        assert server.base_url.startswith("https://")
        server.script(CloseAfter(), ResetAfter())
        assert await (await client.post(server, tls=client_tls)).rest() == b""
        with pytest.raises(ConnectionError):
            await (await client.post(server, tls=client_tls)).rest()
        server.script(AcceptAndHang())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.connect(server.base_url, client_tls), 0.2)
        assert server.billed == {SHA: 2}
        await client.connect(server.base_url)  # no handshake comes, and the exit does not wait


async def test_ipv6(client: Client) -> None:
    """Also on the other loopback address."""
    async with MisbehavingServer(host="::1") as server:
        assert server.base_url.startswith("http://[::1]:")
        assert (await (await client.post(server)).reply())[0] == 200


async def test_loopback_only() -> None:
    """A server that misbehaves is nothing for the network."""
    with pytest.raises(ValueError, match="not a loopback"):
        MisbehavingServer(host="0.0.0.0")


async def test_cap(client: Client) -> None:
    """However patient the client, a fault ends at the cap."""
    async with MisbehavingServer(cap=0.2) as server:
        server.script(NoAnswer())
        raw = await client.post(server)
        with contextlib.suppress(ConnectionError):
            assert await raw.rest() == b""


async def test_exit_ends_all(client: Client) -> None:
    """Leaving takes no time and leaves no task, whatever the clients are stuck in."""
    before = asyncio.all_tasks()
    async with MisbehavingServer() as server:
        server.script(NoAnswer(), StopReading(), AcceptAndHang())
        for _ in range(3):
            await client.post(server)
        await client.connect(server.base_url)
        while server.connections < 4:
            await asyncio.sleep(0.01)
        started = time.monotonic()
    assert time.monotonic() - started < 20
    assert asyncio.all_tasks() == before


class Broken(Fault):
    """A user's fault with a mistake in it."""

    async def act(self, x: Exchange) -> None:
        raise KeyError(x.base_url)


async def test_broken_fault(client: Client) -> None:
    """A mistake in a fault of the caller's own comes out at the end, unless something else does."""
    with pytest.raises(KeyError):  # noqa: PT012 - the exit raises
        async with MisbehavingServer() as server:
            server.script(Broken())
            assert await (await client.post(server)).rest() == b""
    with pytest.raises(LookupError, match="mine"):  # noqa: PT012 - the exit does not raise
        async with MisbehavingServer() as server:
            server.script(Broken())
            assert await (await client.post(server)).rest() == b""
            raise LookupError("mine")


def test_in_thread() -> None:
    """Blocking code has the same server, and nothing is left of its thread."""
    before = threading.active_count()
    with MisbehavingServer.in_thread() as server:
        server.gets.script(EmptyError(204))
        with urllib.request.urlopen(server.base_url) as reply:
            assert reply.status == 204
        with server.refuse(), pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(server.base_url)
    assert server.connections == 1
    assert threading.active_count() == before


def test_stands_apart() -> None:
    """It shares nothing with the client it is to test."""
    names = ["misbehaving", "fault_script", "faults", "bad_answers", "bad_framing", "http_bytes"]
    folder = Path(__file__).parents[2] / "chainhub_async" / "testing"
    own = {f"chainhub_async.testing.{name}" for name in names}
    for name in names:
        lines = (folder / f"{name}.py").read_text().splitlines()
        imported = {line.split()[1] for line in lines if line.lstrip().startswith("from chainhub")}
        assert imported <= own
