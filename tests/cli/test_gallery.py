"""`chainhub gallery`: the page it writes, and the pictures in it."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
from PIL import Image

from chainhub_async.cli import gallery_pictures
from chainhub_async.cli.gallery_page import MARKER

from .conftest import call, png
from .ledgers import Sample

HOSTILE = '</script><script>alert(1)</script><!-- "&\u2028\x00'


@attrs.define
class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    tags: list[tuple[str, dict[str, str | None]]] = attrs.field(factory=list)
    text: dict[str, list[str]] = attrs.field(factory=dict)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags:
            self.text.setdefault(self.tags[-1][0], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag]


def parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text("utf-8"))
    return page


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def photo(path: Path, size: tuple[int, int] = (64, 48), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path, **options)
    return path


@pytest.fixture
def sample(place: Path) -> Sample:
    """A ledger with one photo and its result."""
    ledger = Sample(place / "spring.ledger")
    before, after = photo(place / "in/a.png"), photo(place / "out/a.png")
    ledger.add(str(before), "SAVED", saved=[str(after)], prompt="a pine forest")
    return ledger


# ---- the page ------------------------------------------------------------------------------------


def test_a_page_of_a_ledger(sample: Sample, place: Path) -> None:
    """Every input is in it with what the ledger knows, and it is named after the ledger."""
    sample.add("/gone/b.jpg", "REFUSED", error={"type": "E", "message": "unsafe"})
    done = call("gallery", "spring.ledger")
    assert (done.exit_code, done.stdout) == (0, "gallery.html\n")
    told = data_of(place / "gallery.html")
    assert told["title"] == "spring"
    refused, saved = sorted(told["items"], key=lambda item: str(item["state"]))
    assert (refused["name"], refused["state"], refused["error"]) == ("b.jpg", "REFUSED", "unsafe")
    assert refused["before"] == {"path": "/gone/b.jpg", "absent": "gone"}
    assert (saved["name"], saved["state"], saved["billed"]) == ("a.png", "SAVED", "yes")
    assert sorted(told["options"]) == [[["prompt", "a forest"]], [["prompt", "a pine forest"]]]
    assert saved["after"][0]["path"] == str(place / "out/a.png")


def test_options_are_written_once(sample: Sample, place: Path) -> None:
    """Thousands of inputs share the text of their options."""
    for number in range(30):
        sample.add(f"/in/{number}.jpg", "PENDING", prompt="a long prompt")
    call("gallery", "spring.ledger")
    assert (place / "gallery.html").read_text().count("a long prompt") == 1


def test_hostile_texts_stay_texts(sample: Sample, place: Path) -> None:
    """Nothing from the ledger or the command line becomes a tag or a script."""
    sample.add(
        f"/in/{HOSTILE}.jpg",
        "REFUSED",
        prompt=HOSTILE,
        options=[(HOSTILE, HOSTILE)],
        error={"type": HOSTILE, "message": HOSTILE},
    )
    call("gallery", "spring.ledger", "--title", HOSTILE.replace("\0", ""))
    page = parsed(place / "gallery.html")
    assert [script.get("type") for script in page.all("script")] == ["application/json", None]
    errors = [item.get("error") for item in data_of(place / "gallery.html")["items"]]
    assert sorted(errors, key=str) == sorted([None, HOSTILE], key=str)
    assert data_of(place / "gallery.html")["title"] == HOSTILE.replace("\0", "")
    assert "".join(page.text["title"]).startswith("</script><script>")
    assert "<script>alert" not in (place / "gallery.html").read_text("utf-8")


def test_the_policy_allows_only_its_own(sample: Sample, place: Path) -> None:
    """The page's policy names its style and script by hash, and no other source but pictures."""
    call("gallery", "spring.ledger")
    text = (place / "gallery.html").read_text("utf-8")
    page = parsed(place / "gallery.html")
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    for name, pattern in (("style", "<style>(.*?)</style>"), ("script", "<script>(.*?)</script>")):
        (code,) = re.findall(pattern, text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert rules.pop(f"{name}-src") == f"'sha256-{digest}'"
    assert rules == {
        "img-src": "'self' file: data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_asks_nobody(sample: Sample, place: Path) -> None:
    """It names no address of any network, and loads no other file than pictures."""
    call("gallery", "spring.ledger")
    text = (place / "gallery.html").read_text("utf-8")
    assert not re.findall(r"https?://|@import|url\(", text)
    page = parsed(place / "gallery.html")
    assert not [tag for tag, given in page.tags if tag != "img" and "src" in given]
    assert not page.all("link")
    assert not [given for _, given in page.tags if any(name.startswith("on") for name in given)]
    assert "innerHTML" not in text


def test_the_page_can_be_read_by_all(sample: Sample, place: Path) -> None:
    """Language, heading, labels, live regions, and the reader's preferences are there."""
    call("gallery", "spring.ledger")
    page, text = parsed(place / "gallery.html"), (place / "gallery.html").read_text("utf-8")
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert [given["id"] for _, given in page.tags if given.get("role") == "status"] == [
        "count",
        "v-place",
    ]
    assert {given["type"] for given in page.all("input")} == {"range", "search"}
    for preference in ("prefers-color-scheme: dark", "prefers-reduced-motion", "forced-colors"):
        assert preference in text
    assert page.all("noscript")


def test_an_empty_ledger(place: Path) -> None:
    """A ledger without inputs makes a page all the same."""
    Sample(place / "x.db")
    assert call("gallery", "x.db").exit_code == 0
    assert data_of(place / "gallery.html")["items"] == []


def test_an_image_in_memory(place: Path) -> None:
    """Without a file there is no photo to show; the results are."""
    key = Sample(place / "x.db").add("", "SAVED", saved=[str(photo(place / "out/image.png"))])
    call("gallery", "x.db")
    (item,) = data_of(place / "gallery.html")["items"]
    assert (item["name"], item["before"], len(item["after"])) == (f"image-{key[:12]}", None, 1)


# ---- pictures ------------------------------------------------------------------------------------


def embedded(picture: dict[str, str]) -> tuple[str, bytes]:
    kind, _, data = picture["src"].removeprefix("data:").partition(";base64,")
    return kind, base64.b64decode(data)


def test_few_pictures_are_embedded(sample: Sample, place: Path) -> None:
    """A small gallery is one file that can be sent, and that is said."""
    done = call("gallery", "spring.ledger")
    (item,) = data_of(place / "gallery.html")["items"]
    assert embedded(item["before"]) == ("image/png", (place / "in/a.png").read_bytes())
    assert "The pictures are part of the page (0.0 MB), which can be sent as one file." in (
        done.stderr
    )


def test_many_pictures_are_referred_to(place: Path) -> None:
    """A large gallery stays small, and refers to pictures relative to itself."""
    ledger = Sample(place / "x.db")
    for number in range(61):
        ledger.add(str(photo(place / f"in/{number:02} #1?.png")), "PENDING")
    done = call("gallery", "x.db", "-o", "pages/g.html")
    first = data_of(place / "pages/g.html")["items"][0]["before"]["src"]
    assert first == "../in/00%20%231%3F.png"
    assert (place / "pages" / unquote(first)).is_file()
    assert "The page refers to the pictures: keep them where they are" in done.stderr


def test_the_choice_is_the_users(sample: Sample, place: Path) -> None:
    """Either way can be asked for."""
    call("gallery", "spring.ledger", "--refer")
    (item,) = data_of(place / "gallery.html")["items"]
    assert item["before"]["src"] == "in/a.png"
    call("gallery", "spring.ledger", "--embed")
    (item,) = data_of(place / "gallery.html")["items"]
    assert item["before"]["src"].startswith("data:image/png;base64,")


def test_large_pictures_are_scaled_down(place: Path) -> None:
    """A large photo is embedded smaller, and upright as its camera recorded it."""
    noise = Image.frombytes("RGB", (2000, 1000), os.urandom(6_000_000))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    (place / "in").mkdir()
    noise.save(place / "in/a.jpg", exif=exif)
    Sample(place / "x.db").add(str(place / "in/a.jpg"), "PENDING")
    call("gallery", "x.db")
    kind, data = embedded(data_of(place / "gallery.html")["items"][0]["before"])
    assert kind == "image/webp"
    assert len(data) < (place / "in/a.jpg").stat().st_size
    assert Image.open(io.BytesIO(data)).size == (800, 1600)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "I;16", "CMYK"])
