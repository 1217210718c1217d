"""What becomes of a client that leaves everything to its HTTP library."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from chainhub_async.testing.bad_answers import Redirect
from chainhub_async.testing.bad_framing import BadChunk, BadFraming, Framing
from chainhub_async.testing.faults import ResetAfter

from .conftest import IMAGE, SHA

if TYPE_CHECKING:
    from chainhub_async.testing.http_bytes import Exchange
    from chainhub_async.testing.misbehaving import MisbehavingServer

pytestmark = pytest.mark.anyio


async def upload(session: aiohttp.ClientSession, server: MisbehavingServer) -> int:
    form = aiohttp.FormData()
    form.add_field("image", IMAGE, filename="image.png", content_type="image/png")
    async with session.post(f"{server.base_url}/x", data=form) as reply:
        await reply.read()
        return reply.status


async def test_resending_after_a_reset_pays_twice(server: MisbehavingServer) -> None:
    """A reset behind the whole body looks like one before it, and the resend is charged again."""
    server.script(ResetAfter())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await upload(session, server)
        assert await upload(session, server) == 200
    assert server.billed == {SHA: 2}


async def test_following_a_redirect_sends_the_image_again(server: MisbehavingServer) -> None:
    """A 307 is followed with the whole body, unasked, to wherever it points."""
    server.script(Redirect(307, f"{server.other_origin}/y"))
    async with aiohttp.ClientSession(headers={"X-Key": "sk-secret"}) as session:
        assert await upload(session, server) == 200
    stolen = server.other_received[0]
    assert (stolen.image, stolen.header("X-Key")) == (SHA, "sk-secret")


async def test_a_bad_chunk_is_waited_for(server: MisbehavingServer) -> None:
    """The library closes the connection, and tells nobody: who reads waits until its time is up."""
    closed = asyncio.Event()

    class Watched(BadChunk):
        async def act(self, x: Exchange) -> None:
            await super().act(x)
            closed.set()

    server.script(Watched())
    async with aiohttp.ClientSession() as session:
        reading = asyncio.ensure_future(upload(session, server))
        await asyncio.wait_for(closed.wait(), 30)
        done, _ = await asyncio.wait({reading}, timeout=0.5)
        assert not done
        reading.cancel()
    assert server.billed == {SHA: 1}


async def test_broken_framing_looks_like_a_refusal(server: MisbehavingServer) -> None:
    """The library reports garbage as status 400, though the image was made and charged for."""
    server.script(BadFraming(Framing.NO_COLON))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            await upload(session, server)
    assert caught.value.status == 400
    assert server.billed == {SHA: 1}
