"""The bytes of the paid call, as they leave."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from chainhub_async import (
    AsyncChainHub,
    ColorMember,
    ColorPalette,
    ConnectionLostError,
    RetryPolicy,
    StylePreset,
)
from chainhub_async.events import UploadProgress

from .capture import Captured, Server, capturing, png
from .conftest import KEY
from .parsers import PARSERS, Seen, alike, strict

pytestmark = pytest.mark.anyio

IMAGE = png(b"\r\n--boundary\r\n\0\xff" * 3)
EVERYTHING: dict[str, Any] = {
    "prompt": "a pine forest at dawn",
    "magic_prompt": "AUTO",
    "num_images": 2,
    "seed": 0,
    "rendering_speed": "TURBO",
    "style_preset": StylePreset.STYLE_80S_ILLUSTRATION,
    "color_palette": ColorPalette(
        members=[ColorMember("#abc"), ColorMember("#0123FF", color_weight=0.05)]
    ),
    "style_reference_images": [png(b"one"), png(b"two")],
    "extra_fields": {"new_field": ["a", "b"], "flag": True, "ratio": 1.5},
}
PROMPTS = {
    "plain": "a beach",
    "empty": "",
    "unicode": "Zażółć gęślą jaźń, 日本語, עברית, \u202eabc",
    "emoji": "👩‍👩‍👧‍👦 in a 🌲🌲 forest",
    "line ends": "one\r\ntwo\nthree\rfour\r\n\r\n",
    "quotes": "\"double\" 'single' \\back\\slash\\",
    "header": 'x\r\nContent-Disposition: form-data; name="num_images"\r\n\r\n8\r\n',
    "boundary": "\r\n--boundary\r\n--\r\n----\r\n--boundary--\r\n",
    "nul": "before\0after\0",
    "edges": "\r\n surrounded by white space \t\r\n",
    "percent": "100% %0A + & = ; €",
    "long": "0123456789" * 1000,
}


async def _sent(hub: AsyncChainHub, server: Server, image: Any = IMAGE, **options: Any) -> Captured:
    await hub.ideogram.replace_background(image, **options)
    seen = server.requests[-1]
    assert seen.whole
    return seen


async def test_the_head_says_what_it_must_and_no_more(hub: AsyncChainHub, server: Server) -> None:
    """One exact length, no chunks, the key, what is accepted; no cookie and nothing twice."""
    seen = await _sent(hub, server, **EVERYTHING)
    line, *fields = seen.head.decode("ascii").strip().split("\r\n")
    assert line == "POST /ideogram/v1/ideogram-v3/replace-background HTTP/1.1"
    values = dict(field.split(": ", 1) for field in fields)
    assert re.fullmatch("multipart/form-data; boundary=[0-9a-f]{48}", values.pop("Content-Type"))
    assert re.fullmatch(r"chainhub-async/\S+", values.pop("User-Agent"))
    assert values == {
        "Host": server.url.removeprefix("http://"),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {KEY}",
        "Content-Length": str(len(seen.body)),
    }
    assert len(fields) == len(values) + 2


@pytest.mark.parametrize("where", ["memory", "disk", "large on disk"])
async def test_every_option_is_a_part_of_its_own(
    where: str, hub: AsyncChainHub, server: Server, tmp_path: Path
) -> None:
    """Fields in the form documented, lists by repeating the name, files named neutrally."""
    image = IMAGE + bytes(600_000 if where == "large on disk" else 0)
    (tmp_path / "private name.png").write_bytes(image)
    given = image if where == "memory" else tmp_path / "private name.png"
    seen = await _sent(hub, server, given, **EVERYTHING)
    palette = b'{"members":[{"color_hex":"#abc"},{"color_hex":"#0123FF","color_weight":0.05}]}'
    assert sorted(strict(seen.boundary, seen.body), key=str) == sorted(
        [
            Seen("prompt", b"a pine forest at dawn"),
            Seen("magic_prompt", b"AUTO"),
            Seen("num_images", b"2"),
            Seen("seed", b"0"),
            Seen("rendering_speed", b"TURBO"),
            Seen("style_preset", b"80S_ILLUSTRATION"),
            Seen("color_palette", palette, None, "application/json"),
            Seen("new_field", b"a"),
            Seen("new_field", b"b"),
            Seen("flag", b"true"),
            Seen("ratio", b"1.5"),
            Seen("image", image, "image.png", "image/png"),
            Seen("style_reference_images", png(b"one"), "image.png", "image/png"),
            Seen("style_reference_images", png(b"two"), "image.png", "image/png"),
        ],
        key=str,
    )
    assert b"private" not in seen.head + seen.body
    assert str(tmp_path).encode() not in seen.head + seen.body


async def test_an_image_alone_is_one_part(hub: AsyncChainHub, server: Server) -> None:
    """What was left out is not sent as an empty field."""
    seen = await _sent(hub, server)
    assert strict(seen.boundary, seen.body) == [Seen("image", IMAGE, "image.png", "image/png")]


async def test_style_codes_repeat_the_name_in_order(hub: AsyncChainHub, server: Server) -> None:
    """One plain part for each code."""
    seen = await _sent(hub, server, style_codes=("0123ABCD", "abcdef00"))
    codes = [part for part in strict(seen.boundary, seen.body) if part.name == "style_codes"]
    assert codes == [Seen("style_codes", b"0123ABCD"), Seen("style_codes", b"abcdef00")]


async def test_a_named_palette_is_json_too(hub: AsyncChainHub, server: Server) -> None:
    """A palette's name travels in the same part as members would."""
    seen = await _sent(hub, server, color_palette="MELON")
    (part,) = (part for part in strict(seen.boundary, seen.body) if part.name == "color_palette")
    assert (json.loads(part.content), part.content_type) == ({"name": "MELON"}, "application/json")


