"""The values a caller gives and gets: frozen, comparable, and open to what is not known yet."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainhub_async import (
    Attempt,
    ColorMember,
    ColorPalette,
    GeneratedImage,
    InvalidOptionError,
    MagicPrompt,
    PaletteName,
    RenderingSpeed,
    ReplaceBackground,
    ReplaceBackgroundResult,
    Response,
    StylePreset,
    Task,
    events,
)
from chainhub_async.errors import Billed

NOW = datetime(2026, 1, 5, 10, 11, 12, tzinfo=timezone.utc)
# CONTRACT, `style_preset`.
PRESETS = [
    "80S_ILLUSTRATION", "90S_NOSTALGIA", "ABSTRACT_ORGANIC", "ANALOG_NOSTALGIA", "ART_BRUT",
    "ART_DECO", "ART_POSTER", "AURA", "AVANT_GARDE", "BAUHAUS", "BLUEPRINT", "BLURRY_MOTION",
    "BRIGHT_ART", "C4D_CARTOON", "CHILDRENS_BOOK", "COLLAGE", "COLORING_BOOK_I",
    "COLORING_BOOK_II", "CUBISM", "DARK_AURA", "DOODLE", "DOUBLE_EXPOSURE", "DRAMATIC_CINEMA",
    "EDITORIAL", "EMOTIONAL_MINIMAL", "ETHEREAL_PARTY", "EXPIRED_FILM", "FLAT_ART", "FLAT_VECTOR",
    "FOREST_REVERIE", "GEO_MINIMALIST", "GLASS_PRISM", "GOLDEN_HOUR", "GRAFFITI_I", "GRAFFITI_II",
    "HALFTONE_PRINT", "HIGH_CONTRAST", "HIPPIE_ERA", "ICONIC", "JAPANDI_FUSION", "JAZZY",
    "LONG_EXPOSURE", "MAGAZINE_EDITORIAL", "MINIMAL_ILLUSTRATION", "MIXED_MEDIA", "MONOCHROME",
    "NIGHTLIFE", "OIL_PAINTING", "OLD_CARTOONS", "PAINT_GESTURE", "POP_ART", "RETRO_ETCHING",
    "RIVIERA_POP", "SPOTLIGHT_80S", "STYLIZED_RED", "SURREAL_COLLAGE", "TRAVEL_POSTER",
    "VINTAGE_GEO", "VINTAGE_POSTER", "WATERCOLOR", "WEIRD", "WOODBLOCK_PRINT",
]  # fmt: skip
ENUMS: dict[Any, list[str]] = {
    MagicPrompt: ["AUTO", "ON", "OFF"],
    RenderingSpeed: ["FLASH", "TURBO", "BALANCED", "DEFAULT", "QUALITY"],
    PaletteName: ["EMBER", "FRESH", "JUNGLE", "MAGIC", "MELON", "MOSAIC", "PASTEL", "ULTRAMARINE"],
    StylePreset: PRESETS,
}
# Each with two different values for one of its fields.
VALUES: list[tuple[Any, dict[str, Any], tuple[str, Any]]] = [
    (ColorMember, {"color_hex": "#abc"}, ("color_weight", 0.5)),
    (ColorPalette, {"name": "EMBER"}, ("name", "FRESH")),
    (ReplaceBackground, {"image": "a.png"}, ("prompt", "x")),
    (GeneratedImage, {}, ("url", "https://x.example")),
    (Task, {"task_id": "t"}, ("task_status", "failed")),
    (ReplaceBackgroundResult, {"received_at": NOW}, ("code", 0)),
    (Attempt, {"number": 1, "phase": "write", "reason": "x"}, ("status", 503)),
    (Response, {"status": 200, "received_at": NOW}, ("body", b"x")),
    (events.RequestQueued, {"call": 1, "images": 1}, ("images", 2)),
    (events.ReplyReceived, {"call": 1, "status": 200, "request_id": None}, ("status", 201)),
    (events.RetryScheduled, {"call": 1, "attempt": 1, "delay": 1, "reason": ""}, ("delay", 2)),
    (events.Paused, {"call": 1, "seconds": 1}, ("seconds", 2)),
    (events.Saved, {"call": 1, "path": Path("a"), "bytes_received": 1}, ("bytes_received", 2)),
    (
        events.UploadProgress,
        {"call": 1, "attempt": 1, "bytes_sent": 1, "bytes_total": 2},
        ("bytes_sent", 2),
    ),
    (
        events.DownloadProgress,
        {"call": 1, "url": "x", "bytes_received": 1, "bytes_total": None},
        ("bytes_total", 2),
    ),
    (
        events.CallCancelled,
        {"call": 1, "attempt": 1, "bytes_sent": 1, "billed": Billed.NO},
        ("billed", Billed.MAYBE),
    ),
]


def test_there_are_62_presets() -> None:
    """As CONTRACT counts them."""
    assert len(set(PRESETS)) == len(PRESETS) == 62


@pytest.mark.parametrize("kind", ENUMS)
def test_enumerations_hold_the_documented_names(kind: Any) -> None:
    """In value exactly; a name that begins with a digit is written with a prefix."""
    members: list[Any] = [*kind]
    assert [member.value for member in members] == ENUMS[kind]
    for member in members:
        assert member.name in {member.value, f"STYLE_{member.value}"}
        assert str in type(member).__mro__
        assert member == member.value == str(member) == f"{member}"


@pytest.mark.parametrize(
    ("kind", "fields", "other"), VALUES, ids=lambda it: getattr(it, "__name__", "")
)
def test_values_are_frozen_and_compare(
    kind: Any, fields: dict[str, Any], other: tuple[str, Any]
) -> None:
    """Equal by what they hold, usable in sets, picklable, and no field can be set."""
    value = kind(**fields)
    changed = attrs.evolve(value, **dict([other]))
    assert value == kind(**fields)
    assert value != changed
    assert len({value, kind(**fields), changed}) == 2
    assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, *other)
    with pytest.raises(AttributeError):
        value.no_such_field = 1


def test_every_event_is_in_the_table_above() -> None:
    """A new one is to be frozen as well."""
    assert {kind for kind, _, _ in VALUES} >= set(events.Event.__subclasses__())


def test_the_raw_reply_is_kept_out_of_sight() -> None:
    """It may be long: neither shown nor compared."""
    one = ReplaceBackgroundResult(received_at=NOW, raw={"x": 1})
    assert one == ReplaceBackgroundResult(received_at=NOW, raw={"x": 2})
    assert "raw" not in repr(one)
    assert "body" not in repr(Response(status=200, received_at=NOW, body=b"x"))


def test_a_call_is_a_value() -> None:
    """One positional argument; the rest by name; checked only when it is sent."""
    call = ReplaceBackground("a.png", num_images=99)
    assert (call.image, call.num_images) == ("a.png", 99)
    with pytest.raises(TypeError):
        ReplaceBackground(*["a.png", "a prompt"])


@pytest.mark.parametrize("sent", [1767607872000, 1767607872])
def test_a_task_tells_its_times(sent: int) -> None:
    """Kept as sent, and as aware datetimes; absent ones are None."""
    task = Task(task_id="t", created_at=sent, updated_at=sent)
    assert task.created == task.updated == NOW
    assert (task.created_at, task.updated_at) == (sent, sent)
    assert Task(task_id="t").created is Task(task_id="t").updated is None


@pytest.mark.parametrize("colour", ["#abc", "#ABC", "#a1B2c3", "#000", "#FFFFFF"])
@pytest.mark.parametrize("weight", [None, 0.05, 0.5, 1, 1.0])
def test_good_colours(colour: str, weight: float | None) -> None:
    """`#RGB` or `#RRGGBB`, with a weight from 0.05 to 1.0 or none."""
    member = ColorMember(colour, color_weight=weight)
    assert (member.color_hex, member.color_weight) == (colour, weight)


@pytest.mark.parametrize(
    "colour",
    [
        "",
        "abc",
        "#ab",
        "#abcd",
        "#abcdefa",
        "#abg",
        "#abc\n",
        " #abc",
        "#\uff11bc",
        5,
        None,
        b"#abc",
    ],
)
def test_bad_colours(colour: Any) -> None:
    """Told with their value and the form."""
    with pytest.raises(InvalidOptionError, match=r"color_hex is .*#RGB or #RRGGBB"):
        ColorMember(colour)


@pytest.mark.parametrize(
    "weight", [0, 0.0499, 1.0001, 2, -1, float("nan"), float("inf"), True, "0.5", []]
)
def test_bad_weights(weight: Any) -> None:
    """Told with their value and the range."""
    with pytest.raises(InvalidOptionError, match=r"color_weight is .*0.05 to 1.0"):
        ColorMember("#abc", color_weight=weight)


@given(st.lists(st.builds(ColorMember, st.from_regex("#[0-9a-f]{6}", fullmatch=True)), max_size=12))
def test_a_palette_has_one_to_eight_members(members: list[ColorMember]) -> None:
    """Kept as a tuple, so that nothing changes a call that waits."""
    if 1 <= len(members) <= 8:
        assert ColorPalette(members=members).members == tuple(members)
    else:
        with pytest.raises(InvalidOptionError, match=f"has {len(members)} members; 1 to 8"):
            ColorPalette(members=members)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "a name or members; neither"),
        ({"name": "EMBER", "members": [ColorMember("#abc")]}, "a name or members; both"),
        ({"name": ""}, "name is ''; text is expected"),
        ({"name": 5}, "name is 5; text is expected"),
        ({"members": "#abc"}, "members is a str; a list of ColorMember"),
        ({"members": 5}, "members is a int; a list of ColorMember"),
        ({"members": ["#abc"]}, "'#abc' is not a ColorMember"),
        ({"members": [{"color_hex": "#abc"}]}, "is not a ColorMember"),
    ],
)
def test_a_palette_is_one_thing_or_the_other(fields: dict[str, Any], says: str) -> None:
    """A name or members, each of its own kind."""
    with pytest.raises(InvalidOptionError, match=says):
        ColorPalette(**fields)


def test_a_palette_may_have_a_new_name() -> None:
    """Enumerations are open."""
    assert ColorPalette(name="NEON").name == "NEON"
    assert ColorPalette(name=PaletteName.EMBER) == ColorPalette(name="EMBER")
