"""The ways to upload a file that are measured against each other.

Each does the whole job for every call: the file from disk, a form with image and prompt, the key,
and the JSON of the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

PATH = "/ideogram/v1/ideogram-v3/replace-background"
KEY = "benchmark-key"
PROMPT = "a pine forest at dawn"
HEADERS = {"Authorization": f"Bearer {KEY}"}

Upload = Callable[[], Awaitable[Any]]


@attrs.frozen
class Target:
    """Where to upload what.

    Attributes:
        url: the server's origin.
        file: the image.
        ca: a file with the certificate to trust, or None.
        parallel: how many uploads there will be at once.
    """

    url: str
    file: Path
    ca: str | None
    parallel: int

    @property
    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.ca) if self.ca else None


async def _aiohttp_session(stack: AsyncExitStack, to: Target) -> Any:
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


async def aiohttp_file(stack: AsyncExitStack, to: Target) -> Upload:
    """The baseline: what a user writes, a form with an open file."""
    session = await _aiohttp_session(stack, to)

    async def upload() -> Any:
        with to.file.open("rb") as image:
            async with session.post(to.url + PATH, data=_aiohttp_form(image)) as reply:
                return await reply.json()

    return upload


async def aiohttp_bytes(stack: AsyncExitStack, to: Target) -> Upload:
    """The same with the whole file in memory."""
    session = await _aiohttp_session(stack, to)

    async def upload() -> Any:
        data = to.file.read_bytes()
        async with session.post(to.url + PATH, data=_aiohttp_form(data)) as reply:
            return await reply.json()

    return upload


async def aiohttp_aiofiles(stack: AsyncExitStack, to: Target) -> Upload:
    """The same with a generator that reads with aiofiles: the recipe that is found everywhere."""
    import aiofiles

    session = await _aiohttp_session(stack, to)

    async def chunks() -> AsyncGenerator[bytes, None]:
        async with aiofiles.open(to.file, "rb") as image:
            while chunk := await image.read(64 * 1024):
                yield chunk

    async def upload() -> Any:
        async with session.post(to.url + PATH, data=_aiohttp_form(chunks())) as reply:
            return await reply.json()

    return upload


async def aiohttp_prebuilt(stack: AsyncExitStack, to: Target) -> Upload:
    """No form at all: one finished body in memory, the least that aiohttp itself costs."""
    session = await _aiohttp_session(stack, to)
    before, after, kind = form_around()
    body, headers = before + to.file.read_bytes() + after, {"Content-Type": kind}

    async def upload() -> Any:
        async with session.post(to.url + PATH, data=body, headers=headers) as reply:
            return await reply.json()

    return upload


async def httpx_async(stack: AsyncExitStack, to: Target) -> Upload:
    """Httpx, awaited, with an open file."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=to.parallel)
    client = await stack.enter_async_context(
        httpx.AsyncClient(
            headers=HEADERS, limits=limits, timeout=60, trust_env=False, verify=to.tls or True
        )
    )

    async def upload() -> Any:
        with to.file.open("rb") as image:
            files = {"image": ("image.png", image, "image/png")}
            reply = await client.post(to.url + PATH, data={"prompt": PROMPT}, files=files)
            return reply.json()

    return upload


