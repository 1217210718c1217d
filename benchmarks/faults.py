"""What each fault costs, client by client: `nox -s faults`.

Every fault is met by every client with images of 50 KB, 2 MB and 9.9 MB; the server counts how
often it was sent the image, and would have billed it. A fault comes once; what follows it is
answered well. Deadlines are shortened for all clients alike.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, nullcontext
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
from pictures import png
from target import KEY, PATH, PROMPT

from chainhub_async import (
    AsyncChainHub,
    ChainHubError,
    Event,
    RetryPolicy,
    RetryScheduled,
    Timeout,
)
from chainhub_async.testing import (
    AcceptAndClose,
    AcceptAndHang,
    BadFraming,
    CutBody,
    CutHead,
    Drip,
    EarlyStatus,
    EmptyAnswer,
    EmptyError,
    EndlessHeaders,
    ErrorEnvelope,
    Fault,
    Flood1xx,
    Framing,
    GzipBomb,
    Gzipped,
    HtmlError,
    MisbehavingServer,
    NoAnswer,
    Redirect,
    ResetAfter,
    StopReading,
    TooManyRequests,
    WrongType,
)

SIZES = {"50 KB": 50_000, "2 MB": 2_000_000, "9.9 MB": 9_900_000}
SECONDS = 1.0
"""The deadline of a phase. None of the clients waits longer for one thing than this."""

# What is sent again where it says NO; the rest is refused, or asks for too long a wait.
RESENT = {
    "ConnectError",
    "ConnectionLostError",
    "DeadlineError",
    "InvalidReplyError",
    "ServerError",
}

Upload = Callable[[Path], Awaitable[str]]

FAULTS: dict[str, Callable[[int], Fault | None]] = {
    "none": lambda _: None,
    "refuses connections": lambda _: None,
    "accepts and closes": lambda _: AcceptAndClose(),
    "accepts and resets": lambda _: AcceptAndClose(reset=True),
    "accepts and hangs": lambda _: AcceptAndHang(),
    "reset at once": lambda _: ResetAfter(0),
    "reset halfway": lambda size: ResetAfter(size // 2),
    "reset after the body": lambda _: ResetAfter(),
    "stops reading": lambda _: StopReading(0),
    "early 413, polite": lambda _: EarlyStatus(413),
    "early 413, impolite": lambda _: EarlyStatus(413, polite=False),
    "early 503, polite": lambda _: EarlyStatus(503),
    "early 503, impolite": lambda _: EarlyStatus(503, polite=False),
    "no answer": lambda _: NoAnswer(),
    "head cut": lambda _: CutHead(20),
    "body cut": lambda _: CutBody(10),
    "bad status line": lambda _: BadFraming(Framing.BAD_STATUS_LINE),
    "two lengths": lambda _: BadFraming(Framing.LENGTH_AND_CHUNKED),
    "drips its head": lambda _: Drip("head", interval=0.2),
    "drips its body": lambda _: Drip("body", interval=0.2),
    "endless headers": lambda _: EndlessHeaders(),
    "1xx without end": lambda _: Flood1xx(),
    "500 HTML": lambda _: HtmlError(500),
    "502 HTML": lambda _: HtmlError(502),
    "503 empty": lambda _: EmptyError(503),
    "504 HTML": lambda _: HtmlError(504),
    "429": lambda _: TooManyRequests(),
    "429, 1 s": lambda _: TooManyRequests(1),
    "429, a date": lambda _: TooManyRequests(formatdate(time.time() + 2, usegmt=True)),
    "429, too long": lambda _: TooManyRequests(3600),
    "429, garbage": lambda _: TooManyRequests("soon"),
    "307 elsewhere": lambda _: Redirect(307, "elsewhere"),
    "200 error envelope": lambda _: ErrorEnvelope(1101),
    "200 HTML": lambda _: WrongType(),
    "200 empty": lambda _: EmptyAnswer(),
    "200 gzip bomb": lambda _: GzipBomb(50_000_000),
    "200 gzip cut": lambda _: Gzipped(cut=True),
}


async def chainhub(stack: AsyncExitStack, url: str) -> Upload:
    """This package, as it comes."""
    limits = Timeout(
        connect=SECONDS, write=SECONDS, read=SECONDS, reply=SECONDS, attempt=6 * SECONDS
    )
    events: list[Event] = []
    hub = await stack.enter_async_context(
        AsyncChainHub(
            KEY,
            base_url=url,
            timeout=limits,
            retry=RetryPolicy(base_delay=0.05),
            on_event=events.append,
        )
    )

    async def upload(file: Path) -> str:
        outcome = "ok"
        try:
            await hub.ideogram.replace_background(file, prompt=PROMPT)
        except ChainHubError as error:
            outcome = f"{type(error).__name__} {error.billed.name}"
        attempts = 1 + sum(isinstance(event, RetryScheduled) for event in events)
        return f"{outcome} {attempts}x"

    return upload


async def plain_aiohttp(stack: AsyncExitStack, url: str) -> Upload:
    """What a user writes, with time-outs."""
    session = await stack.enter_async_context(
        aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=aiohttp.ClientTimeout(total=6 * SECONDS, connect=SECONDS, sock_read=SECONDS),
        )
    )

    async def upload(file: Path) -> str:
        form = aiohttp.FormData()
        form.add_field("prompt", PROMPT)
        form.add_field("image", file.read_bytes(), filename="a.png", content_type="image/png")
        try:
            async with session.post(url + PATH, data=form, raise_for_status=True) as reply:
                await reply.json()
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError, ValueError) as error:
            return type(error).__name__
        return "ok"

    return upload


async def plain_httpx(stack: AsyncExitStack, url: str) -> Upload:
    """The same with httpx, redirects followed as many do."""
    client = await stack.enter_async_context(
        httpx.AsyncClient(
            headers={"Authorization": f"Bearer {KEY}"}, timeout=SECONDS, follow_redirects=True
        )
    )

    async def upload(file: Path) -> str:
        image = ("a.png", file.read_bytes(), "image/png")
        try:
            reply = await client.post(url + PATH, data={"prompt": PROMPT}, files={"image": image})
            reply.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            return type(error).__name__
        return "ok"

    return upload


async def openai_client(stack: AsyncExitStack, url: str) -> Upload:
    """openai-python's client with its own resending, which sends the same kind of call."""
    client = await stack.enter_async_context(
        openai.AsyncOpenAI(api_key=KEY, base_url=url, timeout=SECONDS)
    )

    async def upload(file: Path) -> str:
        try:
            await client.post(
                PATH,
                cast_to=object,
                body={"prompt": PROMPT},
                files={"image": ("a.png", file.read_bytes(), "image/png")},
                options={"headers": {"Content-Type": "multipart/form-data"}},
            )
        except (openai.OpenAIError, ValueError) as error:
            return type(error).__name__
        return "ok"

    return upload


