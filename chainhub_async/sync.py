"""`ChainHub`: the blocking client.

Every method runs the coroutine of the same name; nothing is implemented twice.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from chainhub_async.client import AsyncChainHub, ClientOptions
from chainhub_async.config import Limits, Timeout
from chainhub_async.images import ImageInput
from chainhub_async.models import (
    ColorPalette,
    GeneratedImage,
    MagicPrompt,
    PaletteName,
    RenderingSpeed,
    ReplaceBackgroundResult,
    StylePreset,
    Task,
)
from chainhub_async.portal import Portal, TiedPortal
from chainhub_async.resources.ideogram import AsyncIdeogram
from chainhub_async.transport.http import OnEvent
from chainhub_async.transport.messages import Response
from chainhub_async.transport.retry import RetryPolicy

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from chainhub_async.batch.blocking import Batch


class Ideogram:
    """The Ideogram endpoints, available as `hub.ideogram`."""

    def __init__(self, endpoints: AsyncIdeogram, portal: Portal) -> None:
        self._async = endpoints
        self._portal = portal

    def replace_background(
        self,
        image: ImageInput,
        *,
        prompt: str | None = None,
        magic_prompt: MagicPrompt | str | None = None,
        num_images: int | None = None,
        seed: int | None = None,
        rendering_speed: RenderingSpeed | str | None = None,
        style_preset: StylePreset | str | None = None,
        color_palette: ColorPalette | PaletteName | str | None = None,
        style_codes: Sequence[str] | None = None,
        style_reference_images: Sequence[ImageInput] | None = None,
        extra_fields: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
    ) -> ReplaceBackgroundResult:
        """Replaces the background of a photograph. Each accepted call costs money.

        None always means the server's default. Every enumeration also accepts plain text, which is
        sent unchanged. The gateway documents only `image` and `prompt`; the other parameters are
        documented by Ideogram, and the gateway may ignore them.

        Args:
            image: the photograph: JPEG, PNG or WebP, at most 10 MiB. A path, `bytes`, a file
                opened in binary mode (plain or asynchronous; never closed, read from its current
                position), or an `ImageSource`.
            prompt: what the new background shows.
            magic_prompt: whether the gateway may rewrite the prompt.
            num_images: how many images to make, 1 to 8. Each is billed.
            seed: 0 to 2147483647, for reproducible results.
            rendering_speed: the speed/quality trade-off.
            style_preset: one of the named styles.
            color_palette: a `ColorPalette`, or a palette's name.
            style_codes: style codes of 8 hexadecimal digits; not with `style_reference_images`.
            style_reference_images: images in any form that `image` takes, 10 MiB in total.
            extra_fields: additional form fields, for options without a parameter here.
            timeout: timeouts for this call, in place of the client's.

        Returns:
            Images, or a task that the gateway has not finished.

        Raises:
            InvalidRequestError: the call was refused before any connection was made.
            ImageChangedError: the file changed while it was being sent.
            APIError: the gateway refused the call or failed.
            TransportError: there was no usable response; `billed` says whether it may have cost
                money.
            TaskFailedError: the response contains a task that has already failed.
        """
        return self._portal.run(
            self._async.replace_background,
            image,
            prompt=prompt,
            magic_prompt=magic_prompt,
            num_images=num_images,
            seed=seed,
            rendering_speed=rendering_speed,
            style_preset=style_preset,
            color_palette=color_palette,
            style_codes=style_codes,
            style_reference_images=style_reference_images,
            extra_fields=extra_fields,
            timeout=timeout,
        )


class ChainHub:
    """The blocking client for the gateway.

    It wraps `AsyncChainHub`, running it on an event loop in a background thread that the first call
    starts. Thread-safe. In a notebook it blocks the event loop during the call. A forked process
    may go on using it, with connections and limits of its own. Ctrl-C cancels the call that the
    main thread is waiting for; the `__context__` of the `KeyboardInterrupt` is a
    `CallCancelledError` whose `billed` says whether the call may have cost money. Close it with
    `with` or `close`; a client that is garbage collected closes itself.

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
        on_event: called with each `Event`, on the client's background thread.

    Attributes:
        ideogram: the Ideogram endpoints.

    Raises:
        ConfigurationError: a setting is missing or invalid; the message says which.
    """

    ideogram: Ideogram

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
        on_event: OnEvent | None = None,
    ) -> None:
        try:
            hub = AsyncChainHub(
                api_key,
                base_url=base_url,
                timeout=timeout,
                retry=retry,
                limits=limits,
                proxy=proxy,
                ssl_context=ssl_context,
                on_event=on_event,
            )
        finally:
            # Reports of errors show the locals of frames.
            del api_key, proxy
        # Not `hub.aclose`: the hub refers to `on_event`, and that perhaps to this client.
        self._bind(hub, Portal(hub._transport.pool.close))  # noqa: SLF001 - its own

    def _bind(self, hub: AsyncChainHub, portal: Portal) -> None:
        self._async = hub
        self._portal = portal
        self.ideogram = Ideogram(hub.ideogram, portal)

    def __repr__(self) -> str:
        return repr(self._async).removeprefix("Async") if "ideogram" in vars(self) else "ChainHub()"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections and thread; calls in progress fail, as do later ones.

        So do those of all clients that share them by `with_options`, whichever is closed.
        """
        self._portal.close()

    def with_options(self, **changes: Unpack[ClientOptions]) -> Self:
        """Returns a client with different settings that shares this one's connections and limits.

        Args:
            changes: any of `api_key`, `base_url`, `timeout`, `retry`, `proxy`, `on_event`, as
                accepted by the class. None restores the default.

        Raises:
            ConfigurationError: a setting cannot be changed, or its new value is invalid.
        """
        client = object.__new__(type(self))
        try:
            client._bind(self._async.with_options(**changes), self._portal)
        finally:
            cast("dict[str, Any]", changes).clear()
        return client

    def request(
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
        return self._portal.run(
            self._async.request,
            method,
            path,
            json=json,
            form=form,
            params=params,
            headers=headers,
            images=images,
            timeout=timeout,
        )

    def wait(
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
        return self._portal.run(
            self._async.wait, task, path=path, interval=interval, timeout=timeout
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
    ) -> Batch:
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
        from chainhub_async.batch.blocking import Batch  # noqa: PLC0415 - see the twin

        batch = self._async.batch(
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

        return Batch(batch, TiedPortal(self._portal, batch._cancellation))  # noqa: SLF001 - its own

    def save(
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
        return self._portal.run(
            self._async.save, result, directory, name=name, allow_private=allow_private
        )

    def download(
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
        return self._portal.run(
            self._async.download, image_or_url, path, allow_private=allow_private
        )
