"""`hub.ideogram`: the Ideogram endpoints of the gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from chainhub_async.config import Timeout, timeout_or
from chainhub_async.errors import InvalidImageError, InvalidOptionError
from chainhub_async.images import IMAGE_LIMIT, ImageInput, ImageSource
from chainhub_async.models import (
    ColorPalette,
    MagicPrompt,
    PaletteName,
    RenderingSpeed,
    ReplaceBackground,
    ReplaceBackgroundResult,
    StylePreset,
)
from chainhub_async.resources import fields
from chainhub_async.transport import decode
from chainhub_async.transport.kept import checked, let_go
from chainhub_async.transport.messages import Part, Request
from chainhub_async.transport.turns import take_turn

if TYPE_CHECKING:
    from chainhub_async.transport.http import Transport

# API description: `paths`.
_REPLACE_BACKGROUND = "/ideogram/v1/ideogram-v3/replace-background"
_FIELDS = frozenset(field.name for field in attrs.fields(ReplaceBackground)) - {"extra_fields"}


class AsyncIdeogram:
    """The Ideogram endpoints, available as `hub.ideogram`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def replace_background(
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
        call = ReplaceBackground(
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
        )
        limits = timeout_or(self._transport.config.timeout, timeout)
        # Before the image is read, which on a loop that cannot be used fails in other words.
        await self._transport.pool.bind()
        options, images = checked_options(call), [call.image, *style_references(call)]
        sources: list[ImageSource] = []
        try:
            for each in images:
                sources.append(await checked(each))  # noqa: PERF401 - those before one that fails
            # Files that were opened for many calls meanwhile are not sent all in one turn.
            await take_turn()
            request = request_of(call, options, sources[0], sources[1:], limits)
            return await self._transport.send(request, decode.result)
        finally:
            let_go(sources)


def checked_options(call: ReplaceBackground) -> list[Part]:
    """Checks everything about a call but its images, and returns the fields for it."""
    if call.style_codes is not None and call.style_reference_images is not None:
        raise InvalidOptionError(
            "style_codes and style_reference_images cannot be combined; pass one of them."
        )
    return [
        *fields.text("prompt", call.prompt),
        *fields.option("magic_prompt", call.magic_prompt),
        *fields.integer("num_images", call.num_images, 1, 8),
        *fields.integer("seed", call.seed, 0, 2**31 - 1),
        *fields.option("rendering_speed", call.rendering_speed),
        *fields.option("style_preset", call.style_preset),
        *fields.palette("color_palette", call.color_palette),
        *fields.style_codes("style_codes", call.style_codes),
        *fields.further("extra_fields", call.extra_fields, _FIELDS),
    ]


def style_references(call: ReplaceBackground) -> list[Any]:
    """Returns the style reference images of a call as they were given."""
    return fields.items("style_reference_images", call.style_reference_images, "images")


def request_of(
    call: ReplaceBackground,
    options: list[Part],
    image: ImageSource,
    references: list[ImageSource],
    timeout: Timeout,
) -> Request:
    """Returns the request of a call whose parts were checked.

    Raises:
        InvalidImageError: the style reference images are too large together.
    """
    total = sum(source.size for source in references)
    if total > IMAGE_LIMIT:
        raise InvalidImageError(
            f"The style reference images total {total:,} bytes; at most {IMAGE_LIMIT:,} "
            "(10 MiB) are allowed."
        )
    return Request(
        method="POST",
        path=_REPLACE_BACKGROUND,
        parts=(
            *options,
            Part.image("image", image),
            *(Part.image("style_reference_images", source) for source in references),
        ),
        images=call.num_images or 1,
        timeout=timeout,
    )