CLIENTS: dict[str, Callable[[AsyncExitStack, str], Awaitable[Upload]]] = {
    "chainhub-async": chainhub,
    "aiohttp": plain_aiohttp,
    "httpx": plain_httpx,
    "openai": openai_client,
}


async def once(client: str, fault_name: str, file: Path, size: int) -> tuple[str, int, int, float]:
    """Returns the outcome, how often the image was sent and billed, and the seconds it took."""
    async with MisbehavingServer(cap=20) as server, AsyncExitStack() as stack:
        fault: Any = FAULTS[fault_name](size)
        if isinstance(fault, Redirect):
            fault = Redirect(fault.status, f"{server.other_origin}/elsewhere")
        if fault is not None:
            server.script(fault)
        upload = await CLIENTS[client](stack, server.base_url)
        start = time.perf_counter()
        with server.refuse() if fault_name == "refuses connections" else nullcontext():
            outcome = await upload(file)
        seconds = time.perf_counter() - start
        posts = sum(record.method == "POST" for record in server.received)
        posts += sum(record.method == "POST" for record in server.other_received)
        return outcome, posts, sum(server.billed.values()), seconds


async def table(clients: list[str], folder: Path) -> list[str]:
    """Prints the table, and returns what breaks this package's promises."""
    broken: list[str] = []
    print(f"{'fault':22}{'size':>8}  " + "".join(f"{name:^46}" for name in clients))
    print(f"{'':32}" + f"{'outcome':<32}{'sent':>4}{'paid':>5}{'s':>5}" * len(clients))
    for fault in FAULTS:
        for label, size in SIZES.items():
            file = folder / f"{size}.png"
            if not file.exists():
                file.write_bytes(png(size))
            cells = ""
            for client in clients:
                outcome, sent, paid, seconds = await once(client, fault, file, size)
                cells += f"{outcome:<32}{sent:>4}{paid:>5}{seconds:>5.1f}"
                if client == "chainhub-async":
                    broken += promises_broken(fault, outcome, paid, seconds, f"{fault}, {label}")
            print(f"{fault:22}{label:>8}  {cells}", flush=True)
    return broken


def promises_broken(fault: str, outcome: str, paid: int, seconds: float, cell: str) -> list[str]:
    """Returns what a cell breaks: paid twice, a wrong word about it, late, not sent again."""
    kind, *billed, attempts = outcome.split()
    made = int(attempts.removesuffix("x"))
    waits = {"429, 1 s": 1.0, "429, a date": 2.0}.get(fault, 0.0)
    found = {
        "paid twice": paid > 1,
        "said NO of what was paid": billed == ["NO"] and paid > 0,
        "later than its deadline by a second": seconds > made * SECONDS + waits + 1,
        "unexecuted, and not sent again": kind in RESENT and billed == ["NO"] and made == 1,
    }
    return [
        f"{cell}: {what} ({outcome}, {seconds:.1f} s)" for what, is_so in found.items() if is_so
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one client")
    only = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        broken = asyncio.run(table([only] if only else list(CLIENTS), Path(folder)))
    print("\nBroken promises of chainhub-async:", *(broken or ["none"]), sep="\n  ")
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
