"""Draw a background from a prompt: simple layered scenes, the same for the same prompt and seed."""

from __future__ import annotations

import colorsys
import hashlib
import random
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["draw_scene"]

Color = tuple[int, int, int]
Points = list[tuple[float, float]]

# The share of windows with light in them.
LIT = 0.35

# Words of a prompt that choose the scene; without one, the prompt's hash does.
_SCENE_WORDS = {
    "forest": "forest tree trees wood woods jungle garden park",
    "hills": "hill hills mountain mountains desert dune dunes snow field meadow grass",
    "sea": "sea beach ocean lake water river harbour harbor sky cloud clouds",
    "city": "city street town skyline building buildings office room night",
    "table": "table marble studio wall floor wooden plain gradient background",
}
# Words that are no colours by name, but have one.
_TINTS = {
    "forest": "seagreen", "tree": "green", "jungle": "green", "garden": "limegreen",
    "desert": "sandybrown", "dunes": "sandybrown", "snow": "aliceblue", "mountain": "slategray",
    "mountains": "slategray", "sea": "steelblue", "ocean": "steelblue", "beach": "turquoise",
    "sky": "deepskyblue", "night": "midnightblue", "sunset": "orangered", "dawn": "lightsalmon",
    "marble": "gainsboro", "wooden": "peru", "city": "slateblue", "meadow": "yellowgreen",
}  # fmt: skip


def draw_scene(size: tuple[int, int], prompt: str, seed: int) -> Image.Image:
    """Draw a background.

    Args:
        size: Width and height in pixels.
        prompt: Its colour words and scene words are used; the rest only varies the picture.
        seed: A different seed gives a visibly different picture.

    Returns:
        An RGB image.
    """
    words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
    digest = hashlib.sha256(f"{prompt}\n{seed}".encode()).digest()
    dice = random.Random(digest)  # noqa: S311 - decoration that must repeat, no secret
    base = _vary(_base_color(words, prompt), dice)
    scene = _gradient(size, _shade(base, 1.5), _shade(base, 0.75))
    draw_kind = _SCENES[_kind(words, digest)]
    draw_kind(scene, base, dice)
    return scene.filter(ImageFilter.GaussianBlur(max(size) / 400))


def _kind(words: list[str], digest: bytes) -> str:
    for word in words:
        for kind, known in _SCENE_WORDS.items():
            if word in known.split():
                return kind
    return sorted(_SCENE_WORDS)[digest[0] % len(_SCENE_WORDS)]


def _base_color(words: list[str], prompt: str) -> Color:
    named = [word for word in words if word in ImageColor.colormap] or [
        _TINTS[word] for word in words if word in _TINTS
    ]
    if named:
        red, green, blue = ImageColor.getrgb(named[0])[:3]
        return red, green, blue
    hue = hashlib.sha256(prompt.encode()).digest()[1] / 256
    return _rgb(hue, 0.6, 0.7)


def _vary(color: Color, dice: random.Random) -> Color:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    return _rgb(
        hue + dice.uniform(-0.07, 0.07),
        min(1.0, saturation * dice.uniform(0.8, 1.2)),
        min(1.0, max(0.35, value * dice.uniform(0.65, 1.2))),
    )


def _rgb(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _shade(color: Color, factor: float) -> Color:
    red, green, blue = (min(255, round(channel * factor)) for channel in color)
    return red, green, blue


def _gradient(size: tuple[int, int], top: Color, bottom: Color) -> Image.Image:
    ramp = Image.linear_gradient("L").resize(size)  # pyright: ignore[reportUnknownMemberType] - Pillow's
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)


def _forest(scene: Image.Image, base: Color, dice: random.Random) -> None:
    draw, (width, height) = ImageDraw.Draw(scene), scene.size
    for layer in range(4):
        color = _shade(base, 0.95 - 0.22 * layer)
        for _ in range(26 - 4 * layer):
            x, foot = dice.uniform(0, width), height * (0.62 + 0.13 * layer)
            tall = height * dice.uniform(0.35, 0.6 + 0.05 * layer)
            half = tall * dice.uniform(0.14, 0.22)
            for tier in range(3):
                peak = foot - tall * (1 - 0.2 * tier)
                brim = foot - tall * (0.55 - 0.25 * tier)
                spread = half * (0.5 + 0.25 * tier)
                draw.polygon([(x, peak), (x - spread, brim), (x + spread, brim)], fill=color)
        draw.rectangle((0, height * (0.6 + 0.13 * layer), width, height), fill=color)


