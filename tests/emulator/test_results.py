"""Result images: signed URLs, their expiry, and pictures that are the photograph before a scene."""

from __future__ import annotations

import io
import re
import sys
import zlib
from typing import TYPE_CHECKING, Any, cast

import pytest
from PIL import Image, ImageDraw

from chainhub_async.testing import Emulator, composite, gallery, scenery
from chainhub_async.testing.placeholder import flat_png

from .wire import get, image_part, part, post

if TYPE_CHECKING:
    from collections.abc import Callable

Color = tuple[int, int, int]


def photograph(size: tuple[int, int] = (320, 240), mode: str = "RGB") -> Image.Image:
    """A red disc on a plain grey ground."""
    picture = Image.new("RGB", size, (150, 150, 150))
    width, height = size
    box = (width * 0.3, height * 0.2, width * 0.7, height * 0.85)
    ImageDraw.Draw(picture).ellipse(box, fill=(200, 30, 30))
    return picture.convert(mode)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file's bytes."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def decoded(content: bytes) -> Image.Image:
    """A file's bytes as an RGB picture."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def at(picture: Image.Image, x: float, y: float) -> Color:
    """The colour at a place given in shares of the size."""
    color = picture.getpixel((int(picture.width * x), int(picture.height * y)))
    return cast("Color", color)


def distance(one: Color, other: Color) -> int:
    """How far two colours are apart."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def order(emulator: Emulator, upload: bytes, *parts: bytes, kind: str = "png") -> list[Any]:
    """Have images made, and return the reply's entries."""
    entries: list[Any] = post(emulator, image_part(upload, kind=kind), *parts).json["data"]
    return entries


def test_the_result_is_the_photograph_before_another_background(emulator: Emulator) -> None:
    """The subject's middle stays as it was; corners take the prompt's colours; a label is there."""
    photo = photograph()
    (entry,) = order(emulator, encoded(photo), part("prompt", "a blue sea"))
    answer = get(emulator, entry["url"])
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    result = decoded(answer.body)
    assert entry["resolution"] == f"{result.width}x{result.height}" == "320x240"
    for x, y in [(0.5, 0.5), (0.4, 0.4), (0.6, 0.6)]:
        assert distance(at(result, x, y), at(photo, x, y)) < 10
    for x, y in [(0.02, 0.02), (0.98, 0.02), (0.02, 0.7), (0.98, 0.7)]:
        assert distance(at(result, x, y), at(photo, x, y)) > 30
        assert max(at(result, x, y)) == at(result, x, y)[2]
    label = result.crop((0, 225, 320, 240))
    assert label.getpixel((319, 14)) == (20, 20, 24)
    assert len(label.getcolors(5000) or ()) > 10


def test_each_image_and_seed_has_its_own_background(emulator: Emulator) -> None:
    """Images of one call differ where the background is; the same seed gives the same picture."""
    upload = encoded(photograph())
    two = [part("num_images", "2"), part("seed", "5"), part("prompt", "hills")]
    first, second = (get(emulator, entry["url"]).body for entry in order(emulator, upload, *two))
    again = get(emulator, order(emulator, upload, *two)[0]["url"]).body
    assert first == again
    row = [
        distance(at(decoded(first), x / 20, 0.3), at(decoded(second), x / 20, 0.3)) for x in (0, 19)
    ]
    assert max(row) > 10


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"),
     ("CMYK", "JPEG"), ("L", "JPEG"), ("RGBA", "WEBP")],
)  # fmt: skip
def test_every_mode_is_drawn(emulator: Emulator, mode: str, kind: str) -> None:
    """Grey, palette, transparent, CMYK and 16-bit photographs become RGB results."""
    photo = photograph().convert("I;16" if mode == "I;16" else mode)
    if mode == "I;16":
        photo = Image.frombytes(
            "I;16", photo.size, photograph(mode="L").tobytes().replace(b"", b"\0")[:-1]
        )
    (entry,) = order(emulator, encoded(photo, kind), kind=kind.lower())
    result = decoded(get(emulator, entry["url"]).body)
    grey = photograph(mode="L").convert("RGB")
    expected = photograph() if mode in {"P", "RGBA", "CMYK"} else grey
    if mode != "1":  # dithered: no place has a colour to expect
        assert distance(at(result, 0.5, 0.5), at(expected, 0.5, 0.5)) < 40
    assert result.size == photo.size