@pytest.mark.parametrize("parser", sorted(PARSERS))
async def test_every_parser_reads_every_option_alike(
    parser: str, hub: AsyncChainHub, server: Server
) -> None:
    """Frameworks see the parts that a strict reading sees: same names, bytes, files and types."""
    seen = await _sent(hub, server, **EVERYTHING)
    expected = strict(seen.boundary, seen.body)
    assert len(expected) == 14
    found = PARSERS[parser](seen.boundary, seen.body)
    assert alike(found, whole=False) == alike(expected, whole=False)
    if parser in {"email", "python-multipart"}:
        assert alike(found, whole=True) == alike(expected, whole=True)


@pytest.mark.parametrize("prompt", sorted(PROMPTS))
async def test_a_prompt_arrives_byte_for_byte(
    prompt: str, hub: AsyncChainHub, server: Server
) -> None:
    """Whatever the prompt holds, every parser gives it back exactly, and finds no other field."""
    text = PROMPTS[prompt]
    seen = await _sent(hub, server, prompt=text)
    for name, parser in PARSERS.items():
        found = {part.name: part for part in parser(seen.boundary, seen.body)}
        assert set(found) == {"prompt", "image"}, name
        assert found["prompt"].content == text.encode(), name
        assert found["image"].content == IMAGE, name


async def test_every_attempt_sends_the_same_with_another_boundary(tmp_path: Path) -> None:
    """A resend opens the file anew and sends it from its start; only the boundary differs."""
    # More than the kernel holds for a connection, so that an attempt can end in the middle.
    whole = IMAGE + bytes(9_000_000)
    (tmp_path / "cat").write_bytes(whole)
    async with capturing(receive_buffer=4096) as server:

        async def drop_in_the_middle(_: Server, stream: Any, number: int) -> bool:
            if number <= 2:
                await stream.receive(100_000)
            return number > 2

        server.before_body = drop_in_the_middle
        policy = RetryPolicy(base_delay=0.01)
        async with AsyncChainHub(KEY, base_url=server.url, retry=policy) as hub:
            with (tmp_path / "cat").open("rb") as file:
                await hub.ideogram.replace_background(file, prompt="x")
                assert file.tell() == 0
            await hub.ideogram.replace_background(tmp_path / "cat", prompt="x")
        assert [request.whole for request in server.requests] == [False, False, True, True]
        assert len({request.boundary for request in server.requests}) == 4
        for request in server.requests[2:]:
            _, image = strict(request.boundary, request.body)
            assert image.content == whole


