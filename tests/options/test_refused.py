"""Options out of range or of the wrong type: one sentence, before any connection."""

from __future__ import annotations

import decimal
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chainhub_async import (
    AsyncChainHub,
    Billed,
    ChainHub,
    ColorMember,
    ColorPalette,
    ConfigurationError,
    ImageSource,
    InvalidImageError,
    InvalidOptionError,
    ReplaceBackground,
)
from chainhub_async.config import Timeout
from chainhub_async.resources import fields
from chainhub_async.resources.ideogram import checked_options, request_of
from chainhub_async.testing import Emulator

from .image import PNG, png_of

NAN, INF = math.nan, math.inf


class _Odd:
    def __repr__(self) -> str:
        return "an odd\nthing" * 100


def _endless() -> Iterator[str]:
    while True:
        yield "00000000"


# Option, value, and what the sentence must say: the value or its type, and what is allowed.
BAD: list[tuple[str, Any, str, str]] = [
    ("prompt", 3, "is a int", "text is expected"),
    ("prompt", b"bytes", "is a bytes", "text is expected"),
    ("prompt", ["a"], "is a list", "text is expected"),
    ("prompt", "a\ud800b", "a lone surrogate at position 1", "cannot be sent"),
    ("prompt", "\udfff", "position 0", "cannot be sent"),
    *(
        (option, value, said, allowed)
        for option in ("magic_prompt", "rendering_speed", "style_preset")
        for value, said, allowed in [
            (True, "is a bool", "text is expected"),
            (1, "is a int", "text is expected"),
            ("", "is empty", "leave it out"),
            ("\udc80", "a lone surrogate", "cannot be sent"),
        ]
    ),
    *(
        ("num_images", value, f"is {value!r}", "a whole number from 1 to 8")
        for value in (0, 9, -1, 1.0, 2.5, "2", True, False, NAN, 10**30, [1], 2 + 0j)
    ),
    ("num_images", 10**5000, "thousands of digits", "from 1 to 8"),
    ("num_images", decimal.Decimal(2), "Decimal('2')", "from 1 to 8"),
    *(
        ("seed", value, f"is {value!r}", "a whole number from 0 to 2147483647")
        for value in (-1, 2**31, 0.0, "0", True, INF, b"0")
    ),
    ("seed", _Odd(), r"an odd\nthing", "from 0 to 2147483647"),
    ("color_palette", 3, "is a int", "a ColorPalette or a palette's name"),
    ("color_palette", {"name": "EMBER"}, "is a dict", "a ColorPalette"),
    ("color_palette", [ColorMember("#abc")], "is a list", "a ColorPalette"),
    ("color_palette", "", "is empty", "leave it out"),
    ("color_palette", b"EMBER", "is a bytes", "a ColorPalette"),
    ("style_codes", "0123ABCD", "is a str", "a list of codes"),
    ("style_codes", [], "is an empty list", "leave it out"),
    ("style_codes", ["0123ABC"], "contains '0123ABC'", "8 hexadecimal digits"),
    ("style_codes", ["0123ABCD", "0123ABCDE"], "contains '0123ABCDE'", "8 hexadecimal digits"),
    ("style_codes", ["0123ABCG"], "contains '0123ABCG'", "8 hexadecimal digits"),
    ("style_codes", ["0123ABCD\n"], r"contains '0123ABCD\n'", "8 hexadecimal digits"),
    ("style_codes", ["٠١٢٣٤٥٦٧"], "contains", "8 hexadecimal digits"),
    ("style_codes", [12345678], "contains 12345678", "8 hexadecimal digits"),
    ("style_codes", {"0123ABCD"}, "is a set", "a list of codes"),
    ("style_codes", {"0123ABCD": 1}, "is a dict", "a list of codes"),
    ("style_codes", _endless(), "is a generator", "a list of codes"),
    ("style_reference_images", "style.png", "is a str", "a list of images"),
    ("style_reference_images", PNG, "is a bytes", "a list of images"),
    ("style_reference_images", Path("style.png"), "Path", "a list of images"),
    ("style_reference_images", ImageSource.from_bytes(PNG), "is a ImageSource", "a list of images"),
    ("style_reference_images", [], "is an empty list", "leave it out"),
    ("extra_fields", ["a"], "is a list", "a dict is expected"),
    ("extra_fields", "a=b", "is a str", "a dict is expected"),
    ("extra_fields", {"prompt": "x"}, "contains 'prompt'", "use the parameter prompt="),
    ("extra_fields", {"image": PNG}, "contains 'image'", "use the parameter image="),
    ("extra_fields", {"": "x"}, "has the name ''", "letters, digits"),
    ("extra_fields", {'a"; filename="x': "x"}, "has the name", "letters, digits"),
    ("extra_fields", {"a\r\nb": "x"}, r"has the name 'a\r\nb'", "letters, digits"),
    ("extra_fields", {"a b": "x"}, "has the name 'a b'", "letters, digits"),
    ("extra_fields", {"é": "x"}, "has the name 'é'", "letters, digits"),
    ("extra_fields", {"x" * 101: "x"}, "has the name", "letters, digits"),
    ("extra_fields", {3: "x"}, "has the name 3", "letters, digits"),
    ("extra_fields", {"a": b"x"}, "extra_fields['a'] is a bytes", "an ImageSource"),
    ("extra_fields", {"a": Path("x")}, "extra_fields['a'] is a", "an ImageSource"),
    ("extra_fields", {"a": {1, 2}}, "extra_fields['a'] is a set", "a list of them"),
    ("extra_fields", {"a": [[1]]}, "extra_fields['a'] is a list", "a list of them"),
    ("extra_fields", {"a": NAN}, "extra_fields['a'] is nan", "a finite number"),
    ("extra_fields", {"a": -INF}, "extra_fields['a'] is -inf", "a finite number"),
    ("extra_fields", {"a": "\ud800"}, "extra_fields['a'] contains a lone", "cannot be sent"),
    ("extra_fields", {"a": {"b": NAN}}, "extra_fields['a']", "cannot be sent"),
    ("extra_fields", {"a": {"b": object()}}, "extra_fields['a']", "not JSON serializable"),
    ("extra_fields", {"a": {(1, 2): 3}}, "extra_fields['a']", "cannot be sent"),
]