def test_pictures_of_every_kind_are_scaled(place: Path, mode: str) -> None:
    """Transparency, palettes, grey and print colours survive."""
    bits = {"RGBA": 4, "CMYK": 4, "I;16": 2}.get(mode, 1)
    image = Image.frombytes(mode, (700, 700), os.urandom(700 * 700 * bits))
    name = "a.jpg" if mode == "CMYK" else "a.png"
    image.save(place / name)
    Sample(place / "x.db").add(str(place / name), "PENDING")
    call("gallery", "x.db")
    _, data = embedded(data_of(place / "gallery.html")["items"][0]["before"])
    shown = Image.open(io.BytesIO(data))
    assert shown.size == (700, 700)
    assert ("A" in shown.getbands()) is (mode == "RGBA")


def test_a_picture_that_cannot_be_decoded(place: Path) -> None:
    """One that Pillow cannot read is embedded as it is."""
    broken = png(9)[:40] + os.urandom(200_000)
    (place / "a.png").write_bytes(broken)
    Sample(place / "x.db").add(str(place / "a.png"), "PENDING")
    call("gallery", "x.db")
    (item,) = data_of(place / "gallery.html")["items"]
    assert embedded(item["before"]) == ("image/png", broken)


def test_without_pillow(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow pictures are embedded as they are, unless they are large together."""
    monkeypatch.setattr(gallery_pictures, "can_scale", lambda: False)
    monkeypatch.setitem(sys.modules, "PIL", None)
    whole = png(1) + os.urandom(300_000)
    (place / "a.png").write_bytes(whole)
    ledger = Sample(place / "x.db")
    ledger.add(str(place / "a.png"), "PENDING")
    call("gallery", "x.db")
    (item,) = data_of(place / "gallery.html")["items"]
    assert embedded(item["before"])[1] == whole
    (place / "b.png").write_bytes(png(1) + bytes(17_000_000))
    ledger.add(str(place / "b.png"), "PENDING")
    assert "refers to" in call("gallery", "x.db").stderr


@pytest.mark.parametrize("how", ["--embed", "--refer"])
def test_what_is_missing_is_said(sample: Sample, place: Path, how: str) -> None:
    """A picture that is gone, is none or cannot be read is marked as such, and counted apart."""
    sample.add("/gone.jpg", "SAVED", saved=["/gone.png", "bad\0name"])
    (place / "text.png").write_text("no picture")
    sample.refuse(str(place / "text.png"), "It is no JPEG, PNG or WebP.")
    (place / "folder.png").mkdir()
    sample.add(str(place / "folder.png"), "PENDING")
    done = call("gallery", "spring.ledger", how)
    assert done.stderr.endswith(
        "Files that are not shown: 3 are gone, 1 cannot be read, 1 is no JPEG, PNG or WebP. The "
        "page says which.\n"
    )
    items = {item["name"]: item for item in data_of(place / "gallery.html")["items"]}
    assert items["gone.jpg"]["after"][0] == {"path": "/gone.png", "absent": "gone"}
    assert items["text.png"]["before"]["absent"] == "other"
    assert items["folder.png"]["before"]["absent"] == "unreadable"
    assert "absent" not in items["a.png"]["before"]


@pytest.mark.parametrize("pillow", [False, True])
def test_what_is_too_large_to_embed_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch, *, pillow: bool
) -> None:
    """No page gets a picture that browsers would refuse in it; referred to, it is shown."""
    monkeypatch.setattr(gallery_pictures, "can_scale", lambda: pillow)
    # Pillow, if there is one, cannot make it smaller.
    (place / "a.png").write_bytes(png(1)[:40] + bytes(25 * 1024 * 1024))
    Sample(place / "x.db").add(str(place / "a.png"), "PENDING")
    done = call("gallery", "x.db", "--embed")
    assert "Files that are not shown: 1 is too large to be part of the page." in done.stderr
    (item,) = data_of(place / "gallery.html")["items"]
    assert item["before"]["absent"] == "large"
    assert "not shown" not in call("gallery", "x.db", "--refer").stderr


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_text(place: Path) -> None:
    """A file whose name is no UTF-8 is shown from a folder."""
    (place / "odd").mkdir()
    (place / "odd" / os.fsdecode(b"\xff.png")).write_bytes(png(1))
    assert call("gallery", "odd", "--refer").exit_code == 0
    (item,) = data_of(place / "gallery.html")["items"]
    assert item["after"][0]["src"] == "odd/%FF.png"


# ---- folders -------------------------------------------------------------------------------------


def shown(place: Path) -> list[tuple[str, bool, int]]:
    items = data_of(place / "gallery.html")["items"]
    return [(item["name"], item["before"] is not None, len(item["after"])) for item in items]


def test_a_folder_of_results(place: Path) -> None:
    """Every picture in a folder is shown, in the order that people expect; nothing else is."""
    for name in ("p10.png", "p2.JPG", "p1.webp", ".hidden.png"):
        photo(place / "out" / name)
    (place / "out/notes.txt").touch()
    (place / "out/folder.png").mkdir()
    call("gallery", "out")
    assert shown(place) == [("p1.webp", False, 1), ("p2.JPG", False, 1), ("p10.png", False, 1)]
    assert "state" not in data_of(place / "gallery.html")["items"][0]


def test_pairs_by_name(place: Path) -> None:
    """Results find their photo by its name, also when there are several of one."""
    for name in ("a.jpg", "b.jpg", "c-2.jpg", "alone.jpg"):
        photo(place / "in" / name)
    for name in ("a.png", "b-1.png", "b-2.png", "c-2.png", "new-1.png"):
        photo(place / "out" / name)
    assert call("gallery", "out", "--before", "in").exit_code == 0
    assert shown(place) == [
        ("a.jpg", True, 1),
        ("alone.jpg", True, 0),
        ("b.jpg", True, 2),
        ("c-2.jpg", True, 1),
        ("new-1.png", False, 1),
    ]


def test_a_folder_with_both(place: Path) -> None:
    """A folder that contains `before` and `after` needs no option."""
    photo(place / "demo/before/a.jpg")
    photo(place / "demo/after/a.png")
    call("gallery", "demo")
    assert shown(place) == [("a.jpg", True, 1)]


# ---- what is refused -----------------------------------------------------------------------------


def test_only_galleries_are_replaced(sample: Sample, place: Path) -> None:
    """A page may be made again; any other file of that name is kept."""
    assert call("gallery", "spring.ledger").exit_code == 0
    assert call("gallery", "spring.ledger", "--title", "again").exit_code == 0
    assert data_of(place / "gallery.html")["title"] == "again"
    (place / "mine.html").write_text("<!doctype html>mine")
    refused = call("gallery", "spring.ledger", "-o", "mine.html")
    assert (refused.exit_code, (place / "mine.html").read_text()) == (2, "<!doctype html>mine")
    assert "'mine.html' exists and is not a gallery; choose another name with -o." in refused.stderr


def test_the_ledger_is_not_replaced(sample: Sample) -> None:
    """Naming the ledger as the page costs nothing."""
    before = sample.path.read_bytes()
    assert call("gallery", "spring.ledger", "-o", "spring.ledger").exit_code == 2
    assert sample.path.read_bytes() == before


def test_a_ledger_that_breaks_off_leaves_the_old_page(sample: Sample, place: Path) -> None:
    """A page is complete or as it was."""
    call("gallery", "spring.ledger")
    before = (place / "gallery.html").read_bytes()
    sample.execute("UPDATE jobs SET options = 'broken'")
    done = call("gallery", "spring.ledger")
    assert (done.exit_code, "cannot be read" in done.stderr) == (1, True)
    assert (place / "gallery.html").read_bytes() == before
    assert before.startswith(MARKER.encode())


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["no.ledger"], 1, "The ledger 'no.ledger' does not exist."),
        (["spring.ledger", "--before", "in"], 2, "--before goes with a folder"),
        (["spring.ledger", "-o", "spring.ledger/x.html"], 1, "cannot be written"),
        (["out", "--before", "no"], 2, "does not exist"),
    ],
)
def test_what_cannot_be_done(
    sample: Sample, arguments: list[str], code: int, sentence: str
) -> None:
    """Each mistake has its sentence and its exit code."""
    done = call("gallery", *arguments)
    assert (done.exit_code, sentence in done.stderr) == (code, True), done.stderr


def test_a_folder_that_cannot_be_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says is told in a sentence."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    (place / "out").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    done = call("gallery", "out")
    assert (done.exit_code, "'out' cannot be read: Permission denied." in done.stderr) == (1, True)