def test_transparency_is_background(emulator: Emulator) -> None:
    """What is transparent in the upload shows the new scene."""
    photo = photograph().convert("RGBA")
    opaque = Image.new("L", photo.size)
    ImageDraw.Draw(opaque).ellipse((96, 48, 224, 204), fill=255)
    photo.putalpha(opaque)
    (entry,) = order(emulator, encoded(photo), part("prompt", "green forest"))
    result = decoded(get(emulator, entry["url"]).body)
    assert distance(at(result, 0.5, 0.5), (200, 30, 30)) < 10
    assert distance(at(result, 0.02, 0.1), (255, 255, 255)) > 60


def test_a_subject_with_a_hole_in_the_middle(emulator: Emulator) -> None:
    """Where the middle looks like the border, what is around it is still kept."""
    photo = Image.new("RGB", (320, 240), "navy")
    draw = ImageDraw.Draw(photo)
    draw.ellipse((80, 40, 240, 220), fill="red")
    draw.ellipse((130, 102, 190, 162), fill="navy")
    (entry,) = order(emulator, encoded(photo), part("prompt", "white"))
    result = decoded(get(emulator, entry["url"]).body)
    for x, y in [(105, 132), (215, 132), (160, 70)]:
        assert distance(at(result, x / 320, y / 240), (255, 0, 0)) < 30
    assert distance(at(result, 0.5, 0.55), at(photo, 0.5, 0.55)) > 60


def test_orientation_is_heeded(emulator: Emulator) -> None:
    """A photograph taken on its side comes back upright, in the size that was promised."""
    lying = photograph().rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    (entry,) = order(emulator, encoded(lying, "JPEG", exif=exif), kind="jpeg")
    assert entry["resolution"] == "320x240"
    assert decoded(get(emulator, entry["url"]).body).size == (320, 240)


def test_large_photographs_are_reduced(emulator: Emulator) -> None:
    """A result's longest side is at most 1536, as the reply says."""
    (entry,) = order(emulator, encoded(Image.new("RGB", (3072, 20), "red")))
    assert entry["resolution"] == "1536x10"
    assert decoded(get(emulator, entry["url"]).body).size == (1536, 10)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (95, 3), (97, 97)])
def test_tiny_photographs(emulator: Emulator, size: tuple[int, int]) -> None:
    """No size is too small to draw."""
    (entry,) = order(emulator, encoded(Image.new("RGB", size, "red")))
    assert decoded(get(emulator, entry["url"]).body).size == size


@pytest.mark.parametrize(
    "prompt",
    ["", "green forest", "desert dunes", "beach", "night city", "marble", "xyzzy", "紫の森\n" * 99],
)
def test_scenes(prompt: str) -> None:
    """Every kind of scene is drawn, the same each time, and is not one flat colour."""
    scene = scenery.draw_scene((200, 120), prompt, 1)
    assert scene.tobytes() == scenery.draw_scene((200, 120), prompt, 1).tobytes()
    assert scene.size == (200, 120)
    assert len(scene.getcolors(24000) or range(99)) > 20


def test_broken_photographs_get_a_placeholder(emulator: Emulator) -> None:
    """A file whose header is right and whose data is not is answered in the promised size."""
    (entry,) = order(emulator, encoded(photograph(), "JPEG")[:1000], kind="jpeg")
    assert entry["resolution"] == "320x240"
    placeholder = decoded(get(emulator, entry["url"]).body)
    assert placeholder.size == (320, 240)
    assert len(placeholder.getcolors() or ()) == 1


