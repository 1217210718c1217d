"""Options that are fine, however they are written, reach the gateway as documented."""

from __future__ import annotations

import json
from collections import OrderedDict, UserList
from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainhub_async import (
    AsyncChainHub,
    BadRequestError,
    ColorMember,
    ColorPalette,
    ImageSource,
    MagicPrompt,
    PaletteName,
    RenderingSpeed,
    StylePreset,
)
from chainhub_async.resources import fields
from chainhub_async.testing import Emulator

from .image import PNG


class _Speed(str, Enum):
    """A caller's own, whose members show their names."""

    FAST = "TURBO"


class _Palette(str, Enum):
    MINE = "JUNGLE"


class _Count(IntEnum):
    TWO = 2


class _Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "LOUD"

    def __repr__(self) -> str:
        return "LOUD"


class _Number(int):
    def __str__(self) -> str:
        return "number"

    def __repr__(self) -> str:
        return "number"


class _Float(float):
    def __repr__(self) -> str:
        return "np.float64(0.5)"


async def _texts(hub: AsyncChainHub, emulator: Emulator, **options: Any) -> dict[str, list[str]]:
    """The text parts that the gateway got, by name."""
    options.setdefault("prompt", "x")
    await hub.ideogram.replace_background(PNG, **options)
    found: dict[str, list[str]] = {}
    for part in emulator.requests[-1].parts:
        if part.text is not None:
            found.setdefault(part.name, []).append(part.text)
    del found["prompt"]
    return found


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("option", "value", "sent"),
    [
        ("magic_prompt", MagicPrompt.OFF, "OFF"),
        ("magic_prompt", "ON", "ON"),
        ("rendering_speed", RenderingSpeed.QUALITY, "QUALITY"),
        ("rendering_speed", "FLASH", "FLASH"),
        ("rendering_speed", _Speed.FAST, "TURBO"),
        ("style_preset", StylePreset.STYLE_90S_NOSTALGIA, "90S_NOSTALGIA"),
        ("style_preset", "80S_ILLUSTRATION", "80S_ILLUSTRATION"),
        ("style_preset", _Loud("BAUHAUS"), "BAUHAUS"),
        ("num_images", 8, "8"),
        ("num_images", _Count.TWO, "2"),
        ("seed", 0, "0"),
        ("seed", 2147483647, "2147483647"),
        ("seed", _Number(7), "7"),
        ("color_palette", "MAGIC", '{"name":"MAGIC"}'),
        ("color_palette", PaletteName.EMBER, '{"name":"EMBER"}'),
        ("color_palette", _Palette.MINE, '{"name":"JUNGLE"}'),
        ("color_palette", ColorPalette(name=_Palette.MINE), '{"name":"JUNGLE"}'),
        ("color_palette", ColorPalette(name="PASTEL"), '{"name":"PASTEL"}'),
        (
            "color_palette",
            ColorPalette(members=[ColorMember("#ABC", color_weight=1)]),
            '{"members":[{"color_hex":"#ABC","color_weight":1}]}',
        ),
    ],
)
async def test_an_option_in_any_of_its_forms(
    option: str, value: Any, sent: str, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Enumerations, plain text, and a caller's own types all send the plain value."""
    assert await _texts(hub, emulator, **{option: value}) == {option: [sent]}


@pytest.mark.anyio
@pytest.mark.parametrize("option", ["magic_prompt", "rendering_speed", "style_preset"])
@pytest.mark.parametrize("value", ["TOMORROW_9000", "lower case", " ", "é\r\n"])
async def test_a_value_nobody_knows_yet_is_sent_as_given(
    option: str, value: str, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Enumerations stay open: what to refuse is the gateway's business."""
    with pytest.raises(BadRequestError, match=option):
        await _texts(hub, emulator, **{option: value})
    assert emulator.requests[-1].texts(option) == [value]


@pytest.mark.anyio
@pytest.mark.parametrize("codes", [["0123ABCD", "abcdef00"], ("0123ABCD",), UserList(["ffffffff"])])
async def test_codes_in_any_sequence(codes: Any, hub: AsyncChainHub, emulator: Emulator) -> None:
    """Lists, tuples and other sequences are lists of codes."""
    assert await _texts(hub, emulator, style_codes=codes) == {"style_codes": list(codes)}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("text", ["text"]),
        ("", [""]),
        (_Loud("quiet"), ["quiet"]),
        (_Speed.FAST, ["TURBO"]),
        (3, ["3"]),
        (-1, ["-1"]),
        (10**20, [str(10**20)]),
        (_Count.TWO, ["2"]),
        (_Number(7), ["7"]),
        (0.5, ["0.5"]),
        (1e300, ["1e+300"]),
        (_Float(0.5), ["0.5"]),
        (True, ["true"]),
        (False, ["false"]),
        (["a", 1, False, None], ["a", "1", "false"]),
        (("a", "b"), ["a", "b"]),
    ],
)
async def test_further_fields_as_text(
    value: Any, sent: list[str], hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Text, numbers and booleans become text, a list one field for each member."""
    assert await _texts(hub, emulator, extra_fields={"new.field[0]-x": value}) == {
        "new.field[0]-x": sent
    }


@pytest.mark.anyio
@pytest.mark.parametrize("value", [None, [], [None]])
async def test_further_fields_of_nothing_are_left_out(
    value: Any, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """None means the server's default here too."""
    assert await _texts(hub, emulator, extra_fields={"a": value}) == {}
    assert await _texts(hub, emulator, extra_fields={}) == {}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind", [dict, OrderedDict, MappingProxyType], ids=lambda kind: kind.__name__
)
async def test_further_fields_as_json_and_as_files(
    kind: Any, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """A mapping becomes one part of JSON, an ImageSource a file."""
    value: Mapping[str, Any] = kind({"a": [1, None, "é"], "b": {"c": True}})
    source = ImageSource.from_bytes(PNG)
    await hub.ideogram.replace_background(
        PNG, prompt="x", extra_fields=kind({"mask": source, "settings": value})
    )
    parts = {part.name: part for part in emulator.requests[-1].parts}
    assert json.loads(parts["settings"].text or "") == dict(value)
    assert parts["settings"].content_type == "application/json"
    assert (parts["mask"].filename, parts["mask"].content_type) == ("image.png", "image/png")


@given(st.floats(0.05, 1.0), st.from_regex("#([0-9a-fA-F]{3}){1,2}", fullmatch=True))
def test_any_weight_in_range_is_sent_exactly(weight: float, color: str) -> None:
    """The number that the gateway reads is the number that was given."""
    member = ColorMember(color, color_weight=weight)
    (part,) = fields.palette("color_palette", ColorPalette(members=[member]))
    assert isinstance(part.content, bytes)
    assert json.loads(part.content) == {"members": [{"color_hex": color, "color_weight": weight}]}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_is_a_value_of_an_open_enumeration(value: str) -> None:
    """No text of real characters is refused or changed here."""
    (part,) = fields.option("style_preset", value)
    assert part.content == value.encode()