@pytest.mark.parametrize("size", [100, 256 * 1024, 256 * 1024 + 1, 1_000_000])
@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_progress_counts_to_the_very_end(
    size: int, where: str, server: Server, tmp_path: Path
) -> None:
    """Upload events rise, never pass the total, and end with it; the total is the body's length."""
    (tmp_path / "cat").write_bytes(png(bytes(size)))
    events: list[UploadProgress] = []

    def keep(event: object) -> None:
        if isinstance(event, UploadProgress):
            events.append(event)

    async with AsyncChainHub(KEY, base_url=server.url, on_event=keep) as hub:
        image: Any = tmp_path / "cat" if where == "disk" else (tmp_path / "cat").read_bytes()
        seen = await _sent(hub, server, image, prompt="x")
    counts = [event.bytes_sent for event in events]
    assert counts == sorted(set(counts))
    assert counts[-1] == len(seen.body)
    assert {event.bytes_total for event in events} == {len(seen.body)}


async def test_a_raw_call_counts_its_bytes(hub: AsyncChainHub, server: Server) -> None:
    """`bytes_sent` is the length of the body, no more and no less."""
    answer = await hub.request("POST", "/x", form={"a": "b"})
    assert answer.bytes_sent == len(server.requests[0].body)
    answer = await hub.request("POST", "/x", json={"a": "b"})
    assert (answer.bytes_sent, server.requests[1].body) == (10, b'{"a": "b"}')


async def test_a_lost_reply_counts_all_bytes(hub: AsyncChainHub, server: Server) -> None:
    """When the connection ends after the body, the error says that all of it had left."""

    async def drop(*_: Any) -> bool:
        return False

    server.before_reply = drop
    with pytest.raises(ConnectionLostError) as lost:
        await hub.ideogram.replace_background(IMAGE, prompt="x")
    (request,) = server.requests
    assert lost.value.bytes_sent == lost.value.attempts[0].bytes_total == len(request.body)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [{}, {"json": [1]}, {"form": {"a": "b"}}, {"form": {"a": None}}])
async def test_no_method_is_sent_again_behind_our_back(
    method: str, body: dict[str, Any], hub: AsyncChainHub, server: Server
) -> None:
    """By itself aiohttp resends PUT and DELETE when a kept connection ends; here nothing does."""

    async def drop_the_second(_: Server, __: Any, number: int) -> bool:
        return number != 2

    server.before_reply = drop_the_second
    await hub.request(method, "/x", **body)
    with pytest.raises(ConnectionLostError):
        await hub.request(method, "/x", **body)
    assert len(server.requests) == 2
    for request in server.requests:
        assert request.headers("content-length") == [str(len(request.body))]
        assert all(len(value) > 1 for value in request.headers("content-type"))


async def test_an_upload_over_tls_is_the_same(tmp_path: Path) -> None:
    """Encryption changes neither the bytes, nor the count, nor that a slow server is waited for."""
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    image = IMAGE + bytes(5_000_000)
    (tmp_path / "cat").write_bytes(image)
    async with (
        capturing(receive_buffer=4096, tls=theirs) as server,
        AsyncChainHub(KEY, base_url=server.url, ssl_context=ours) as hub,
    ):
        for _ in range(2):
            seen = await _sent(hub, server, tmp_path / "cat", prompt="x")
            assert strict(seen.boundary, seen.body) == [
                Seen("prompt", b"x"),
                Seen("image", image, "image.png", "image/png"),
            ]
    assert server.connections == 1
