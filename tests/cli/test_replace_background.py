"""`chainhub replace-background`: photos, options, what is printed, and codes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer, TooManyRequests

from .conftest import call, names, objects, png, replace

Photos = Callable[[int], list[str]]


def test_saves_each_photo_under_its_name(emulator: Emulator, photos: Photos, place: Path) -> None:
    """Standard output holds one saved path a line, standard error what happened."""
    done = replace(*photos(3), "-o", "out")
    assert done.exit_code == 0
    assert sorted(done.stdout.splitlines()) == ["out/p0.png", "out/p1.png", "out/p2.png"]
    assert names(place / "out") == ["p0.png", "p1.png", "p2.png"]
    for stage in ("waiting for the gateway", "downloading", "3 photos: 3 saved."):
        assert stage in done.stderr
    assert sum(emulator.billed.values()) == 3


def test_nothing_is_overwritten(emulator: Emulator, photos: Photos, place: Path) -> None:
    """A photo in the output directory keeps its name, its result gets another."""
    done = replace(*photos(1))
    assert done.stdout.splitlines() == ["p0 (2).png"]
    assert (place / "p0.png").read_bytes() == png(0)


def test_quiet_leaves_only_paths(emulator: Emulator, photos: Photos) -> None:
    """With -q, a run that goes well writes nothing to standard error."""
    done = replace(*photos(2), "-o", "out", "-q")
    assert (done.exit_code, done.stderr) == (0, "")


def test_json_is_one_object_for_each_photo(emulator: Emulator, photos: Photos) -> None:
    """Every line of standard output is an object with all the fields."""
    done = replace(*photos(2), "missing.png", "-o", "out", "--json")
    assert done.exit_code == 1
    told = {each["image"]: each for each in objects(done.stdout)}
    assert told.keys() == {"p0.png", "p1.png", "missing.png"}
    good, bad = told["p0.png"], told["missing.png"]
    assert good["state"] == "SAVED"
    assert good["saved"] == ["out/p0.png"]
    assert good["request_id"]
    assert good["results"][0].keys() >= {"url", "seed", "resolution", "expires_at"}
    assert good["error"] is None
    assert good["task"] is None
    assert bad["state"] == "REFUSED"
    assert bad["error"]["type"] == "InvalidImageError"
    assert bad["error"]["billed"] == "no"
    assert bad["error"]["attempts"] == 0


def test_every_option_is_sent(emulator: Emulator, photos: Photos) -> None:
    """Each option becomes its field."""
    emulator.strict_fields = False
    options = {
        "--magic-prompt": ["ON"],
        "--num-images": ["2"],
        "--seed": ["7"],
        "--rendering-speed": ["TURBO"],
        "--style-preset": ["POP_ART"],
        "--palette": ["#f80:0.6, #123456"],
        "--style-code": ["0123abcd", "89abcdef"],
        "--extra": ["a=b=c", "a=d"],
    }
    given = [text for name, values in options.items() for value in values for text in (name, value)]
    done = replace(*photos(1), "-o", "out", *given)
    assert done.exit_code == 0, done.stderr
    sent = emulator.requests[0]
    expected = {
        "prompt": ["a forest"],
        "magic_prompt": ["ON"],
        "num_images": ["2"],
        "seed": ["7"],
        "rendering_speed": ["TURBO"],
        "style_preset": ["POP_ART"],
        "style_codes": ["0123abcd", "89abcdef"],
        "a": ["b=c", "d"],
    }
    assert {name: sent.texts(name) for name in expected} == expected
    members = [{"color_hex": "#f80", "color_weight": 0.6}, {"color_hex": "#123456"}]
    assert json.loads(sent.texts("color_palette")[0]) == {"members": members}
    assert done.stdout.splitlines() == ["out/p0-1.png", "out/p0-2.png"]


def test_palette_by_name_and_reference(emulator: Emulator, photos: Photos) -> None:
    """A palette's name is sent as such, a style reference as a file."""
    one, other = photos(2)
    done = replace(one, "-o", "out", "--palette", "EMBER", "--style-reference", other)
    assert done.exit_code == 0, done.stderr
    sent = emulator.requests[0]
    assert json.loads(sent.texts("color_palette")[0]) == {"name": "EMBER"}
    assert [part.name for part in sent.parts].count("style_reference_images") == 1