def _check(error: InvalidOptionError, *told: str) -> None:
    message = str(error)
    for part in told:
        assert part in message
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 400
    assert (error.billed, error.attempts, error.bytes_sent) == (Billed.NO, (), 0)
    assert str(pickle.loads(pickle.dumps(error))) == message


@pytest.mark.anyio
@pytest.mark.parametrize("row", BAD, ids=lambda row: f"{row[0]}-{row[2]}"[:40])
async def test_a_bad_option_is_refused_before_any_connection(
    row: tuple[str, Any, str, str], hub: AsyncChainHub, emulator: Emulator
) -> None:
    """The sentence names the option, the value, and what is allowed; nothing is sent."""
    option, value, said, allowed = row
    with anyio.fail_after(20), pytest.raises(InvalidOptionError) as refused:
        await hub.ideogram.replace_background(PNG, **{option: value})
    _check(refused.value, option, said, allowed)
    assert emulator.connections == 0


@pytest.mark.anyio
async def test_options_are_judged_before_the_image_is_read(
    hub: AsyncChainHub, emulator: Emulator
) -> None:
    """A slip in an option is told without opening a file."""
    with pytest.raises(InvalidOptionError, match="num_images"):
        await hub.ideogram.replace_background("missing.png", num_images=9)
    with pytest.raises(InvalidImageError, match="does not exist"):
        await hub.ideogram.replace_background("missing.png", num_images=8)
    assert emulator.connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize("codes", [["0123ABCD"], []])
