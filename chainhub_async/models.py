"""Options, palettes and results, as frozen values without I/O.

Enumerations are open: every option that takes one also accepts any text, which is sent unchanged.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from chainhub_async import times
from chainhub_async.errors import InvalidOptionError

if TYPE_CHECKING:
    # Images bring an event loop along, which values do without.
    from chainhub_async.images import ImageInput


class _Text(str, enum.Enum):
    def __str__(self) -> str:
        return str(self.value)


class MagicPrompt(_Text):
    """Whether the gateway may rewrite the prompt (Ideogram's documentation)."""

    AUTO = "AUTO"
    ON = "ON"
    OFF = "OFF"


class RenderingSpeed(_Text):
    """The speed/quality trade-off (Ideogram's documentation)."""

    FLASH = "FLASH"
    TURBO = "TURBO"
    BALANCED = "BALANCED"
    DEFAULT = "DEFAULT"
    QUALITY = "QUALITY"


class PaletteName(_Text):
    """The named palettes (Ideogram's documentation)."""

    EMBER = "EMBER"
    FRESH = "FRESH"
    JUNGLE = "JUNGLE"
    MAGIC = "MAGIC"
    MELON = "MELON"
    MOSAIC = "MOSAIC"
    PASTEL = "PASTEL"
    ULTRAMARINE = "ULTRAMARINE"


class StylePreset(_Text):
    """The 62 style presets (Ideogram's documentation)."""

    STYLE_80S_ILLUSTRATION = "80S_ILLUSTRATION"
    STYLE_90S_NOSTALGIA = "90S_NOSTALGIA"
    ABSTRACT_ORGANIC = "ABSTRACT_ORGANIC"
    ANALOG_NOSTALGIA = "ANALOG_NOSTALGIA"
    ART_BRUT = "ART_BRUT"
    ART_DECO = "ART_DECO"
    ART_POSTER = "ART_POSTER"
    AURA = "AURA"
    AVANT_GARDE = "AVANT_GARDE"
    BAUHAUS = "BAUHAUS"
    BLUEPRINT = "BLUEPRINT"
    BLURRY_MOTION = "BLURRY_MOTION"
    BRIGHT_ART = "BRIGHT_ART"
    C4D_CARTOON = "C4D_CARTOON"
    CHILDRENS_BOOK = "CHILDRENS_BOOK"
    COLLAGE = "COLLAGE"
    COLORING_BOOK_I = "COLORING_BOOK_I"
    COLORING_BOOK_II = "COLORING_BOOK_II"
    CUBISM = "CUBISM"
    DARK_AURA = "DARK_AURA"
    DOODLE = "DOODLE"
    DOUBLE_EXPOSURE = "DOUBLE_EXPOSURE"
    DRAMATIC_CINEMA = "DRAMATIC_CINEMA"
    EDITORIAL = "EDITORIAL"
    EMOTIONAL_MINIMAL = "EMOTIONAL_MINIMAL"
    ETHEREAL_PARTY = "ETHEREAL_PARTY"
    EXPIRED_FILM = "EXPIRED_FILM"
    FLAT_ART = "FLAT_ART"
    FLAT_VECTOR = "FLAT_VECTOR"
    FOREST_REVERIE = "FOREST_REVERIE"
    GEO_MINIMALIST = "GEO_MINIMALIST"
    GLASS_PRISM = "GLASS_PRISM"
    GOLDEN_HOUR = "GOLDEN_HOUR"
    GRAFFITI_I = "GRAFFITI_I"
    GRAFFITI_II = "GRAFFITI_II"
    HALFTONE_PRINT = "HALFTONE_PRINT"
    HIGH_CONTRAST = "HIGH_CONTRAST"
    HIPPIE_ERA = "HIPPIE_ERA"
    ICONIC = "ICONIC"
    JAPANDI_FUSION = "JAPANDI_FUSION"
    JAZZY = "JAZZY"
    LONG_EXPOSURE = "LONG_EXPOSURE"
    MAGAZINE_EDITORIAL = "MAGAZINE_EDITORIAL"
    MINIMAL_ILLUSTRATION = "MINIMAL_ILLUSTRATION"
    MIXED_MEDIA = "MIXED_MEDIA"
    MONOCHROME = "MONOCHROME"
    NIGHTLIFE = "NIGHTLIFE"
    OIL_PAINTING = "OIL_PAINTING"
    OLD_CARTOONS = "OLD_CARTOONS"
    PAINT_GESTURE = "PAINT_GESTURE"
    POP_ART = "POP_ART"
    RETRO_ETCHING = "RETRO_ETCHING"
    RIVIERA_POP = "RIVIERA_POP"
    SPOTLIGHT_80S = "SPOTLIGHT_80S"
    STYLIZED_RED = "STYLIZED_RED"
    SURREAL_COLLAGE = "SURREAL_COLLAGE"
    TRAVEL_POSTER = "TRAVEL_POSTER"
    VINTAGE_GEO = "VINTAGE_GEO"
    VINTAGE_POSTER = "VINTAGE_POSTER"
    WATERCOLOR = "WATERCOLOR"
    WEIRD = "WEIRD"
    WOODBLOCK_PRINT = "WOODBLOCK_PRINT"


@attrs.frozen
class ColorMember:
    """One colour of a palette.

    Attributes:
        color_hex: `#RGB` or `#RRGGBB`.
        color_weight: 0.05 to 1.0, or None for the server's default.

    Raises:
        InvalidOptionError: the colour or its weight is invalid.
    """

    color_hex: str
    color_weight: float | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.color_hex, str) or not re.fullmatch(
            "#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})", self.color_hex
        ):
            raise InvalidOptionError(
                f"color_hex is {self.color_hex!r}; a colour is written #RGB or #RRGGBB."
            )
        weight = self.color_weight
        if weight is not None and not (_is_number(weight) and 0.05 <= weight <= 1.0):
            raise InvalidOptionError(f"color_weight is {weight!r}; 0.05 to 1.0 is allowed.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _members(value: Sequence[ColorMember] | None) -> tuple[ColorMember, ...] | None:
    if value is None:
        return None
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidOptionError(
            f"members is a {type(value).__name__}; a list of ColorMember is expected."
        )
    return tuple(value)


@attrs.frozen(kw_only=True)
class ColorPalette:
    """Colours to guide the image: a named palette, or one to eight colours.

    Attributes:
        name: a `PaletteName`, or any other name the server may support.
        members: one to eight `ColorMember`.

    Raises:
        InvalidOptionError: both or neither are given, or the number of members is out of range.
    """

    name: PaletteName | str | None = None
    members: Sequence[ColorMember] | None = attrs.field(default=None, converter=_members)

    def __attrs_post_init__(self) -> None:
        if (self.name is None) == (self.members is None):
            given = "both" if self.name is not None else "neither"
            raise InvalidOptionError(
                f"A colour palette takes either a name or members; {given} were given."
            )
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise InvalidOptionError(f"A palette's name is {self.name!r}; text is expected.")
        if self.members is None:
            return
        if not 1 <= len(self.members) <= 8:
            raise InvalidOptionError(
                f"A colour palette has {len(self.members)} members; 1 to 8 are allowed."
            )
        for member in self.members:
            if not isinstance(member, ColorMember):
                raise InvalidOptionError(f"{member!r} is not a ColorMember.")


@attrs.frozen(kw_only=True)
class ReplaceBackground:
    """The arguments of one `replace_background` call, as a value that can be kept and compared.

    It takes the arguments of `hub.ideogram.replace_background`. They are checked when the call is
    made, so that one invalid entry in a batch is one refused call and not the end of the batch.
    """

    image: ImageInput = attrs.field(kw_only=False)
    prompt: str | None = None
    magic_prompt: MagicPrompt | str | None = None
    num_images: int | None = None
    seed: int | None = None
    rendering_speed: RenderingSpeed | str | None = None
    style_preset: StylePreset | str | None = None
    color_palette: ColorPalette | PaletteName | str | None = None
    style_codes: Sequence[str] | None = None
    style_reference_images: Sequence[ImageInput] | None = None
    extra_fields: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class GeneratedImage:
    """One image of a result.

    Attributes:
        url: the download URL; None if the image was withheld as unsafe (it is still billed).
        prompt: the prompt as used.
        resolution: `WIDTHxHEIGHT`.
        is_image_safe: the safety check's verdict, or None if it was not sent.
        seed: the seed as used.
        style_type: as sent by the server, if at all.
        upscaled_resolution: as sent by the server, if at all.
        expires_at: when `url` stops working: as stated by the response or the URL itself, else 24
            hours after the response.
    """

    url: str | None = None
    prompt: str | None = None
    resolution: str | None = None
    is_image_safe: bool | None = None
    seed: int | None = None
    style_type: str | None = None
    upscaled_resolution: str | None = None
    expires_at: datetime | None = None


@attrs.frozen(kw_only=True)
class Task:
    """A call that the gateway accepted and has not finished. It is paid for: keep it.

    Attributes:
        task_id: the gateway's ID of the task.
        task_status: `submitted`, `processing`, `succeed`, `failed`, or any other value sent.
        created_at: Unix milliseconds, as sent.
        updated_at: Unix milliseconds, as sent.
        status_message: the gateway's explanation of a failure.
    """

    task_id: str
    task_status: str = ""
    created_at: int | None = None
    updated_at: int | None = None
    status_message: str | None = None

    @property
    def created(self) -> datetime | None:
        """`created_at` as an aware datetime."""
        return times.moment(self.created_at)

    @property
    def updated(self) -> datetime | None:
        """`updated_at` as an aware datetime."""
        return times.moment(self.updated_at)


@attrs.frozen(kw_only=True)
class ReplaceBackgroundResult:
    """The result of a call: images, or a task that will produce them.

    Attributes:
        images: the images of the response, in order; empty while a task is unfinished.
        task: the task of the response, or None if it contained images directly.
        code: the envelope's code (0 is success), or None.
        message: the envelope's message, or None.
        request_id: the gateway's ID for the call.
        created: when the images were made, according to the gateway.
        received_at: when the response was read, by the local clock.
        raw: the response's JSON, including fields unknown to this version.
    """

    images: tuple[GeneratedImage, ...] = ()
    task: Task | None = None
    code: str | int | None = None
    message: str | None = None
    request_id: str | None = None
    created: datetime | None = None
    received_at: datetime
    raw: Any = attrs.field(default=None, repr=False, eq=False)
