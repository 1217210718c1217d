"""Result URL → file: free, so always retried; no credentials; no private addresses by default."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import anyio
import anyio.to_thread
import attrs

from chainhub_async import addresses, files, formats, times
from chainhub_async.errors import (
    ClosedError,
    DownloadError,
    ResultExpiredError,
    SaveError,
    printable,
)
from chainhub_async.events import DownloadProgress, Saved
from chainhub_async.networks import Network
from chainhub_async.transport.deadlines import Deadlines
from chainhub_async.transport.http import USER_AGENT, Transport
from chainhub_async.transport.session import AddressRefusedError, proxy_for

SIZE_LIMIT = 64 * 1024 * 1024
"""The largest result accepted, in bytes."""

# Bytes that are written at a time: smaller steps cost a hop to a thread for little.
_STEP = 256 * 1024
# Seconds until the gateway's own name is looked up again, after that failed.
_LOOK_UP_AGAIN = 5.0
_TRIES = 5
_MOST_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_AGAIN = {408, 425, 429}
_EXPIRED = {403, 410}  # object stores answer 403 to a signature that has run out
Publish = Callable[[Path, str], Path]


class _TryAgainError(Exception):
    """This attempt failed in a way that the next one may not."""

    def __init__(self, sentence: str, *, status: int | None = None, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.status = status
        self.wait = wait


@attrs.frozen(kw_only=True)
class Job:
    """One result to download.

    Attributes:
        url: its URL.
        directory: where the temporary file is written; it must exist.
        stem: the start of the temporary file's name.
        publish: gives the finished file its name; receives its path and the right suffix.
        expires_at: when the URL stops working, if known.
        allow_private: also download from private and loopback addresses.
        token: makes the temporary file's name unique; by default random.
    """

    url: str
    directory: Path
    stem: str
    publish: Publish
    token: str | None = None
    expires_at: datetime | None = None
    allow_private: bool = False


class Downloader:
    """Downloads results for one client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._reachable: frozenset[Network] | None = None
        self._failed_at = -math.inf
        self._looking_up = anyio.Lock()

    async def fetch(self, job: Job) -> Path:
        """Downloads a result and returns its final path.

        Raises:
            DownloadError: it could not be downloaded, or is not a complete image.
            ClosedError: the client was closed in the meantime.
        """
        addresses.check(job.url)
        await self._transport.pool.bind()
        call = next(self._transport.pool.numbers)
        with self._transport.pool.under_way():
            return await self._fetch(call, job)
        raise ClosedError("The client was closed during the download.")

    async def _fetch(self, call: int, job: Job) -> Path:
        timeout = self._transport.config.timeout
        left = timeout.total
        number = 0
        while True:
            number += 1
            deadlines = Deadlines(timeout, total_left=left, upload=None)
            try:
                return await self._try(call, job, deadlines)
            except _TryAgainError as again:
                problem = again
            pause = problem.wait + self._pause(number)
            if left is not None:
                left -= deadlines.spent + pause
            if number == _TRIES or (left is not None and left <= 0):
                raise _given_up(problem, number, job.url)
            await anyio.sleep(pause)

    def _pause(self, number: int) -> float:
        policy = self._transport.retry
        return self._transport.draw() * min(
            policy.max_delay, policy.base_delay * 2.0 ** (number - 1)
        )

    async def _try(self, call: int, job: Job, deadlines: Deadlines) -> Path:
        part = files.PartFile(job.directory, job.stem, job.token)
        saved: Saved | None = None
        try:
            with deadlines.scope:
                size, last = await self._fetch_part(call, job, part, deadlines)
                path = await anyio.to_thread.run_sync(part.publish, _checked(job), last)
                saved = Saved(call=call, path=path, bytes_received=size)
        except aiohttp.ClientError as foreign:
            raise _foreign(foreign, job.url) from None
        except ValueError as problem:
            # From host names that cannot be resolved at all, which aiohttp passes through.
            raise _unusable(problem, job.url) from None
        except OSError as problem:
            raise SaveError(
                f"The result cannot be saved in {str(job.directory)!r}: {problem}.", url=job.url
            ) from None
        finally:
            if saved is None:
                await _dropped(part)
        if saved is None:
            raise _TryAgainError(deadlines.sentence)
        self._transport.emit(saved)
        return saved.path

    async def _fetch_part(
        self, call: int, job: Job, part: files.PartFile, deadlines: Deadlines
    ) -> tuple[int, bytes]:
        """Returns how many bytes came, and those of them that are not written yet."""
        received, pending = 0, bytearray()
        async with self._opened(job, deadlines) as reply:
            # Of a compressed response this would be another length.
            total = None if "content-encoding" in reply.headers else reply.content_length
            if (total or 0) > SIZE_LIMIT:
                raise _too_large(job.url)
            async for chunk in reply.content.iter_any():
                received += len(chunk)
                if received > SIZE_LIMIT:
                    raise _too_large(job.url)
                deadlines.replying()
                pending += chunk
                if len(pending) >= _STEP:
                    await anyio.to_thread.run_sync(part.write, pending)
                    pending = bytearray()
                self._transport.emit(
                    DownloadProgress(
                        call=call, url=job.url, bytes_received=received, bytes_total=total
                    )
                )
        return received, bytes(pending)

    @asynccontextmanager
    async def _opened(
        self, job: Job, deadlines: Deadlines
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        url = job.url
        for _ in range(_MOST_REDIRECTS + 1):
            reply = await self._get(url, deadlines, allow_private=job.allow_private)
            try:
                deadlines.replying()
                if reply.status not in _REDIRECTS:
                    self._check_status(reply, job)
                    yield reply
                    return
                url = addresses.redirected(url, reply.headers.get("location"), job.url)
            finally:
                reply.close()
        raise DownloadError(
            f"The result's URL was redirected more than {_MOST_REDIRECTS} times.", url=job.url
        )

    async def _get(
        self, url: str, deadlines: Deadlines, *, allow_private: bool
    ) -> aiohttp.ClientResponse:
        transport = self._transport
        sent = addresses.as_sent(url)
        proxy = proxy_for(str(sent), transport.config.proxy)
        allowed = addresses.ANY_HOME if allow_private else await self._networks()
        if proxy is None:
            session = await transport.pool.downloads(allowed)
        else:
            # Only the proxy's own address is connected to; a literal one is checked here.
            addresses.check_literal(sent, allowed)
            session = await transport.pool.api()
        return await session.get(
            sent,
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            allow_redirects=False,
            raise_for_status=False,
            proxy=proxy,
            ssl=transport.pool.ssl,
            trace_request_ctx=deadlines,
        )

    async def _networks(self) -> frozenset[Network]:
        """Returns the networks results may come from: the public one, and the gateway's own."""
        if self._reachable is not None:
            return self._reachable
        host = urlsplit(self._transport.config.base_url).hostname or ""
        own: frozenset[Network] = frozenset()
        with anyio.move_on_after(self._transport.config.timeout.connect):
            # One at a time, and not again at once: a name server that hangs keeps a thread each.
            async with self._looking_up:
                if self._reachable is not None:
                    return self._reachable
                if anyio.current_time() < self._failed_at + _LOOK_UP_AGAIN:
                    return addresses.ANY_HOME & {Network.PUBLIC}
                self._failed_at = anyio.current_time()
                try:
                    own = await addresses.networks_of(host)
                    self._reachable = addresses.ANY_HOME & (own | {Network.PUBLIC})
                except (OSError, ValueError):
                    pass  # asked again by a later download
        return addresses.ANY_HOME & (own | {Network.PUBLIC})

    def _check_status(self, reply: aiohttp.ClientResponse, job: Job) -> None:
        status = reply.status
        if status == 200:
            return
        over = job.expires_at is not None and job.expires_at < datetime.now(timezone.utc)
        if status in _EXPIRED or (status == 404 and over):
            when = (
                f" It was valid until {job.expires_at:%Y-%m-%d %H:%M:%S %Z}."
                if job.expires_at
                else ""
            )
            raise ResultExpiredError(
                f"The result's URL is no longer valid (status {status}); results expire after 24 "
                f"hours.{when}",
                url=job.url,
                status=status,
            )
        if status in _AGAIN or status >= 500:
            asked = times.retry_after(
                reply.headers.get("retry-after"),
                reply.headers.get("date"),
                datetime.now(timezone.utc),
            )
            wait = min(asked or 0.0, self._transport.retry.max_retry_after)
            raise _TryAgainError(f"status {status}", status=status, wait=wait)
        raise DownloadError(
            f"The result's URL responded with {status}.", url=job.url, status=status
        )


async def _dropped(part: files.PartFile) -> None:
    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(part.drop)
    except BaseException:
        part.drop()  # a second cancellation does not stop at the shield
        raise


def _too_large(url: str) -> DownloadError:
    return DownloadError(f"The result is larger than {SIZE_LIMIT:,} bytes.", url=url)


def _checked(job: Job) -> Callable[[Path], Path]:
    """Returns a function that gives a file its name if it is a complete image."""

    def publish(part: Path) -> Path:
        with part.open("rb") as file:
            kind = formats.media_type(file.read(formats.HEAD_SIZE))
            if kind is None:
                raise _TryAgainError("the response is not a JPEG, PNG or WebP image")
            if not formats.is_whole(file, 0, part.stat().st_size):
                raise _TryAgainError("the downloaded image is truncated")
        return job.publish(part, formats.SUFFIXES[kind])

    return publish


def _foreign(foreign: aiohttp.ClientError, url: str) -> Exception:
    if isinstance(foreign, aiohttp.ClientConnectorError) and isinstance(
        foreign.os_error, AddressRefusedError
    ):
        return addresses.unsafe(url)
    if isinstance(foreign, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL):
        return _unusable(foreign, url)
    return _TryAgainError(printable(f"{type(foreign).__name__}: {foreign}", 300))


def _given_up(problem: _TryAgainError, tries: int, url: str) -> DownloadError:
    return DownloadError(
        f"The result could not be downloaded (attempts: {tries}; last error: {problem}). It is "
        "paid for and available until its URL expires: download it again.",
        url=url,
        status=problem.status,
    )


def _unusable(problem: Exception, url: str) -> DownloadError:
    return DownloadError(f"The result's URL cannot be used: {printable(problem)}.", url=url)
