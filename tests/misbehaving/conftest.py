"""A client that speaks raw bytes, so that nothing between it and the server is polite."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from chainhub_async.testing.misbehaving import MisbehavingServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IMAGE = b"\x89PNG\r\n\x1a\n a picture\r\n--X"
SHA = hashlib.sha256(IMAGE).hexdigest()
_PATH = "/ideogram/v1/ideogram-v3/replace-background"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[MisbehavingServer]:
    async with MisbehavingServer() as running:
        yield running


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - trustme's
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType] - trustme's
    return context


class Raw:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Everything up to the server's FIN."""
        return await asyncio.wait_for(self.reader.read(-1), 5)

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        """One reply with Content-Length."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        first, *lines = head.decode().rstrip().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(first.split(" ")[1]), headers, body


class Client:
    """Opens connections and closes them after the test."""

    def form(self, image: bytes = IMAGE, **fields: str) -> bytes:
        """A whole request: head and multipart body."""
        return _form(image, fields)

    def __init__(self) -> None:
        self.opened: list[Raw] = []

    async def connect(self, url: str, tls: ssl.SSLContext | None = None) -> Raw:
        host, _, port = url.partition("://")[2].rpartition(":")
        raw = Raw(*await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls))
        self.opened.append(raw)
        return raw

    async def post(
        self, server: MisbehavingServer, image: bytes = IMAGE, *, tls: ssl.SSLContext | None = None
    ) -> Raw:
        """Send a whole POST on a new connection."""
        raw = await self.connect(server.base_url, tls)
        await raw.send(_form(image, {}))
        return raw

    async def get(self, server: MisbehavingServer, path: str = f"/results/{SHA}-0.png") -> Raw:
        """Send a GET on a new connection."""
        raw = await self.connect(server.base_url)
        await raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return raw


def _form(image: bytes, fields: dict[str, str]) -> bytes:
    parts = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (name.encode(), value.encode())
        for name, value in {"prompt": "a forest", **fields}.items()
    )
    body = (
        parts
        + b'--B\r\nContent-Disposition: form-data; name="image"; filename="image.png"\r\n'
        + b"Content-Type: image/png\r\n\r\n"
        + image
        + b"\r\n--B--\r\n"
    )
    head = (
        f"POST {_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-secret\r\n"
        f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@pytest.fixture
async def client(anyio_backend: str) -> AsyncIterator[Client]:
    made = Client()
    yield made
    for raw in made.opened:
        raw.writer.transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)
