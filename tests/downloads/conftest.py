"""A misbehaving host of results, and a client that is quick to give up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chainhub_async import AsyncChainHub, RetryPolicy, Timeout
from chainhub_async.testing.http_bytes import result_png
from chainhub_async.testing.misbehaving import MisbehavingServer

KEY = "sk-secret-of-the-tests"
QUICK = Timeout(connect=0.5, write=0.5, read=0.3, reply=0.3, attempt=2)
GOOD = result_png("abc")
PATH = "/results/abc-0.png"

MakeHub = Callable[..., AsyncChainHub]


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[MisbehavingServer]:
    async with MisbehavingServer() as running:
        yield running


@pytest.fixture
async def make_hub(anyio_backend: str) -> AsyncIterator[MakeHub]:
    """Makes clients that wait briefly, and closes them."""
    made: list[AsyncChainHub] = []

    def make(base_url: str | MisbehavingServer, **options: Any) -> AsyncChainHub:
        url = base_url if isinstance(base_url, str) else base_url.base_url
        retry = RetryPolicy(base_delay=0.005, max_delay=0.01)
        defaults: dict[str, Any] = {"timeout": QUICK, "retry": retry}
        made.append(AsyncChainHub(KEY, base_url=url, **{**defaults, **options}))
        return made[-1]

    yield make
    for hub in made:
        await hub.aclose()


@pytest.fixture
async def hub(server: MisbehavingServer, make_hub: MakeHub) -> AsyncChainHub:
    return make_hub(server)


class Proxy:
    """A forward proxy that notes what it is asked for, and answers everything with an image."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b"\r\n")[0].decode("latin-1"))
        writer.write(b"HTTP/1.1 200 -\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD))
        await writer.drain()
        writer.close()


@pytest.fixture
async def proxy(anyio_backend: str) -> AsyncIterator[Proxy]:
    running = Proxy()
    async with await asyncio.start_server(running.serve, "127.0.0.1", 0) as server:
        running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield running


def names(directory: Path) -> list[str]:
    """All that stands in a directory, hidden files included."""
    return sorted(path.name for path in directory.iterdir())