def test_unknown_values_are_sent_as_given(emulator: Emulator, photos: Photos) -> None:
    """An enumeration's value that is not known here is the gateway's to judge."""
    done = replace(*photos(1), "-o", "out", "--style-preset", "NEXT_YEARS")
    assert done.exit_code == 1
    assert emulator.requests[0].texts("style_preset") == ["NEXT_YEARS"]
    assert "style_preset is 'NEXT_YEARS'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--palette", "#zzz"], "color_hex is '#zzz'"),
        (["--palette", "#fff:much"], "'much' is not a valid weight"),
        (["--palette", "#fff:7"], "0.05 to 1.0"),
        (["--extra", "nothing"], "NAME=VALUE"),
        (["--timeout", "0"], "above zero"),
        (["--timeout", "nan"], "above zero"),
        (["--task-path", "/tasks"], "{task_id}"),
        (["--style-code", "0123abcd", "--style-reference", "x.png"], "cannot be combined"),
        (["--emulator", "--base-url", "http://127.0.0.1:1"], "cannot be combined"),
        (["--num-images", "9"], "1<=x<=8"),
        (["-", "-"], "given twice"),
        (["-o", "p0.png/out"], "Nothing was sent"),
    ],
)
def test_mistakes_end_with_2(
    emulator: Emulator, photos: Photos, arguments: list[str], words: str
) -> None:
    """A mistake in the call is told before anything is sent."""
    done = replace(*photos(1), *arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert not emulator.requests


def test_only_bad_photos_end_with_2(emulator: Emulator, place: Path) -> None:
    """When no photo can be sent, the code says that it was the input."""
    (place / "text.png").write_text("this is no image")
    done = replace("text.png", "missing.png", str(place))
    assert done.exit_code == 2
    for words in ("not a JPEG", "does not exist", "is a directory", "3 photos: 3 failed."):
        assert words in done.stderr
    assert not emulator.requests


def test_without_a_key(photos: Photos) -> None:
    """No key is code 3, and the sentence names the variable and the emulator."""
    done = replace(*photos(1))
    assert done.exit_code == 3
    assert "CHAINHUB_API_KEY" in done.stderr
    assert "--emulator" in done.stderr


def test_with_an_unusable_address(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL that is none is code 3."""
    monkeypatch.setenv("CHAINHUB_API_KEY", "sk-1")
    done = replace(*photos(1), "--base-url", "ftp://x")
    assert done.exit_code == 3
    assert "base_url" in done.stderr


def test_a_proxy_that_cannot_be_used_stops_the_run(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is only found out by the first call meets all photos alike."""
    monkeypatch.setenv("CHAINHUB_API_KEY", "sk-1")
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
    done = replace(*photos(3), "--base-url", "http://gateway.invalid", "--in-flight", "1")
    assert done.exit_code == 3
    assert "socks5" in done.stderr
    assert "3 photos: 1 failed, 2 not started." in done.stderr


def test_the_emulator_needs_nothing(photos: Photos, place: Path) -> None:
    """--emulator works without key or network, and says that its results are not real."""
    done = replace(*photos(1), "--emulator", "-o", "out", "-q")
    assert done.exit_code == 0
    assert "not by the gateway" in done.stderr
    assert (place / "out" / "p0.png").exists()


def test_standard_input(emulator: Emulator, photos: Photos) -> None:
    """`-` is a photo that comes by standard input; its results are called stdin."""
    done = replace("-", *photos(1), "-o", "out", stdin=png(77))
    assert done.exit_code == 0
    assert sorted(done.stdout.splitlines()) == ["out/p0.png", "out/stdin.png"]


def test_empty_standard_input(emulator: Emulator) -> None:
    """Nothing by standard input is an empty image, refused here."""
    done = replace("-")
    assert done.exit_code == 2
    assert "is empty" in done.stderr


def test_never_more_in_flight_than_allowed(emulator: Emulator, photos: Photos) -> None:
    """With two images a call and --in-flight 4, two calls are under way at a time."""
    emulator.in_flight = 4
    emulator.latency = 0.05
    done = replace(*photos(6), "-o", "out", "--num-images", "2", "--in-flight", "4")
    assert done.exit_code == 0
    assert {record.status for record in emulator.requests} == {200}
    assert sum(record.method == "POST" for record in emulator.requests) == 6


def test_delays_are_told(server: MisbehavingServer, photos: Photos) -> None:
    """A resend, and a pause that the gateway asks for, are lines on standard error."""
    server.script(TooManyRequests(0), TooManyRequests(1))
    done = replace(*photos(1), "-o", "out")
    assert done.exit_code == 0
    assert "retrying in" in done.stderr
    assert "requested a pause of 1 s" in done.stderr


def test_a_server_cannot_drive_the_terminal(server: MisbehavingServer, photos: Photos) -> None:
    """Control characters of an error reach neither standard error nor the lines of JSON."""
    body = {"error": {"message": "bad \x1b]0;owned\x07\nforged line"}}
    server.always(Answer.json(body, status=400))
    for arguments in ([], ["--json"]):
        done = replace(*photos(1), "-o", "out", *arguments)
        assert done.exit_code == 1
        assert "\x1b" not in done.output
        assert "\nforged" not in done.output


def test_odd_names(emulator: Emulator, place: Path) -> None:
    """Bytes that are no text, line breaks and brackets in a name are shown safely."""
    name = os.fsdecode(b"a[red]\xff\n\x1b[1m.png")
    (place / name).write_bytes(png(3))
    done = replace(name, "-o", "out[bold]")
    assert done.exit_code == 0, done.stderr
    assert "\x1b" not in done.output
    assert "a[red]\\udcff\\n\\x1b[1m.png: downloading" in done.stderr
    assert done.stdout == "out[bold]/a_red____[1m.png\n".replace("[1m", "_1m")


def test_an_odd_directory_is_printed_byte_by_byte(emulator: Emulator, photos: Photos) -> None:
    """A program that reads the paths can open them."""
    done = replace(*photos(1), "-o", os.fsdecode(b"\xff"))
    assert done.stdout_bytes == b"\xff/p0.png\n"
    told = objects(replace(*photos(1), "-o", os.fsdecode(b"\xff"), "--json").stdout)
    assert os.fsencode(told[0]["saved"][0]) == b"\xff/p0 (2).png"


@pytest.mark.parametrize("prompt", ["", "  ", "\n"])
def test_a_blank_prompt_is_refused(emulator: Emulator, photos: Photos, prompt: str) -> None:
    """A variable that was not set is not paid for."""
    done = call("replace-background", "--prompt", prompt, *photos(1))
    assert done.exit_code == 2
    assert "say what the new background shows" in done.stderr
    assert not emulator.connections