@pytest.mark.parametrize("references", [[PNG], []])
async def test_codes_and_reference_images_exclude_each_other(
    codes: list[str], references: list[Any], hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Both at once are refused, whatever they hold."""
    with pytest.raises(InvalidOptionError, match=r"style_codes and style_reference_images") as both:
        await hub.ideogram.replace_background(
            PNG, style_codes=codes, style_reference_images=references
        )
    _check(both.value, "cannot be combined")
    assert emulator.connections == 0


@pytest.mark.anyio
async def test_reference_images_have_ten_mebibytes_together(
    hub: AsyncChainHub, emulator: Emulator
) -> None:
    """The limit itself is sent; one byte more is not."""
    half = 5 * 1024 * 1024
    with pytest.raises(InvalidImageError) as refused:
        await hub.ideogram.replace_background(
            PNG, style_reference_images=[png_of(half), png_of(half + 1)]
        )
    assert "total 10,485,761 bytes; at most 10,485,760" in str(refused.value)
    assert emulator.connections == 0
    await hub.ideogram.replace_background(
        PNG, prompt="x", style_reference_images=[png_of(half), png_of(half)]
    )
    assert emulator.connections == 1


@pytest.mark.anyio
@pytest.mark.parametrize("timeout", [5, 0, "5", (1, 2)])
async def test_a_timeout_is_a_timeout(timeout: Any, hub: AsyncChainHub, emulator: Emulator) -> None:
    """A number is no Timeout: which of the deadlines would it be?"""
    with pytest.raises(ConfigurationError, match=r"Timeout\(total=60\)"):
        await hub.ideogram.replace_background(PNG, timeout=timeout)
    assert emulator.connections == 0


@pytest.mark.parametrize(
    "color",
    ["", "abc", "#ab", "#abcd", "#abcde", "#12345G", "#abc\n", "＃abc", 3, None, b"#abc"],  # noqa: RUF001 - the look-alike is meant
)
def test_a_colour_is_written_in_hex(color: Any) -> None:
    """Only #RGB and #RRGGBB are colours."""
    with pytest.raises(InvalidOptionError, match="#RGB or #RRGGBB") as refused:
        ColorMember(color)
    _check(refused.value, "color_hex")


@given(
    st.floats().filter(lambda weight: not 0.05 <= weight <= 1.0)
    | st.integers().filter(lambda weight: weight != 1)
    | st.booleans()
    | st.text()
)
def test_a_weight_out_of_range_is_refused(weight: Any) -> None:
    """Weights are numbers from 0.05 to 1, and truth is no number."""
    with pytest.raises(InvalidOptionError, match=r"0\.05 to 1\.0 is allowed"):
        ColorMember("#abc", color_weight=weight)


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({}, "neither were given"),
        ({"name": "EMBER", "members": [ColorMember("#abc")]}, "both were given"),
        ({"members": []}, "0 members; 1 to 8"),
        ({"members": [ColorMember("#abc")] * 9}, "9 members; 1 to 8"),
        ({"members": ["#abc"]}, "ColorMember"),
        ({"members": {"color_hex": "#abc"}}, "ColorMember"),
        ({"name": 3}, "text"),
    ],
)
def test_a_palette_is_a_name_or_one_to_eight_members(given_: dict[str, Any], told: str) -> None:
    """A palette that the server would refuse cannot be built."""
    with pytest.raises(InvalidOptionError) as refused:
        ColorPalette(**given_)
    _check(refused.value, told)


@given(st.integers() | st.floats() | st.booleans() | st.text() | st.none() | st.binary())
def test_only_whole_numbers_in_range_pass(value: Any) -> None:
    """A number is sent in plain digits if it is in range, and refused in a sentence otherwise."""
    assume(value is not None)
    if type(value) is int and 3 <= value <= 2000:
        (part,) = fields.integer("seed", value, 3, 2000)
        assert part.content == b"%d" % value
    else:
        with pytest.raises(InvalidOptionError, match=r"seed is .* from 3 to 2000"):
            fields.integer("seed", value, 3, 2000)


@given(st.integers(1, 8), st.integers(0, 2**31 - 1))
def test_every_number_in_range_is_sent(images: int, seed: int) -> None:
    """All of the range is allowed, its ends included."""
    call = ReplaceBackground(PNG, num_images=images, seed=seed)
    request = request_of(call, checked_options(call), ImageSource.from_bytes(PNG), [], Timeout())
    texts = {part.name: part.content for part in request.parts}
    assert (texts["num_images"], texts["seed"]) == (b"%d" % images, b"%d" % seed)
    assert request.images == images


JSONLIKE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=10) | st.just("a"), JSONLIKE, max_size=3) | JSONLIKE)
def test_further_fields_are_sent_or_refused(value: Any) -> None:
    """Whatever is passed becomes parts with plain names and bytes, or one InvalidOptionError."""
    refusal, parts = None, []
    try:
        parts = fields.further("extra_fields", value, frozenset())
    except InvalidOptionError as error:
        refusal = error
    assert refusal is None or str(refusal).isprintable()
    for part in parts:
        assert part.name.isascii()
        assert isinstance(part.content, bytes)


def test_the_blocking_client_refuses_alike() -> None:
    """The blocking front door raises the same error before any connection."""
    with Emulator.in_thread() as emulator:
        hub = ChainHub(emulator.api_key, base_url=emulator.base_url)
        with hub, pytest.raises(InvalidOptionError, match="num_images is 9"):
            hub.ideogram.replace_background(PNG, num_images=9)
        assert emulator.connections == 0
