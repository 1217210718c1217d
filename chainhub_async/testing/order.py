"""Turns the parts of a form into one checked order: all rules about the endpoint's fields."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, cast

import attrs

from chainhub_async.testing.refusals import bad_request, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chainhub_async.testing.multipart_strict import Part

__all__ = ["MAX_IMAGE_BYTES", "Order", "read_order", "sniff"]

# "10 megabytes" in the API description, read as MiB: below that a server decides for itself.
MAX_IMAGE_BYTES = 10 * 1024 * 1024
# The fields and ranges below are those of Ideogram's documentation of replace-background (v3).
MAX_NUM_IMAGES = 8
MAX_SEED = 2**31 - 1
MAX_PALETTE_MEMBERS = 8
MIN_COLOR_WEIGHT, MAX_COLOR_WEIGHT = 0.05, 1.0


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAGIC_PROMPTS = frozenset({"AUTO", "ON", "OFF"})
RENDERING_SPEEDS = frozenset({"FLASH", "TURBO", "BALANCED", "DEFAULT", "QUALITY"})
PALETTES = _names("EMBER FRESH JUNGLE MAGIC MELON MOSAIC PASTEL ULTRAMARINE")
STYLE_PRESETS = _names(
    """
    80S_ILLUSTRATION 90S_NOSTALGIA ABSTRACT_ORGANIC ANALOG_NOSTALGIA ART_BRUT ART_DECO ART_POSTER
    AURA AVANT_GARDE BAUHAUS BLUEPRINT BLURRY_MOTION BRIGHT_ART C4D_CARTOON CHILDRENS_BOOK COLLAGE
    COLORING_BOOK_I COLORING_BOOK_II CUBISM DARK_AURA DOODLE DOUBLE_EXPOSURE DRAMATIC_CINEMA
    EDITORIAL EMOTIONAL_MINIMAL ETHEREAL_PARTY EXPIRED_FILM FLAT_ART FLAT_VECTOR FOREST_REVERIE
    GEO_MINIMALIST GLASS_PRISM GOLDEN_HOUR GRAFFITI_I GRAFFITI_II HALFTONE_PRINT HIGH_CONTRAST
    HIPPIE_ERA ICONIC JAPANDI_FUSION JAZZY LONG_EXPOSURE MAGAZINE_EDITORIAL MINIMAL_ILLUSTRATION
    MIXED_MEDIA MONOCHROME NIGHTLIFE OIL_PAINTING OLD_CARTOONS PAINT_GESTURE POP_ART RETRO_ETCHING
    RIVIERA_POP SPOTLIGHT_80S STYLIZED_RED SURREAL_COLLAGE TRAVEL_POSTER VINTAGE_GEO VINTAGE_POSTER
    WATERCOLOR WEIRD WOODBLOCK_PRINT
    """
)

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_STYLE_CODE = re.compile(r"[0-9A-Fa-f]{8}")
_COLOR = re.compile(r"#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})")


@attrs.frozen(kw_only=True)
class Order:
    """One accepted call: what was requested, after all checks.

    Attributes:
        image: The photograph's bytes.
        image_sha256: Their SHA-256, in hex.
        prompt: What the new background shows; empty when none was sent.
        num_images: How many images are made, and billed.
        seed: As sent, or None.
        fields: Every other text field sent, by name.
    """

    image: bytes = attrs.field(repr=False)
    image_sha256: str
    prompt: str = ""
    num_images: int = 1
    seed: int | None = None
    fields: Mapping[str, str] = attrs.field(factory=dict[str, str])


def read_order(parts: Sequence[Part], *, strict_fields: bool = True) -> Order:
    """Check a form against everything that is documented about its fields.

    Args:
        parts: The form.
        strict_fields: Refuse a field that is not documented; otherwise it is ignored.

    Returns:
        The order.

    Raises:
        RefusalError: 400 naming the field, or 413 for an image that is too large.
    """
    fields: dict[str, list[Part]] = {}
    for part in parts:
        if part.name in _CHECKS:
            fields.setdefault(part.name, []).append(part)
        elif strict_fields:
            raise bad_request(f"{part.name!r} is not a field of this endpoint")
    if "image" not in fields:
        raise bad_request("image is required")
    if "style_codes" in fields and "style_reference_images" in fields:
        raise bad_request("style_codes and style_reference_images cannot be used together")
    for name, sent in fields.items():
        if len(sent) > 1 and name not in _REPEATABLE:
            raise bad_request(f"{name} was sent {len(sent)} times")
        _CHECKS[name](sent)
    return _order(fields)


def _order(fields: Mapping[str, Sequence[Part]]) -> Order:
    image = fields["image"][0].content
    text = {name: sent[0].content.decode() for name, sent in fields.items() if name in _TEXT}
    return Order(
        image=image,
        image_sha256=hashlib.sha256(image).hexdigest(),
        prompt=text.pop("prompt", ""),
        num_images=int(text.pop("num_images", "1")),
        seed=int(text.pop("seed")) if "seed" in text else None,
        fields=text,
    )


def sniff(content: bytes) -> str | None:
    """Return an image's media type by its first bytes; None for all but JPEG, PNG and WebP."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None


