"""The endpoint's fields: every documented value is taken, everything else named and refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from chainhub_async.testing.order import MAX_IMAGE_BYTES, STYLE_PRESETS

from .wire import JPEG, PNG, WEBP, form, image_part, part, post

if TYPE_CHECKING:
    from chainhub_async.testing import Emulator

BIG = PNG + bytes(MAX_IMAGE_BYTES)
JSON = "application/json"


def palette(value: object) -> bytes:
    """A palette as it is to be sent."""
    return part("color_palette", json.dumps(value), content_type=JSON)


def test_every_field_at_once(emulator: Emulator) -> None:
    """A call with all that is documented is taken, and recorded as sent."""
    answer = post(
        emulator,
        image_part(JPEG, kind="jpeg"),
        part("prompt", "ein Wald, 森"),
        part("magic_prompt", "OFF"),
        part("num_images", "8"),
        part("seed", "2147483647"),
        part("rendering_speed", "FLASH"),
        part("style_preset", "80S_ILLUSTRATION"),
        palette({"members": [{"color_hex": "#abc"}, {"color_hex": "#A1B2C3", "color_weight": 1}]}),
        part("style_codes", "0011aAfF"),
        part("style_codes", "12345678"),
    )
    assert answer.status == 200
    (record,) = emulator.requests
    assert record.texts("style_codes") == ["0011aAfF", "12345678"]
    assert record.texts("prompt") == ["ein Wald, 森"]
    assert (record.parts[0].text, record.parts[0].size) == (None, len(JPEG))


def test_style_reference_images(emulator: Emulator) -> None:
    """Reference images come as repeated file parts of any of the three formats."""
    references = [
        image_part(WEBP, "style_reference_images", "webp"),
        image_part(PNG, "style_reference_images"),
    ]
    assert post(emulator, image_part(), *references).status == 200


def test_all_presets_are_known() -> None:
    """Ideogram documents 62 of them."""
    assert len(STYLE_PRESETS) == 62


@pytest.mark.parametrize(
    "good",
    [
        part("magic_prompt", "AUTO"),
        part("num_images", "1"),
        part("seed", "0"),
        part("prompt", ""),
        part("rendering_speed", "QUALITY"),
        palette({"name": "EMBER"}),
        palette({"members": [{"color_hex": "#000000", "color_weight": 0.05}] * 8}),
    ],
)
def test_taken(emulator: Emulator, good: bytes) -> None:
    """The edges of each documented range are inside it."""
    assert post(emulator, image_part(), good).status == 200


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (part("negative_prompt", "x"), "'negative_prompt' is not a field"),
        (part("magic_prompt", "auto"), "magic_prompt is 'auto'"),
        (part("num_images", "0"), "num_images is '0'"),
        (part("num_images", "9"), "num_images is '9'"),
        (part("num_images", "1.0"), "num_images is '1.0'"),
        (part("num_images", "٣"), "num_images is"),
        (part("seed", "-1"), "seed is '-1'"),
        (part("seed", "2147483648"), "seed is '2147483648'"),
        (part("seed", ""), "seed is ''"),
        (part("seed", "9" * 5000), "seed is"),
        (part("rendering_speed", "FAST"), "rendering_speed is 'FAST'"),
        (part("style_preset", "NOT_ONE"), "style_preset is 'NOT_ONE'"),
        (part("prompt", b"\xff"), "prompt is not UTF-8"),
        (part("prompt", "x", content_type="text/plain"), "prompt is a text field"),
        (part("prompt", "x", filename="x.txt"), "prompt is a text field"),
        (part("prompt", "x"), ""),
        (part("style_codes", "1234567"), "style_codes has '1234567'"),
        (part("style_codes", '["12345678"]'), "style_codes has"),
        (part("color_palette", '{"name": "EMBER"}'), "part type application/json"),
        (part("color_palette", "EMBER", content_type=JSON), "not a JSON object"),
        (part("color_palette", "[" * 9000, content_type=JSON), "not a JSON object"),
        (palette(["EMBER"]), "not a JSON object"),
        (palette({}), "exactly one of"),
        (palette({"name": "EMBER", "members": []}), "exactly one of"),
        (palette({"name": "GREY"}), "color_palette.name"),
        (palette({"members": []}), "list 1 to 8"),
        (palette({"members": "#fff"}), "list 1 to 8"),
        (palette({"members": [{"color_hex": "#fff"}] * 9}), "list 1 to 8"),
        (palette({"members": ["#fff"]}), "not an object"),
        (palette({"members": [{"color_hex": "fff"}]}), "#RGB or #RRGGBB"),
        (palette({"members": [{"color_hex": None}]}), "#RGB or #RRGGBB"),
        (palette({"members": [{"color_hex": "#fff", "weight": 1}]}), "only color_hex"),
        (palette({"members": [{"color_hex": "#fff", "color_weight": True}]}), "a number"),
        (palette({"members": [{"color_hex": "#fff", "color_weight": 0.04}]}), "0.05 to 1.0"),
        (palette({"members": [{"color_hex": "#fff", "color_weight": float("nan")}]}), "0.05 to"),
    ],
)
def test_refused(emulator: Emulator, bad: bytes, says: str) -> None:
    """What is not documented is answered 400, named, and billed nothing."""
    parts = (bad, bad) if not says else (bad,)
    answer = post(emulator, image_part(), *parts)
    assert answer.status == 400
    assert (says or "prompt was sent 2 times") in answer.message
    assert emulator.billed == {}
    assert emulator.requests[0].billed == 0


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (part("prompt", "x"), "image is required"),
        (part("image", PNG, content_type="image/png"), "no filename"),
        (part("image", PNG, filename="", content_type="image/png"), "no filename"),
        (part("image", PNG, filename="Bär.png", content_type="image/png"), "not ASCII"),
        (part("image", PNG, filename="a.png"), "image/png by content but None"),
        (part("image", PNG, filename="a.png", content_type="image/jpeg"), "but image/jpeg"),
        (part("image", PNG, filename="a.png", content_type="multipart/form-data"), "but multip"),
        (part("image", b"GIF89a", filename="a.gif", content_type="image/gif"), "not a JPEG"),
        (part("image", b"", filename="a.png", content_type="image/png"), "not a JPEG"),
    ],
)
def test_bad_image(emulator: Emulator, image: bytes, says: str) -> None:
    """The image must be a file part whose type is that of its content."""
    answer = post(emulator, image)
    assert (answer.status, says in answer.message) == (400, True)


def test_two_images_are_refused(emulator: Emulator) -> None:
    """Only style references and codes may be repeated."""
    assert "image was sent 2 times" in post(emulator, image_part(), image_part()).message


def test_codes_and_references_exclude_each_other(emulator: Emulator) -> None:
    """Ideogram's documentation forbids the two styles together."""
    answer = post(
        emulator,
        image_part(),
        part("style_codes", "12345678"),
        image_part(name="style_reference_images"),
    )
    assert "cannot be used together" in answer.message