async def openai_edit(stack: AsyncExitStack, to: Target) -> Upload:
    """The client of openai doing the same job, `images.edit`."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    http = DefaultAsyncHttpxClient(timeout=60, trust_env=False, verify=to.tls or True)
    client = await stack.enter_async_context(
        AsyncOpenAI(api_key=KEY, base_url=to.url, http_client=http, max_retries=0)
    )

    async def upload() -> Any:
        with to.file.open("rb") as image:
            return await client.images.edit(
                model="m", image=("image.png", image, "image/png"), prompt=PROMPT
            )

    return upload


async def chainhub(stack: AsyncExitStack, to: Target) -> Upload:
    """This package."""
    from chainhub_async import AsyncChainHub, Limits

    hub = await stack.enter_async_context(
        AsyncChainHub(
            KEY,
            base_url=to.url,
            limits=Limits(in_flight=None, connections=None),
            ssl_context=to.tls,
        )
    )
    return lambda: hub.ideogram.replace_background(to.file, prompt=PROMPT)


async def raw_sendfile(stack: AsyncExitStack, to: Target) -> Upload:
    """The limit: sockets on asyncio's loop, and the kernel copies the file."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(to.url)
    before, after, kind = form_around()
    size = to.file.stat().st_size
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(before) + size + len(after)}\r\n\r\n"
    ).encode() + before
    idle: list[socket.socket] = []

    async def connect() -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stack.callback(connection.close)
        await loop.sock_connect(connection, (parts.hostname, parts.port))
        return connection

    async def upload() -> Any:
        connection = idle.pop() if idle else await connect()
        await loop.sock_sendall(connection, head)
        with to.file.open("rb") as image:
            await loop.sock_sendfile(connection, image)
        await loop.sock_sendall(connection, after)
        reply = b""
        while True:
            reply += await loop.sock_recv(connection, 65536)
            top, found, body = reply.partition(b"\r\n\r\n")
            if found:
                length = int(top.lower().partition(b"content-length:")[2].split()[0])
                if len(body) == length:
                    break
        idle.append(connection)
        return json.loads(body)

    return upload


def pycurl_multi(to: Target, requests: int, times: list[float]) -> None:
    """The loop of libcurl itself, which is C."""
    import pycurl

    multi = pycurl.CurlMulti()
    idle: list[Any] = []
    started, going = 0, 0

    def start(handle: Any) -> None:
        handle.reply = BytesIO()
        handle.started = time.perf_counter()
        form = [
            ("prompt", PROMPT),
            (
                "image",
                (
                    *(pycurl.FORM_FILE, str(to.file), pycurl.FORM_FILENAME, "image.png"),
                    *(pycurl.FORM_CONTENTTYPE, "image/png"),
                ),
            ),
        ]
        handle.setopt(pycurl.HTTPPOST, form)
        handle.setopt(pycurl.WRITEDATA, handle.reply)
        multi.add_handle(handle)

    for _ in range(min(to.parallel, requests)):
        handle: Any = pycurl.Curl()
        handle.setopt(pycurl.URL, to.url + PATH)
        handle.setopt(pycurl.HTTPHEADER, [f"Authorization: Bearer {KEY}", "Expect:"])
        handle.setopt(pycurl.PROXY, "")
        if to.ca:
            handle.setopt(pycurl.CAINFO, to.ca)
        idle.append(handle)
    multi.setopt(pycurl.M_MAXCONNECTS, to.parallel)
    while started < requests or going:
        while idle and started < requests:
            start(idle.pop())
            started, going = started + 1, going + 1
        multi.perform()
        _, ended, failed = multi.info_read()
        if failed:
            raise OSError(failed[0][2])
        for handle in ended:
            multi.remove_handle(handle)
            json.loads(handle.reply.getvalue())
            times.append(time.perf_counter() - handle.started)
            idle.append(handle)
        going -= len(ended)
        if not ended and going:
            multi.select(1.0)


def form_around() -> tuple[bytes, bytes, str]:
    """Returns what stands before and after a file in a form, and the form's content type."""
    boundary = os.urandom(16).hex()
    before = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n{PROMPT}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    kind = f"multipart/form-data; boundary={boundary}"
    return before.encode(), f"\r\n--{boundary}--\r\n".encode(), kind


AWAITED: dict[str, Callable[[AsyncExitStack, Target], Awaitable[Upload]]] = {
    "aiohttp-file": aiohttp_file,
    "aiohttp-bytes": aiohttp_bytes,
    "aiohttp-aiofiles": aiohttp_aiofiles,
    "aiohttp-prebuilt": aiohttp_prebuilt,
    "httpx": httpx_async,
    "openai": openai_edit,
    "raw-sendfile": raw_sendfile,
    "chainhub-async": chainhub,
}
OWN_LOOP: dict[str, Callable[[Target, int, list[float]], None]] = {"pycurl-multi": pycurl_multi}
