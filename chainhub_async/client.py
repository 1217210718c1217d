"""`AsyncChainHub`: the asyncio client."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict, cast

import anyio

from chainhub_async.config import ClientConfig, Limits, Timeout, timeout_or
from chainhub_async.download import Downloader
from chainhub_async.errors import ConfigurationError, already_paid
from chainhub_async.models import GeneratedImage, ReplaceBackgroundResult, Task
from chainhub_async.resources.ideogram import AsyncIdeogram
from chainhub_async.resources.raw import raw_request
from chainhub_async.resources.tasks import wait_for
from chainhub_async.saving import save_all, save_as
from chainhub_async.transport.http import OnEvent, Transport
from chainhub_async.transport.messages import Response
from chainhub_async.transport.pool import Pool
from chainhub_async.transport.retry import RetryPolicy

if TYPE_CHECKING:
    import aiohttp
    from typing_extensions import Self, Unpack

    from chainhub_async.batch.front import AsyncBatch


class ClientOptions(TypedDict, total=False):
    """The settings that `with_options` can change."""

    api_key: str
    base_url: str
    timeout: Timeout | None
    retry: RetryPolicy | None
    proxy: str | None
    on_event: OnEvent | None


class AsyncChainHub:
    """The asyncio client for the gateway.

    It is cheap to create and opens no connection until first used. Reuse one client for many calls
    so that they share connections and limits. Close it with `async with` or `aclose`.

    Args:
        api_key: the API key; by default the environment variable `CHAINHUB_API_KEY`.
        base_url: the gateway's URL; by default `CHAINHUB_BASE_URL`, then
            `https://api.chainhub.tech`. The key is sent there and nowhere else.
        timeout: timeouts in seconds.
        retry: when to retry calls that failed without being executed.
        limits: concurrency and rate limits.
        proxy: the proxy's `http://` or `https://` URL; by default taken from the environment
            (`HTTPS_PROXY`, `NO_PROXY`, ...); `""` for none.
        ssl_context: for a custom CA, `ssl.create_default_context(cafile=...)`.
        session: an aiohttp session whose connections to use. It is not closed, and its cookies,
            headers and timeouts are ignored.
        on_event: called with each `Event`, on the event loop.

    Attributes:
        ideogram: the Ideogram endpoints.

    Raises:
        ConfigurationError: a setting is missing or invalid; the message says which.
    """

    ideogram: AsyncIdeogram

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout | None = None,
        retry: RetryPolicy | None = None,
        limits: Limits | None = None,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        session: aiohttp.ClientSession | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        try:
            config = ClientConfig.resolve(
                api_key=api_key, base_url=base_url, timeout=timeout, limits=limits, proxy=proxy
            )
        finally:
            # Reports of errors show the locals of frames.
            del api_key, proxy
        pool = Pool(config.limits, ssl_context, session)
        self._bind(_transport(config, retry, pool, on_event))

    def _bind(self, transport: Transport) -> None:
        self._transport = transport
        self._downloader = Downloader(transport)
        self.ideogram = AsyncIdeogram(transport)

    def __repr__(self) -> str:
        # In the traceback of a bad setting it is shown half built.
        told = f"base_url={self._transport.config.base_url!r}" if "ideogram" in vars(self) else ""
        return f"{type(self).__name__}({told})"

    async def __aenter__(self) -> Self:
        await self._transport.pool.bind()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; calls in progress fail, as do later ones.

        So do those of all clients that share them by `with_options`, whichever is closed.
        """
        with anyio.CancelScope(shield=True):
            await self._transport.pool.close()

    def with_options(self, **changes: Unpack[ClientOptions]) -> Self:
        """Returns a client with different settings that shares this one's connections and limits.

        Args:
            changes: any of `api_key`, `base_url`, `timeout`, `retry`, `proxy`, `on_event`, as
                accepted by the class. None restores the default.

        Raises:
            ConfigurationError: a setting cannot be changed, or its new value is invalid.
        """
        given = cast("dict[str, Any]", changes)
        try:
            return self._with(given)
        finally:
            given.clear()  # a key in it would be shown with the locals of a traceback

    def _with(self, given: dict[str, Any]) -> Self:
        changeable = ClientOptions.__annotations__
        if unknown := sorted(set(given) - set(changeable)):
            raise ConfigurationError(
                f"with_options cannot change {', '.join(unknown)}; it can change "
                f"{', '.join(changeable)}. For anything else build another client."
            )
        now = self._transport
        kept = now.config.proxy
        config = ClientConfig.resolve(
            api_key=given.get("api_key", now.config.api_key.reveal()),
            base_url=given.get("base_url", now.config.base_url),
            timeout=given.get("timeout", now.config.timeout),
            limits=now.config.limits,
            proxy=given.get("proxy", None if kept is None else kept.reveal()),
        )
        retry, on_event = given.get("retry", now.retry), given.get("on_event", now.on_event)
        client = object.__new__(type(self))
        client._bind(_transport(config, retry, now.pool, on_event))
        return client

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        images: int = 0,
        timeout: Timeout | None = None,
    ) -> Response:
        """Sends any other gateway call, with the same retry and billing safeguards.

        Args:
            method: the HTTP method. All but GET, HEAD and OPTIONS are assumed to cost money.
            path: the path after the base URL, beginning with `/`.
            json: a body to send as JSON.
            form: the fields of a multipart body: text, numbers, booleans, `ImageSource`, lists of
                these, or dicts, which are sent as JSON.
            params: the query parameters.
            headers: additional headers.
            images: how many images the call makes, for `Limits(in_flight=...)`.
            timeout: timeouts for this call, in place of the client's.

        Returns:
            The response, with a 2xx status; `response.json()` parses its body.

        Raises:
            ChainHubError: as for the named endpoints.
        """
        request = raw_request(
            method,
            path,
            json=json,
            form=form,
            params=params,
            headers=headers,
            images=images,
            timeout=timeout_or(self._transport.config.timeout, timeout),
        )
        return await self._transport.send(request, lambda response: response)

    async def wait(
        self, task: Task, *, path: str, interval: float = 2.0, timeout: float = 600.0
    ) -> ReplaceBackgroundResult:
        """Polls a task until it finishes. Polling is free.

        The gateway documents no polling endpoint for Ideogram tasks, so you supply the path. The
        client never polls on its own.

        Args:
            task: the task of a result.
            path: the polling path after the base URL, containing `{task_id}`.
            interval: seconds between polls.
            timeout: total seconds to wait.

        Returns:
            The result with its images.

        Raises:
            TaskFailedError: the task ended without a result.
            TaskTimeoutError: the timeout expired first; wait again for the error's `task`.
            ChainHubError: the gateway rejected a poll.
        """
        with already_paid():
            return await wait_for(
                partial(self.request, "GET"), task, path=path, interval=interval, timeout=timeout
            )

    def batch(
        self,
        *,
        ledger: str | os.PathLike[str] | None = None,
        save_to: str | os.PathLike[str] | None = None,
        ordered: bool = False,
        max_images: int | None = None,
        resend_uncertain: bool = False,
        retry_refused: bool = False,
        overwrite: bool = False,
        task_path: str | None = None,
        grace: float = 30.0,
    ) -> AsyncBatch:
        """Returns a batch: any number of calls, each paid for at most once, resumable.

        The same bytes with the same options are one job, however often they occur and whatever
        their name. With a ledger, jobs that an earlier run finished are skipped, results that it
        did not save are downloaded, and jobs that may have been billed are held.

        Args:
            ledger: an SQLite file, created if missing, in which every job is recorded before its
                first byte is sent. Without one, nothing outlives the batch.
            save_to: the directory for the images, created if missing; by default they are not
                downloaded. Files are named after the input: `photo.jpg` becomes `photo.png`.
            ordered: yield outcomes in the order of the inputs.
            max_images: how many images this batch may be billed for, not counting earlier runs;
                None for no limit.
            resend_uncertain: also send jobs that an earlier run left `UNCERTAIN`. Each of them
                risks paying for the same image again. Within a run, the client's `RetryPolicy`
                decides.
            retry_refused: also send jobs that the gateway refused in an earlier run.
            overwrite: replace existing files of the same name, but never an input or the result
                of another. By default a result gets the next free name, such as `photo (2).png`.
            task_path: the polling path for unfinished results, see `wait`; by default they are not
                waited for.
            grace: for how many seconds calls that may already be billed, and the saving of their
                results, are waited for when the batch is stopped or cancelled.

        Raises:
            ConfigurationError: a setting is invalid; the message says which.
        """
        # Most programs need no database.
        from chainhub_async.batch.front import AsyncBatch  # noqa: PLC0415 - see above
        from chainhub_async.batch.settings import BatchSettings  # noqa: PLC0415 - see above

        settings = BatchSettings(
            ledger=ledger,
            save_to=save_to,
            ordered=ordered,
            max_images=max_images,
            resend_uncertain=resend_uncertain,
            retry_refused=retry_refused,
            overwrite=overwrite,
            task_path=task_path,
            grace=grace,
        )
        return AsyncBatch(settings, self._transport, self._downloader)

    async def save(
        self,
        result: ReplaceBackgroundResult,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        allow_private: bool = False,
    ) -> list[Path]:
        """Saves every image of a result; never overwrites an existing file.

        A file appears under its final name only once it is a complete image and has been flushed
        to disk. Images withheld as unsafe are skipped.

        Args:
            result: a result with images.
            directory: the target directory; created if missing.
            name: the file name without suffix; by default the request ID. Characters not valid in
                file names become `_`.
            allow_private: also download from private IP addresses; those of the gateway's own
                network are always allowed.

        Returns:
            The paths of the files, in the order of the images.

        Raises:
            TaskError: the result has no images yet; wait for its task.
            DownloadError: an image could not be saved; the paths of those saved are in `saved`.
        """
        with already_paid():
            return await save_all(
                self._downloader, result, directory, name=name, allow_private=allow_private
            )

    async def download(
        self,
        image_or_url: GeneratedImage | str,
        path: str | os.PathLike[str],
        *,
        allow_private: bool = False,
    ) -> Path:
        """Downloads one image to `path`, replacing any existing file.

        Args:
            image_or_url: an image of a result, or a URL.
            path: the file to write; its directory must exist. A symbolic link is replaced, not
                followed.
            allow_private: see `save`.

        Returns:
            The path.

        Raises:
            InvalidRequestError: the image was withheld.
            DownloadError: it could not be downloaded, or is not a complete image.
        """
        with already_paid():
            return await save_as(self._downloader, image_or_url, path, allow_private=allow_private)


def _transport(
    config: ClientConfig, retry: RetryPolicy | None, pool: Pool, on_event: OnEvent | None
) -> Transport:
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise ConfigurationError(f"retry is {retry!r}; a RetryPolicy(...) is expected.")
    if on_event is not None and not callable(on_event):
        raise ConfigurationError(f"on_event is {on_event!r}; a function is expected.")
    return Transport(config=config, retry=retry or RetryPolicy(), pool=pool, on_event=on_event)