@pytest.mark.parametrize("name", ["image", "style_reference_images"])
def test_too_large(emulator: Emulator, name: str) -> None:
    """One byte over 10 MiB is answered 413; exactly 10 MiB is taken."""
    others = () if name == "image" else (image_part(),)
    exact = post(emulator, *others, image_part(BIG[:MAX_IMAGE_BYTES], name))
    over = post(emulator, *others, image_part(BIG[: MAX_IMAGE_BYTES + 1], name))
    assert (exact.status, over.status) == (200, 413)
    assert over.json["error"]["code"] == "request_too_large"
    assert sum(emulator.billed_calls.values()) == 1


def test_references_share_one_limit(emulator: Emulator) -> None:
    """10 MiB hold for the references together."""
    half = image_part(BIG[: MAX_IMAGE_BYTES // 2 + 1], "style_reference_images")
    assert post(emulator, image_part(), half, half).status == 413


def test_unknown_fields_can_be_let_pass(emulator: Emulator) -> None:
    """With `strict_fields` off, what is not documented is ignored."""
    emulator.strict_fields = False
    assert post(emulator, image_part(), part("new_field", "x")).status == 200


def test_bad_framing_is_a_400(emulator: Emulator) -> None:
    """The parser's complaint reaches the caller in the gateway's form."""
    answer = post(emulator, body=form(image_part())[:-9])
    assert (answer.status, answer.json["error"]["type"]) == (400, "new_api_error")
    assert "malformed multipart/form-data: the closing boundary" in answer.message