def _check_images(parts: Sequence[Part]) -> None:
    for part in parts:
        _check_image(part)
    if sum(len(part.content) for part in parts) > MAX_IMAGE_BYTES:
        raise too_large(f"{parts[0].name} is larger than 10 MiB")


def _check_image(part: Part) -> None:
    if not part.filename:
        raise bad_request(f"{part.name} has no filename, so it is no file part")
    if not part.filename.isascii():
        raise bad_request(f"{part.name} has a filename that is not ASCII")
    found = sniff(part.content)
    if found is None:
        raise bad_request(f"{part.name} is not a JPEG, PNG or WebP image")
    if part.content_type != found:
        raise bad_request(f"{part.name} is {found} by content but {part.content_type} by its part")


def _text(part: Part) -> str:
    if part.filename is not None:
        raise bad_request(f"{part.name} is a text field but was sent with a filename")
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request(f"{part.name} is not UTF-8") from None


def _plain(part: Part) -> str:
    if part.content_type is not None:
        raise bad_request(f"{part.name} is a text field but was sent with a Content-Type")
    return _text(part)


def _check_prompt(parts: Sequence[Part]) -> None:
    _plain(parts[0])


def _one_of(allowed: frozenset[str]) -> Callable[[Sequence[Part]], None]:
    def check(parts: Sequence[Part]) -> None:
        value = _plain(parts[0])
        if value not in allowed:
            raise bad_request(f"{parts[0].name} is {value!r}; allowed: {' '.join(sorted(allowed))}")

    return check


def _integer(low: int, high: int) -> Callable[[Sequence[Part]], None]:
    def check(parts: Sequence[Part]) -> None:
        value = _plain(parts[0])
        if not _INTEGER.fullmatch(value) or not low <= int(value) <= high:
            raise bad_request(f"{parts[0].name} is {value!r}; allowed: {low} to {high}")

    return check


def _check_style_codes(parts: Sequence[Part]) -> None:
    for part in parts:
        value = _plain(part)
        if not _STYLE_CODE.fullmatch(value):
            raise bad_request(f"style_codes has {value!r}; each is one 8-digit hex string")


def _check_palette(parts: Sequence[Part]) -> None:
    if parts[0].content_type != "application/json":
        raise bad_request("color_palette must be sent with the part type application/json")
    palette = _json(_text(parts[0]))
    if palette.keys() == {"name"}:
        if palette["name"] not in PALETTES:
            raise bad_request(f"color_palette.name must be one of {' '.join(sorted(PALETTES))}")
    elif palette.keys() == {"members"}:
        _check_members(palette["members"])
    else:
        raise bad_request("color_palette must hold exactly one of name and members")


def _json(text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise bad_request("color_palette is not a JSON object")
    return cast("dict[str, Any]", value)


def _check_members(members: object) -> None:
    many = cast("list[object]", members) if isinstance(members, list) else []
    if not 1 <= len(many) <= MAX_PALETTE_MEMBERS:
        raise bad_request(f"color_palette.members must list 1 to {MAX_PALETTE_MEMBERS} colors")
    for member in many:
        problem = _member_problem(member)
        if problem:
            raise bad_request(f"color_palette.members has {member!r}: {problem}")


def _member_problem(member: object) -> str | None:
    if not isinstance(member, dict):
        return "not an object"
    fields = cast("dict[str, object]", member)
    if fields.keys() - {"color_hex", "color_weight"}:
        return "only color_hex and color_weight are known"
    color, weight = fields.get("color_hex"), fields.get("color_weight", MAX_COLOR_WEIGHT)
    if not isinstance(color, str) or not _COLOR.fullmatch(color):
        return "color_hex must be #RGB or #RRGGBB"
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        return "color_weight must be a number"
    if not MIN_COLOR_WEIGHT <= weight <= MAX_COLOR_WEIGHT:
        return f"color_weight must be {MIN_COLOR_WEIGHT} to {MAX_COLOR_WEIGHT}"
    return None


_CHECKS: dict[str, Callable[[Sequence[Part]], None]] = {
    "image": _check_images,
    "prompt": _check_prompt,
    "magic_prompt": _one_of(MAGIC_PROMPTS),
    "num_images": _integer(1, MAX_NUM_IMAGES),
    "seed": _integer(0, MAX_SEED),
    "rendering_speed": _one_of(RENDERING_SPEEDS),
    "style_preset": _one_of(STYLE_PRESETS),
    "color_palette": _check_palette,
    "style_codes": _check_style_codes,
    "style_reference_images": _check_images,
}
_REPEATABLE = frozenset({"style_codes", "style_reference_images"})
_TEXT = _CHECKS.keys() - {"image"} - _REPEATABLE
