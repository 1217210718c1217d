"""The ways to save a result that are measured against each other: from its URL to a file.

What a user writes leaves half a file behind when the process dies, and takes whatever it gets for
an image. This package writes under another name, looks whether the image is whole, flushes file
and directory to disk, renames, and replaces nothing; `aiohttp-safe` is the same by hand.
"""

from __future__ import annotations

import os
import secrets
from contextlib import AsyncExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from target import HEADERS, KEY, Awaited, Call, Target
from upload_contenders import aiohttp_session

STEP = 64 * 1024
IMAGE = "/results/image.png"


async def aiohttp_aiofiles(stack: AsyncExitStack, to: Target) -> Call:
    """The baseline: what a user writes, in the steps that are found everywhere."""
    import aiofiles

    session = await aiohttp_session(stack, to)

    async def save(number: int) -> Any:
        async with session.get(to.url + IMAGE) as reply:
            reply.raise_for_status()
            async with aiofiles.open(to.path / f"{number}.png", "wb") as file:
                async for chunk in reply.content.iter_chunked(STEP):
                    await file.write(chunk)

    return save


async def aiohttp_read(stack: AsyncExitStack, to: Target) -> Call:
    """The shortest: all of it into memory, then written on the loop."""
    session = await aiohttp_session(stack, to)

    async def save(number: int) -> Any:
        async with session.get(to.url + IMAGE) as reply:
            reply.raise_for_status()
            (to.path / f"{number}.png").write_bytes(await reply.read())

    return save


async def aiohttp_safe(stack: AsyncExitStack, to: Target) -> Call:
    """By hand what this package does: another name, checked, flushed, renamed, nothing replaced."""
    import aiofiles
    from anyio import to_thread

    session = await aiohttp_session(stack, to)

    def publish(part: Path, target: Path) -> None:
        with part.open("rb") as file:
            begins = file.read(8)
            file.seek(-12, os.SEEK_END)
            if begins != b"\x89PNG\r\n\x1a\n" or file.read(12)[4:8] != b"IEND":
                raise ValueError("not a whole image")
            os.fsync(file.fileno())
        target.hardlink_to(part)
        part.unlink()
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def save(number: int) -> Any:
        part = to.path / f".{number}.{secrets.token_hex(8)}.part"
        async with session.get(to.url + IMAGE) as reply:
            reply.raise_for_status()
            async with aiofiles.open(part, "xb") as file:
                async for chunk in reply.content.iter_chunked(STEP):
                    await file.write(chunk)
        await to_thread.run_sync(publish, part, to.path / f"{number}.png")

    return save


async def httpx_stream(stack: AsyncExitStack, to: Target) -> Call:
    """Httpx, streamed, written on the loop as its documentation does."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=to.parallel)
    client = await stack.enter_async_context(
        httpx.AsyncClient(headers=HEADERS, limits=limits, timeout=300, trust_env=False)
    )

    async def save(number: int) -> Any:
        async with client.stream("GET", to.url + IMAGE) as reply:
            reply.raise_for_status()
            with (to.path / f"{number}.png").open("wb") as file:
                async for chunk in reply.aiter_bytes():
                    file.write(chunk)

    return save


async def chainhub(stack: AsyncExitStack, to: Target) -> Call:
    """This package."""
    from chainhub_async import AsyncChainHub, GeneratedImage, Limits, ReplaceBackgroundResult

    limits = Limits(in_flight=None, connections=None)
    hub = await stack.enter_async_context(AsyncChainHub(KEY, base_url=to.url, limits=limits))
    result = ReplaceBackgroundResult(
        images=(GeneratedImage(url=to.url + IMAGE),), received_at=datetime.now(timezone.utc)
    )
    return lambda number: hub.save(result, to.path, name=str(number))


SAVERS: dict[str, Awaited] = {
    "aiohttp-aiofiles": aiohttp_aiofiles,
    "chainhub-async": chainhub,
    "aiohttp-safe": aiohttp_safe,
    "aiohttp-read": aiohttp_read,
    "httpx-stream": httpx_stream,
}
