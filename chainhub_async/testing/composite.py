"""The upload's subject in front of another background: crude, fast, and labelled as fake."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from chainhub_async.testing.scenery import draw_scene

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LABEL", "measure", "render"]

LABEL = "chainhub emulator: not a real result"

# The longest side of a result. Ideogram's own results are of about this size, and a larger one
# would only make the emulator slow.
MAX_SIDE = 1536
# The mask is estimated on a thumbnail of this longest side: coarse, and done in milliseconds.
MASK_SIDE = 192
# The Exif tag for how the camera was held, and its values for "on its side".
ORIENTATION = 0x0112
LYING = frozenset({5, 6, 7, 8})
# Of the guess of the place, and of a mask that is being judged, both from 0 to 255.
SURELY_INSIDE, SURELY_OUTSIDE, HALF = 170, 60, 127
# Below this the label could not be read.
MIN_LABELLED_SIDE = 96


def measure(upload: bytes) -> tuple[int, int]:
    """Return the size of the result; for most formats only the header is read.

    Args:
        upload: An image file.

    Returns:
        Width and height in pixels, the photograph standing upright.

    Raises:
        Exception: Whatever Pillow raises for a file that it cannot read.
    """
    photo = Image.open(io.BytesIO(upload))
    width, height = photo.size
    if photo.getexif().get(ORIENTATION) in LYING:
        width, height = height, width
    scale = min(1.0, MAX_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def render(upload: bytes, size: tuple[int, int], prompt: str, seed: int) -> bytes:
    """Make the result image.

    Args:
        upload: An image file.
        size: As returned by `measure`.
        prompt: What the background shows.
        seed: A different seed gives a different background.

    Returns:
        A PNG file.

    Raises:
        Exception: Whatever Pillow raises for a file that it cannot decode.
    """
    photo = _resized(_upright_rgb(upload), size)
    result = Image.composite(photo, draw_scene(size, prompt, seed), _subject_mask(photo))
    if min(size) >= MIN_LABELLED_SIDE:
        _draw_label(result, prompt)
    file = io.BytesIO()
    result.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _upright_rgb(upload: bytes) -> Image.Image:
    photo = ImageOps.exif_transpose(Image.open(io.BytesIO(upload)))
    if photo.mode.startswith("I"):
        # convert() would clip 16 bits to white instead of scaling them.
        photo = _mapped(photo.convert("I"), lambda value: value * (1 / 256)).convert("L")
    if photo.has_transparency_data:
        # What was transparent becomes one flat colour, which the mask then finds to be background.
        photo = photo.convert("RGBA")
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
    return photo.convert("RGB")


def _subject_mask(photo: Image.Image) -> Image.Image:
    """Estimate where the subject is: 255 there, 0 in the background, a soft edge between.

    The subject is assumed to be near the middle and to differ in colour from the borders. From a
    first guess of the place alone, the share of each colour inside and outside is counted, every
    pixel is judged by its colour, its place and its neighbours, and the counting repeated.
    """
    thumbnail = photo.copy()
    thumbnail.thumbnail((MASK_SIDE, MASK_SIDE))
    colors = _color_indexes(thumbnail)
    place = _place_prior(thumbnail.size)
    inside = _above(place, SURELY_INSIDE)
    outside = ImageChops.invert(_above(place, SURELY_OUTSIDE))
    for _ in range(5):
        judged = ImageChops.blend(_color_likelihood(colors, inside, outside), place, 0.38)
        inside = _above(judged.filter(ImageFilter.GaussianBlur(2)), HALF)
        outside = ImageChops.invert(inside)
    closed = inside.filter(ImageFilter.MaxFilter(11)).filter(ImageFilter.MinFilter(11))
    rounded = _central_piece(closed).filter(ImageFilter.GaussianBlur(3))
    return _resized(_above(rounded, HALF).filter(ImageFilter.GaussianBlur(1)), photo.size)


def _color_indexes(picture: Image.Image) -> Image.Image:
    reduced = picture.filter(ImageFilter.MedianFilter(3)).quantize(48)
    return Image.frombytes("L", reduced.size, reduced.tobytes())


def _place_prior(size: tuple[int, int]) -> Image.Image:
    """Bright in the middle; a subject often reaches the lower edge, rarely the others."""
    width, height = size
    prior = Image.new("L", size, 20)
    box = (width * 0.14, height * 0.08, width * 0.86, height * 1.3)
    ImageDraw.Draw(prior).ellipse(box, fill=200)
    return prior.filter(ImageFilter.GaussianBlur(max(size) / 9))


def _color_likelihood(
    colors: Image.Image, inside: Image.Image, outside: Image.Image
) -> Image.Image:
    within, without = colors.histogram(inside), colors.histogram(outside)
    balance = (sum(within) + 1) / (sum(without) + 1)
    counts = list(zip(within, without, strict=True))
    return _mapped(colors, [255 * (a + 1) / (a + 1 + (b + 1) * balance) for a, b in counts])


def _central_piece(mask: Image.Image) -> Image.Image:
    """Keep the piece of the mask under the middle, and fill its holes."""
    seed = (mask.width // 2, round(mask.height * 0.55))
    if not mask.getpixel(seed):
        return mask
    flooded = mask.copy()
    ImageDraw.floodfill(flooded, seed, HALF)
    piece = _mapped(flooded, [255 * (value == HALF) for value in range(256)])
    framed = ImageOps.expand(piece, 1, 0)  # so that the outside is one region
    ImageDraw.floodfill(framed, (0, 0), HALF)
    return _mapped(ImageOps.crop(framed, 1), [255 * (value != HALF) for value in range(256)])


def _above(picture: Image.Image, threshold: int) -> Image.Image:
    return _mapped(picture, [255 * (value > threshold) for value in range(256)])


# Two doors to Pillow, whose signatures name numpy types that are unknown where numpy is missing.


def _mapped(picture: Image.Image, table: list[float] | Callable[[Any], Any]) -> Image.Image:
    return picture.point(table)  # pyright: ignore[reportUnknownMemberType] - Pillow's


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture.resize(  # pyright: ignore[reportUnknownMemberType] - Pillow's
        size, Image.Resampling.BICUBIC, reducing_gap=2.0
    )


def _draw_label(result: Image.Image, prompt: str) -> None:
    width, height = result.size
    size = max(9, min(width // 36, height // 26))
    font = ImageFont.load_default(size)
    top = height - round(size * 3.2)
    strip = Image.new("RGB", (width, height - top), (20, 20, 24))
    draw = ImageDraw.Draw(strip)
    # The built-in font has Western letters only.
    shown = " ".join(prompt.split()).encode("ascii", "replace").decode()[:200]
    # On the right: where before and after share a frame, the left is the photograph's.
    for text, top_of_text, colour in ((LABEL, 0.3, (255, 200, 60)), (shown, 1.7, (235, 235, 235))):
        left = max(size // 2, strip.width - size // 2 - draw.textlength(text, font=font))
        draw.text((left, size * top_of_text), text, fill=colour, font=font)
    result.paste(strip, (0, top))
