"""Result address → file: free, so repeated at will; no credentials; never a private address."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiofiles
import aiohttp
import anyio
import anyio.to_thread
import attrs
from aiofiles.threadpool.binary import AsyncBufferedIOBase

from chainhub_async import files, formats, times
from chainhub_async.errors import (
    DownloadError,
    ResultExpiredError,
    UnsafeAddressError,
    printable,
)
from chainhub_async.events import DownloadProgress, Saved
from chainhub_async.networks import Network, is_local, network_of
from chainhub_async.transport.deadlines import Deadlines
from chainhub_async.transport.http import USER_AGENT, Transport
from chainhub_async.transport.session import AddressRefusedError, proxy_for

SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes of a result that are accepted, decoded."""

_TRIES = 5
_MOST_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_AGAIN = {408, 425, 429}
_EXPIRED = {403, 410}  # object stores answer 403 to a signature that has run out
Publish = Callable[[Path, str], Path]


class _TryAgainError(Exception):
    """This try failed in a way that the next one may not."""

    def __init__(self, sentence: str, *, status: int | None = None, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.status = status
        self.wait = wait


@attrs.frozen(kw_only=True)
class Job:
    """One result to bring home.

    Attributes:
        url: its address.
        directory: where the file grows; it must exist.
        stem: what its temporary name begins with.
        publish: gives the finished file its name; receives it and the right suffix.
        expires_at: when the address stops working, if known.
        allow_private: also fetch from private and loopback addresses.
    """

    url: str
    directory: Path
    stem: str
    publish: Publish
    expires_at: datetime | None = None
    allow_private: bool = False


class Downloader:
    """Fetches results for one client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._reachable: frozenset[Network] | None = None

    async def fetch(self, job: Job) -> Path:
        """Downloads a result and returns its final path.

        Raises:
            DownloadError: it could not be fetched, or is no whole image.
        """
        _check_url(job.url)
        await self._transport.pool.bind()
        call = next(self._transport.pool.numbers)
        problem = _TryAgainError("not tried")
        for number in range(_TRIES):
            if number:
                await anyio.sleep(problem.wait + self._pause(number))
            try:
                return await self._try(call, job)
            except _TryAgainError as again:
                problem = again
        raise DownloadError(
            f"The result could not be downloaded in {_TRIES} tries; the last one: {problem}. It is "
            "paid for and stays at its address until it expires: download it again.",
            url=job.url,
            status=problem.status,
        )

    def _pause(self, number: int) -> float:
        policy = self._transport.retry
        return self._transport.draw() * min(
            policy.max_delay, policy.base_delay * 2.0 ** (number - 1)
        )

    async def _try(self, call: int, job: Job) -> Path:
        part = files.part_path(job.directory, job.stem)
        deadlines = Deadlines(self._transport.config.timeout, total_left=None, upload=None)
        saved: Saved | None = None
        try:
            with deadlines.scope:
                size = await self._fetch_part(call, job, part, deadlines)
                path = await _published(job, part)
                saved = Saved(call=call, path=path, bytes_received=size)
        except aiohttp.ClientError as foreign:
            raise _foreign(foreign, job.url) from None
        except OSError as problem:
            raise DownloadError(
                f"The result cannot be saved in {str(job.directory)!r}: {problem}.", url=job.url
            ) from None
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_remove, part)
        if saved is None:
            raise _TryAgainError(deadlines.sentence)
        self._transport.emit(saved)
        return saved.path

    async def _fetch_part(self, call: int, job: Job, part: Path, deadlines: Deadlines) -> int:
        received = 0
        async with self._opened(job, deadlines) as reply, _growing(part) as file:
            total = reply.content_length
            async for chunk in reply.content.iter_any():
                received += len(chunk)
                if max(received, total or 0) > SIZE_LIMIT:
                    raise DownloadError(
                        f"The result is larger than {SIZE_LIMIT:,} bytes.", url=job.url
                    )
                deadlines.replying()
                await file.write(chunk)
                self._transport.emit(
                    DownloadProgress(
                        call=call, url=job.url, bytes_received=received, bytes_total=total
                    )
                )
        return received

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
                url = _redirected(url, reply.headers.get("location"), job)
            finally:
                reply.close()
        raise DownloadError(
            f"The result's address was redirected more than {_MOST_REDIRECTS} times.", url=job.url
        )

    async def _get(
        self, url: str, deadlines: Deadlines, *, allow_private: bool
    ) -> aiohttp.ClientResponse:
        transport = self._transport
        proxy = proxy_for(url, transport.config.proxy)
        if proxy is None and not allow_private:
            session = await transport.pool.downloads(await self._networks())
        else:
            # Through a proxy only the proxy's address is connected to; a literal one is told here.
            if not allow_private:
                _check_literal(url, await self._networks())
            session = await transport.pool.api()
        return await session.get(
            url,
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            allow_redirects=False,
            raise_for_status=False,
            proxy=proxy,
            ssl=transport.pool.ssl,
            trace_request_ctx=deadlines,
        )

    async def _networks(self) -> frozenset[Network]:
        """Returns the networks results may come from: the public one, and the gateway's own."""
        if self._reachable is None:
            host = urlsplit(self._transport.config.base_url).hostname or ""
            own = {Network.LOOPBACK} if is_local(host) else await _networks_of(host)
            self._reachable = frozenset({Network.PUBLIC, *own} - {Network.FORBIDDEN})
        return self._reachable

    def _check_status(self, reply: aiohttp.ClientResponse, job: Job) -> None:
        status = reply.status
        if status == 200:
            return
        if status in _EXPIRED:
            when = (
                f" It was valid until {job.expires_at:%Y-%m-%d %H:%M:%S %Z}."
                if job.expires_at
                else ""
            )
            raise ResultExpiredError(
                f"The result's address is no longer valid (status {status}); results live 24 "
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
        raise DownloadError(f"The result's address answered {status}.", url=job.url, status=status)


@asynccontextmanager
async def _growing(part: Path) -> AsyncGenerator[AsyncBufferedIOBase, None]:
    """Opens a new file, and leaves it closed, and if all went well on the disk itself."""
    file = await aiofiles.open(part, "xb")
    try:
        yield file
        await file.flush()
        await anyio.to_thread.run_sync(os.fsync, file.fileno())
    finally:
        with anyio.CancelScope(shield=True):
            await file.close()


async def _published(job: Job, part: Path) -> Path:
    suffix = await anyio.to_thread.run_sync(_image_suffix, part)
    # Once begun, neither deadline nor cancellation interrupts this: the thread is waited for.
    return await anyio.to_thread.run_sync(job.publish, part, suffix)


def _image_suffix(part: Path) -> str:
    with part.open("rb") as file:
        kind = formats.media_type(file.read(formats.HEAD_SIZE))
        if kind is None:
            raise _TryAgainError("what came is not a JPEG, PNG or WebP image")
        if not formats.is_whole(file, 0, part.stat().st_size):
            raise _TryAgainError("the image that came is cut")
    return formats.SUFFIXES[kind]


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise DownloadError(
            f"The result's address is {printable(url, 200)!r}; an http:// or https:// address is "
            "expected.",
            url=url,
        )


def _check_literal(url: str, allowed: frozenset[Network]) -> None:
    host = urlsplit(url).hostname or ""
    try:
        network = network_of(host)
    except ValueError:
        network = Network.LOOPBACK if is_local(host) else Network.PUBLIC
    if network not in allowed:
        raise _unsafe(url)


async def _networks_of(host: str) -> set[Network]:
    try:
        found = await anyio.getaddrinfo(host, None)
        return {network_of(str(address[4][0])) for address in found}
    except (OSError, ValueError):
        return set()


def _redirected(url: str, location: str | None, job: Job) -> str:
    target = urljoin(url, location or "")
    if not location:
        raise DownloadError("The result's address redirects to nowhere.", url=job.url)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise UnsafeAddressError(
            "The result's address redirects from https to an unprotected one.", url=job.url
        )
    _check_url(target)
    return target


def _foreign(foreign: aiohttp.ClientError, url: str) -> Exception:
    if isinstance(foreign, aiohttp.ClientConnectorError) and isinstance(
        foreign.os_error, AddressRefusedError
    ):
        return _unsafe(url)
    if isinstance(foreign, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL):
        return DownloadError(f"The result's address cannot be used: {printable(foreign)}.", url=url)
    return _TryAgainError(printable(f"{type(foreign).__name__}: {foreign}", 300))


def _unsafe(url: str) -> UnsafeAddressError:
    return UnsafeAddressError(
        "The result's address leads into a private network, not to a public one. If it is yours, "
        "pass allow_private=True.",
        url=url,
    )
