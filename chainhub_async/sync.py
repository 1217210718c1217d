"""`ChainHub`: the gateway for callers without an event loop.

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
from chainhub_async.portal import Portal
from chainhub_async.resources.ideogram import AsyncIdeogram
from chainhub_async.transport.http import OnEvent
from chainhub_async.transport.messages import Response
from chainhub_async.transport.retry import RetryPolicy

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class Ideogram:
    """Ideogram's endpoints. Reached as `hub.ideogram`."""

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

        None means the server's default throughout. Every enumeration also takes plain text, which
        is sent as given. `image` and `prompt` are the gateway's own documentation; the other
        parameters are Ideogram's, which the gateway refers to and may ignore.

        Args:
            image: the photograph: JPEG, PNG or WebP, at most 10 MiB. A path, `bytes`, a file
                opened in binary mode (plain or asynchronous; never closed, read from its current
                position), or an `ImageSource`.
            prompt: what the new background shows.
            magic_prompt: whether the prompt may be rewritten.
            num_images: how many images to make, 1 to 8. Each is billed.
            seed: 0 to 2147483647, for results that can be repeated.
            rendering_speed: speed against quality.
            style_preset: one of the named styles.
            color_palette: a `ColorPalette`, or the name of one.
            style_codes: style codes of 8 hexadecimal digits; not with `style_reference_images`.
            style_reference_images: images in any form that `image` takes, 10 MiB in all.
            extra_fields: further form fields, for what this version has no parameter for.
            timeout: deadlines of this call, in place of the client's.

        Returns:
            Images, or a task that the gateway has not finished.

        Raises:
            InvalidRequestError: the call was refused here, before any connection.
            ImageChangedError: the file changed while it was being sent.
            APIError: the gateway refused the call or failed.
            TransportError: no usable answer came; `billed` tells whether it may have been paid.
            TaskFailedError: the answer holds a task that has already failed.
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
    """A client of the gateway for blocking callers.

    It does what `AsyncChainHub` does, on an event loop in a thread of its own that the first call
    starts. Safe to use from many threads, and in a notebook, whose own loop it holds up meanwhile.
    A process forked after its first use needs another client. Close it with `with` or `close`; a
    client that is merely dropped closes itself.

    Args:
        api_key: the key; by default the environment variable `CHAINHUB_API_KEY`.
        base_url: the gateway's address; by default `CHAINHUB_BASE_URL`, then
            `https://api.chainhub.tech`. The key is sent there and nowhere else.
        timeout: deadlines in seconds.
        retry: when to send again what failed without having been executed.
        limits: how much to do at once.
        proxy: the proxy's `http://` or `https://` address; by default that of the environment
            (`HTTPS_PROXY`, `NO_PROXY` …); `""` for none.
        ssl_context: for a CA of your own: `ssl.create_default_context(cafile=...)`.
        on_event: called with each `Event`, on the client's own thread.

    Attributes:
        ideogram: the Ideogram endpoints.

    Raises:
        ConfigurationError: something is missing or cannot be used; the sentence says what.
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
        self._bind(hub, Portal(hub._transport.pool.close))  # noqa: SLF001

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
        """Closes connections and ends the thread. Calls under way fail; derived clients close."""
        self._portal.close()

    def with_options(self, **changes: Unpack[ClientOptions]) -> Self:
        """Returns a client with other settings that shares this one's connections and limits.

        Args:
            changes: any of `api_key`, `base_url`, `timeout`, `retry`, `proxy`, `on_event`, as the
                class itself takes them; None means the default again.

        Raises:
            ConfigurationError: a setting cannot be changed, or not to this value.
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
        """Sends any other call of the gateway, with the same care for what it may cost.

        Args:
            method: the HTTP method. Anything but GET, HEAD and OPTIONS is taken to cost money.
            path: the path after the base URL, beginning with `/`.
            json: a body to send as JSON.
            form: the fields of a multipart body: text, numbers, booleans, `ImageSource`, lists of
                these, or dicts, which are sent as JSON.
            params: the query.
            headers: further headers.
            images: how many images the call makes, for `Limits(in_flight=...)`.
            timeout: deadlines of this call, in place of the client's.

        Returns:
            The answer, with a 2xx status; `answer.json()` reads its body.

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
        """Asks for a task until it has ended. Asking is free.

        No page documents where an Ideogram task of this gateway is asked for, so the path is the
        caller's to name; nothing is ever polled by itself.

        Args:
            task: the task of a result.
            path: where to ask, after the base URL, with `{task_id}` in it.
            interval: seconds between two questions.
            timeout: seconds in all.

        Returns:
            The result with its images.

        Raises:
            TaskFailedError: the task ended without a result.
            TaskTimeoutError: the time was over first; wait again for the `task` it carries.
            ChainHubError: the gateway refuses to be asked.
        """
        return self._portal.run(
            self._async.wait, task, path=path, interval=interval, timeout=timeout
        )

    def save(
        self,
        result: ReplaceBackgroundResult,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        allow_private: bool = False,
    ) -> list[Path]:
        """Saves every image of a result; nothing that exists is overwritten.

        A file appears under its name only when it is complete, is an image, and has reached the
        disk. Images withheld as unsafe are passed over.

        Args:
            result: a result with images.
            directory: where to; made if it does not exist.
            name: what the files are called, without suffix; by default after the request's id.
                What cannot stand in a file name is replaced.
            allow_private: also fetch from private addresses; those of the gateway's own network
                are allowed anyway.

        Returns:
            The files, in the order of the images.

        Raises:
            InvalidRequestError: the result holds no images yet.
            DownloadError: an image could not be saved; the others have been, see `saved`.
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
        """Downloads one image to the very path given, replacing what is there.

        Args:
            image_or_url: an image of a result, or an address.
            path: the file to write; its directory must exist. A link there is replaced, not
                followed.
            allow_private: see `save`.

        Returns:
            The path.

        Raises:
            InvalidRequestError: the image was withheld, or the path is a directory.
            DownloadError: it could not be downloaded, or is no whole image.
        """
        return self._portal.run(
            self._async.download, image_or_url, path, allow_private=allow_private
        )
