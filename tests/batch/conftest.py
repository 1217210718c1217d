"""Photographs, gateways, and batches that are run to their end."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from chainhub_async import AsyncChainHub, Limits, Outcome, ReplaceBackground, RetryPolicy, Timeout
from chainhub_async.testing import Emulator, MisbehavingServer

KEY = "sk-secret-of-the-tests"
PROMPT = "a forest"

MakeHub = Callable[..., AsyncChainHub]


def photo(number: int) -> bytes:
    """A PNG that is whole, and of which the emulator makes another result for each prompt.

    Its pixels cannot be decoded, so that the result does not depend on them.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", b"%012d" % number), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def sha(data: bytes) -> str:
    """The name under which servers count an image."""
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def photos(tmp_path: Path) -> Callable[[int], list[Path]]:
    """Writes so many photographs, `p0.png` and so on, and returns their paths."""
    folder = tmp_path / "in"
    folder.mkdir()

    def make(count: int) -> list[Path]:
        paths = [folder / f"p{number}.png" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_bytes(photo(number))
        return paths

    return make


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where results are saved."""
    return tmp_path / "out"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "batch.db"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.in_thread(api_keys=KEY) as running:
        yield running


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer.in_thread() as running:
        yield running


@pytest.fixture
async def make_hub(anyio_backend: str) -> AsyncIterator[MakeHub]:
    """Makes clients that wait briefly, and closes them."""
    made: list[AsyncChainHub] = []

    def make(server: Emulator | MisbehavingServer, **options: Any) -> AsyncChainHub:
        defaults: dict[str, Any] = {
            "timeout": Timeout(connect=2, write=2, read=2, reply=2),
            "retry": RetryPolicy(base_delay=0.01, max_delay=0.05),
            "limits": Limits(in_flight=4),
        }
        made.append(AsyncChainHub(KEY, base_url=server.base_url, **{**defaults, **options}))
        return made[-1]

    yield make
    for hub in made:
        await hub.aclose()


@pytest.fixture
def hub(emulator: Emulator, make_hub: MakeHub) -> AsyncChainHub:
    """A client of the emulator."""
    return make_hub(emulator)


@pytest.fixture
def tried(server: MisbehavingServer, make_hub: MakeHub) -> AsyncChainHub:
    """A client of the misbehaving server."""
    return make_hub(server)


def calls(paths: Sequence[Any], **options: Any) -> list[ReplaceBackground]:
    """One call for each image."""
    given: dict[str, Any] = {"prompt": PROMPT, **options}
    return [ReplaceBackground(path, **given) for path in paths]


async def run(
    hub: AsyncChainHub, requests: Sequence[ReplaceBackground], **settings: Any
) -> list[Outcome]:
    """Runs a batch to its end; its outcomes in the order of the inputs."""
    async with hub.batch(**settings) as batch:
        outcomes = [outcome async for outcome in batch.run(requests)]
    return sorted(outcomes, key=lambda outcome: outcome.index)


def states(outcomes: Sequence[Outcome]) -> list[str]:
    """The states of outcomes."""
    return [outcome.state.value for outcome in outcomes]


def names(folder: Path) -> list[str]:
    """What is in a folder, hidden files included; nothing if there is none."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def rows(ledger: Path, query: str, *values: Any) -> list[Any]:
    """What anybody with sqlite3 sees; of rows with one column, the values."""
    connection = sqlite3.connect(ledger)
    try:
        found = connection.execute(query, values).fetchall()
    finally:
        connection.close()
    return [row[0] if len(row) == 1 else row for row in found]


def posts(server: MisbehavingServer) -> int:
    """How many calls arrived."""
    return sum(one.method == "POST" for one in server.received)


def twice(billed: Mapping[str, int]) -> dict[str, int]:
    """The images that were billed more than once."""
    return {image: count for image, count in billed.items() if count > 1}
