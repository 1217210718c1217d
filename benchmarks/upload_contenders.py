"""The ways to upload a file on asyncio's loop that are measured against each other.

Each does the whole job for every call: the file from disk, a form with image and prompt, the key,
and the JSON of the answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from target import HEADERS, KEY, PATH, PROMPT, Awaited, Call, Target, form_around


async def aiohttp_session(stack: AsyncExitStack, to: Target) -> Any:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0, ssl=to.tls or True)
    session = aiohttp.ClientSession(headers=HEADERS, connector=connector)
    return await stack.enter_async_context(session)


def _aiohttp_form(image: Any) -> Any:
    import aiohttp

    form = aiohttp.FormData()
    form.add_field("prompt", PROMPT)
    form.add_field("image", image, filename="image.png", content_type="image/png")
    return form


async def aiohttp_file(stack: AsyncExitStack, to: Target) -> Call:
    """The baseline: what a user writes, a form with an open file."""
    session = await aiohttp_session(stack, to)

    async def upload(number: int) -> Any:
        with to.file(number).open("rb") as image:
            async with session.post(to.url + PATH, data=_aiohttp_form(image)) as reply:
                return await reply.json()

    return upload


async def aiohttp_bytes(stack: AsyncExitStack, to: Target) -> Call:
    """The same with the whole file in memory."""
    session = await aiohttp_session(stack, to)

    async def upload(number: int) -> Any:
        data = to.file(number).read_bytes()
        async with session.post(to.url + PATH, data=_aiohttp_form(data)) as reply:
            return await reply.json()

    return upload


async def aiohttp_aiofiles(stack: AsyncExitStack, to: Target) -> Call:
    """The same with a generator that reads with aiofiles: the recipe that is found everywhere."""
    import aiofiles

    session = await aiohttp_session(stack, to)

    async def chunks(file: Path) -> AsyncGenerator[bytes, None]:
        async with aiofiles.open(file, "rb") as image:
            while chunk := await image.read(64 * 1024):
                yield chunk

    async def upload(number: int) -> Any:
        form = _aiohttp_form(chunks(to.file(number)))
        async with session.post(to.url + PATH, data=form) as reply:
            return await reply.json()

    return upload


async def aiohttp_prebuilt(stack: AsyncExitStack, to: Target) -> Call:
    """No form at all: one finished body in memory, the least that aiohttp itself costs."""
    session = await aiohttp_session(stack, to)
    before, after, kind = form_around()
    body, headers = before + to.file(0).read_bytes() + after, {"Content-Type": kind}

    async def upload(_: int) -> Any:
        async with session.post(to.url + PATH, data=body, headers=headers) as reply:
            return await reply.json()

    return upload


async def httpx_async(stack: AsyncExitStack, to: Target) -> Call:
    """Httpx, awaited, with an open file."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=to.parallel)
    client = await stack.enter_async_context(
        httpx.AsyncClient(
            headers=HEADERS, limits=limits, timeout=300, trust_env=False, verify=to.tls or True
        )
    )

    async def upload(number: int) -> Any:
        with to.file(number).open("rb") as image:
            files = {"image": ("image.png", image, "image/png")}
            reply = await client.post(to.url + PATH, data={"prompt": PROMPT}, files=files)
            return reply.raise_for_status().json()

    return upload


async def openai_edit(stack: AsyncExitStack, to: Target) -> Call:
    """The client of openai doing the same job, `images.edit`."""
    from openai import DEFAULT_CONNECTION_LIMITS, AsyncOpenAI, DefaultAsyncHttpxClient

    # Whatever httpx it is made with: by default it keeps no more than a hundred connections.
    limits = type(DEFAULT_CONNECTION_LIMITS)(
        max_connections=None, max_keepalive_connections=to.parallel
    )
    http = DefaultAsyncHttpxClient(
        limits=limits, timeout=300, trust_env=False, verify=to.tls or True
    )
    client = await stack.enter_async_context(
        AsyncOpenAI(api_key=KEY, base_url=to.url, http_client=http, max_retries=0)
    )

    async def upload(number: int) -> Any:
        with to.file(number).open("rb") as image:
            return await client.images.edit(
                model="m", image=("image.png", image, "image/png"), prompt=PROMPT
            )

    return upload


