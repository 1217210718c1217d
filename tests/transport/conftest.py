"""A misbehaving gateway, and a client that is quick to give up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from chainhub_async import AsyncChainHub, RetryPolicy, Timeout
from chainhub_async.testing.misbehaving import MisbehavingServer

KEY = "sk-secret-of-the-tests"
QUICK = Timeout(connect=1, write=1, read=1, reply=1, attempt=8)

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
        defaults: dict[str, Any] = {
            "timeout": QUICK,
            "retry": RetryPolicy(base_delay=0.01, max_delay=0.05),
        }
        made.append(AsyncChainHub(KEY, base_url=url, **{**defaults, **options}))
        return made[-1]

    yield make
    for hub in made:
        await hub.aclose()


@pytest.fixture
async def hub(server: MisbehavingServer, make_hub: MakeHub) -> AsyncChainHub:
    return make_hub(server)


class Leftovers:
    """What was there before, to be compared with what is there when all is closed."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._files = _open_files()

    async def none(self) -> None:
        """Fails if tasks or open files are left, once what was closed has had time to close."""
        tasks: set[asyncio.Task[Any]] = set()
        files: dict[str, str] = {}
        for _ in range(100):
            tasks = asyncio.all_tasks() - self._tasks
            files = {n: to for n, to in _open_files().items() if self._files.get(n) != to}
            if not tasks and not files:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"left behind: {tasks} {files}")


def _open_files() -> dict[str, str]:
    found: dict[str, str] = {}
    folder = Path("/proc/self/fd")
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            found[path.name] = str(path.readlink())
        except OSError:
            continue
    return found


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    """Returns a server's context with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    """Returns a client's context that trusts this authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