def test_placeholders_differ_by_text() -> None:
    """The standard library's PNG is a right one, and its colour tells one prompt from another."""
    one, other = flat_png((3, 2), "a"), flat_png((3, 2), "b")
    assert decoded(one).size == (3, 2)
    assert at(decoded(one), 0, 0) != at(decoded(other), 0, 0)
    Image.open(io.BytesIO(one)).verify()


def test_old_uploads_are_dropped(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound uploads are forgotten, oldest first; their results become placeholders."""
    monkeypatch.setattr(gallery, "MAX_KEPT_BYTES", 1000)
    (old,) = order(emulator, encoded(photograph()))
    (new,) = order(emulator, encoded(photograph(size=(322, 240))))
    assert len(decoded(get(emulator, old["url"]).body).getcolors(99999) or ()) == 1
    assert len(decoded(get(emulator, new["url"]).body).getcolors(99999) or ()) > 1


def test_without_pillow(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow the emulator answers all the same, and serves placeholders."""
    upload = encoded(photograph())
    for name in ("composite", "scenery"):
        monkeypatch.delitem(sys.modules, f"chainhub_async.testing.{name}")
    monkeypatch.setitem(sys.modules, "PIL", None)
    (entry,) = order(emulator, upload)
    placeholder = get(emulator, entry["url"]).body
    monkeypatch.undo()
    assert entry["resolution"] == "256x256"
    assert decoded(placeholder).size == (256, 256)


def test_urls_expire_by_the_clock(emulator: Emulator) -> None:
    """A URL works until the second its `exp` names and is answered 410 from then on."""
    now = [1000.25]
    emulator.clock, emulator.result_lifetime = lambda: now[0], 60
    url = order(emulator, b"\x89PNG\r\n\x1a\n")[0]["url"]
    assert "?exp=1061&" in url
    now[0] = 1060.9
    assert get(emulator, url).status == 200
    now[0] = 1061
    expired = get(emulator, url)
    assert (expired.status, expired.headers["Content-Type"]) == (
        410,
        "application/xml; charset=utf-8",
    )
    assert b"<Code>RequestExpired</Code>" in expired.body


def flip(match: re.Match[str]) -> str:
    """Another hex digit than the one matched."""
    return "1" if match[0] == "0" else "0"


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r".$", flip),
        (r"-0\.png", "-1.png"),
        (r"exp=", "exp=1"),
        (r"&sig=.*", ""),
        (r"\?.*", ""),
        (r"sig=.*", "sig=%FF"),
    ],
)
def test_bad_signatures(
    emulator: Emulator, pattern: str, replacement: str | Callable[[re.Match[str]], str]
) -> None:
    """Another path, time or signature than the one signed is answered 403."""
    url = order(emulator, b"\x89PNG\r\n\x1a\n")[0]["url"]
    answer = get(emulator, re.sub(pattern, replacement, url))
    assert (answer.status, b"SignatureDoesNotMatch" in answer.body) == (403, True)


def test_the_key_at_a_result_is_noted(emulator: Emulator) -> None:
    """Results need no key; one that is sent there is recorded as leaked."""
    url = order(emulator, b"\x89PNG\r\n\x1a\n")[0]["url"]
    assert get(emulator, url).status == 200
    assert not emulator.leaked_authorization
    assert get(emulator, url, authorization="Bearer emulator-key").status == 200
    assert emulator.leaked_authorization == (emulator.requests[-1].path,)


def test_a_hostile_photograph_is_harmless(emulator: Emulator) -> None:
    """A header that promises a picture of terapixels is not believed."""
    header = b"\x00\x7f\xff\xff\x00\x7f\xff\xff\x08\x02\x00\x00\x00"
    checksum = zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    small = flat_png((1, 1), "x")
    hostile = small[:16] + header + checksum + small[33:]
    with pytest.raises(Image.DecompressionBombError):
        composite.measure(hostile)
    (entry,) = order(emulator, hostile)
    assert entry["resolution"] == "256x256"
    assert decoded(get(emulator, entry["url"]).body).size == (256, 256)