async def pyreqwest(stack: AsyncExitStack, to: Target) -> Call:
    """A client written in Rust; it is several times slower where it reads the file itself."""
    from pyreqwest.client import ClientBuilder  # pyright: ignore[reportMissingImports]  # of the bench session
    from pyreqwest.multipart import (  # pyright: ignore[reportMissingImports]  # of the bench session
        FormBuilder,
        PartBuilder,
    )

    builder = ClientBuilder().no_proxy().error_for_status().timeout(timedelta(seconds=300))
    if to.ca:
        builder = builder.add_root_certificate_pem(Path(to.ca).read_bytes())
    client = await stack.enter_async_context(
        builder.default_headers(HEADERS).pool_max_idle_per_host(to.parallel).build()
    )

    async def upload(number: int) -> Any:
        part = PartBuilder.from_bytes(to.file(number).read_bytes())
        form = FormBuilder().text("prompt", PROMPT)
        form = form.part("image", part.file_name("image.png").mime("image/png"))
        reply = await client.post(to.url + PATH).multipart(form).build().send()
        return await reply.json()

    return upload


async def _hub(stack: AsyncExitStack, to: Target) -> Any:
    from chainhub_async import AsyncChainHub, Limits

    limits = Limits(in_flight=None, connections=None)
    hub = AsyncChainHub(KEY, base_url=to.url, limits=limits, ssl_context=to.tls)
    return await stack.enter_async_context(hub)


async def chainhub(stack: AsyncExitStack, to: Target) -> Call:
    """This package."""
    hub = await _hub(stack, to)
    return lambda number: hub.ideogram.replace_background(to.file(number), prompt=PROMPT)


async def chainhub_bytes(stack: AsyncExitStack, to: Target) -> Call:
    """This package with an image in memory: what is left beside aiohttp is its own work."""
    hub = await _hub(stack, to)
    image = to.file(0).read_bytes()
    return lambda _: hub.ideogram.replace_background(image, prompt=PROMPT)


async def raw_sendfile(stack: AsyncExitStack, to: Target) -> Call:
    """The limit: sockets on asyncio's loop, and the kernel copies the file."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(to.url)
    idle: list[socket.socket] = []

    async def connect() -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stack.callback(connection.close)
        await loop.sock_connect(connection, (parts.hostname, parts.port))
        return connection

    async def upload(number: int) -> Any:
        connection = idle.pop() if idle else await connect()
        file = to.file(number)
        head, after = raw_request(to, file)
        await loop.sock_sendall(connection, head)
        with file.open("rb") as image:
            await loop.sock_sendfile(connection, image)
        await loop.sock_sendall(connection, after)
        reply = b""
        while (answer := raw_answer(reply)) is None:
            received = await loop.sock_recv(connection, 65536)
            if not received:
                raise ConnectionResetError("closed by the server")
            reply += received
        idle.append(connection)
        return answer

    return upload


def raw_request(to: Target, file: Path) -> tuple[bytes, bytes]:
    """Returns what to write to a socket before a file, and after it."""
    before, after, kind = form_around()
    length = len(before) + file.stat().st_size + len(after)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {urlsplit(to.url).netloc}\r\nAuthorization: Bearer {KEY}"
        f"\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode() + before, after


def raw_answer(reply: bytes) -> Any:
    """Returns an answer's JSON once it is complete, and None before."""
    top, found, body = reply.partition(b"\r\n\r\n")
    if not found:
        return None
    length = int(top.lower().partition(b"content-length:")[2].split()[0])
    return json.loads(body) if len(body) == length else None


AWAITED: dict[str, Awaited] = {
    "aiohttp-file": aiohttp_file,
    "aiohttp-bytes": aiohttp_bytes,
    "aiohttp-aiofiles": aiohttp_aiofiles,
    "aiohttp-prebuilt": aiohttp_prebuilt,
    "httpx": httpx_async,
    "openai": openai_edit,
    "pyreqwest": pyreqwest,
    "raw-sendfile": raw_sendfile,
    "chainhub-async": chainhub,
    "chainhub-bytes": chainhub_bytes,
}