def _hills(scene: Image.Image, base: Color, dice: random.Random) -> None:
    _sun(scene, base, dice)
    draw, (width, height) = ImageDraw.Draw(scene), scene.size
    for layer in range(5):
        level = height * (0.35 + 0.13 * layer)
        ridge: Points = [
            (width * step / 8, level + height * dice.uniform(-0.12, 0.06)) for step in range(9)
        ]
        draw.polygon([*ridge, (width, height), (0, height)], fill=_shade(base, 1.1 - 0.18 * layer))


def _sea(scene: Image.Image, base: Color, dice: random.Random) -> None:
    _sun(scene, base, dice)
    draw, (width, height) = ImageDraw.Draw(scene), scene.size
    horizon = height * dice.uniform(0.35, 0.6)
    draw.rectangle((0, horizon, width, height), fill=_shade(base, 0.6))
    for _ in range(90):
        depth = dice.random()
        x, y = dice.uniform(-0.1, 1) * width, horizon + depth * depth * (height - horizon)
        long, thick = width * (0.04 + 0.2 * depth), 1 + height * 0.006 * depth
        draw.rectangle((x, y, x + long, y + thick), fill=_shade(base, dice.uniform(0.7, 1.3)))


def _city(scene: Image.Image, base: Color, dice: random.Random) -> None:
    draw, (width, height) = ImageDraw.Draw(scene), scene.size
    for layer in range(3):
        color, x = _shade(base, 0.8 - 0.22 * layer), 0.0
        while x < width:
            wide = width * dice.uniform(0.05, 0.12)
            top = height * (dice.uniform(0.1, 0.5) + 0.14 * layer)
            draw.rectangle((x, top, x + wide, height), fill=color)
            _windows(draw, (x, top, wide, height), dice)
            x += wide


def _windows(
    draw: ImageDraw.ImageDraw, block: tuple[float, float, float, float], dice: random.Random
) -> None:
    x, top, wide, height = block
    pane = wide / 7
    for row in range(int((height - top) / (pane * 2))):
        for column in (1, 3, 5):
            if dice.random() < LIT:
                left, upper = x + column * pane, top + (row * 2 + 1) * pane
                draw.rectangle((left, upper, left + pane, upper + pane), fill=(255, 222, 140))


def _table(scene: Image.Image, base: Color, dice: random.Random) -> None:
    width, height = scene.size
    edge = round(height * dice.uniform(0.45, 0.65))
    top = _gradient((width, height - edge), _shade(base, 0.7), _shade(base, 1.15))
    draw = ImageDraw.Draw(top)
    for _ in range(22):  # veins or grain
        y, drift = dice.uniform(-0.3, 1.3) * height, dice.uniform(-0.3, 0.3) * height
        vein: Points = [
            (width * step / 6, y + drift * step / 6 + dice.uniform(-0.03, 0.03) * height)
            for step in range(7)
        ]
        draw.line(vein, fill=_shade(base, dice.uniform(0.55, 1.35)), width=max(1, width // 250))
    scene.paste(top, (0, edge))


def _sun(scene: Image.Image, base: Color, dice: random.Random) -> None:
    width, height = scene.size
    x, y, radius = dice.uniform(0.08, 0.92) * width, dice.uniform(0.08, 0.25) * height, height / 12
    glow = Image.new("RGB", scene.size)
    box = (x - radius, y - radius, x + radius, y + radius)
    ImageDraw.Draw(glow).ellipse(box, fill=_shade(base, 0.9))
    scene.paste(ImageChops.add(scene, glow))


_SCENES: dict[str, Callable[[Image.Image, Color, random.Random], None]] = {
    "forest": _forest,
    "hills": _hills,
    "sea": _sea,
    "city": _city,
    "table": _table,
}
