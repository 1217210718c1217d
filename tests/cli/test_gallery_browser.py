"""The gallery's page in a headless Chromium: what is seen, and what mouse and keyboard do."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from PIL import Image, ImageDraw

from .browser import Tab, browsing, executable
from .conftest import call
from .ledgers import Sample
from .test_gallery import HOSTILE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        executable() is None,
        reason="needs Chromium: install it, or name one in CHAINHUB_TEST_CHROMIUM",
    ),
]

RED, BLUE = (200, 30, 30), (30, 60, 200)
CARDS = "document.querySelectorAll('.card').length"
COUNT = "document.getElementById('count').textContent"
FOCUSED = "document.activeElement"


@pytest.fixture
async def tab(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Tab, None]:
    async with browsing(tmp_path_factory.mktemp("profile")) as opened:
        await opened.size(1200, 900)
        yield opened
        assert opened.problems == [], "the page's console complains"
        outside = [url for url in opened.requested if not url.startswith(("file:", "data:"))]
        assert outside == [], "the page asks for what is not its own"


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (300, 200)) -> str:
    path.parent.mkdir(exist_ok=True)
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).rectangle((0, 0, 9, 9), fill="white")
    image.save(path)
    return str(path)


def page_of(place: Path, *options: str) -> str:
    done = call("gallery", "spring.ledger", *options)
    assert done.exit_code == 0, done.stderr
    return (place / "gallery.html").as_uri()


@pytest.fixture
def sample(place: Path) -> Sample:
    """Photos are red, results blue; one is missing, one refused."""
    ledger = Sample(place / "spring.ledger")
    results = [paint(place / f"out/a-{n}.png", BLUE) for n in (1, 2)]
    ledger.add(paint(place / "in/a.png", RED), "SAVED", saved=results, prompt="a pine forest")
    lost = [str(place / "out/b.png")]
    ledger.add(paint(place / "in/b.png", RED), "SAVED", saved=lost, prompt="a beach")
    ledger.add(
        paint(place / "in/c.png", RED),
        "REFUSED",
        prompt=HOSTILE,
        error={"type": "E", "message": f"The prompt was unsafe. {HOSTILE}"},
    )
    ledger.add(str(place / "in/gone.png"), "UNCERTAIN", prompt="a beach at night")
    return ledger


async def colours(tab: Tab, selector: str) -> list[str]:
    """What is seen at the left and right quarter of an element: `red`, `blue` or `other`."""
    box = await tab.run(
        f"(() => {{ const b = document.querySelector('{selector}').getBoundingClientRect();"
        " return [b.x, b.y, b.width, b.height]; })()"
    )
    image = Image.open(io.BytesIO(await tab.screenshot())).convert("RGB")
    left, top, width, height = box
    seen: list[str] = []
    for part in (0.25, 0.75):
        pixel = image.getpixel((round(left + width * part), round(top + height * 0.3)))
        assert isinstance(pixel, tuple)
        red, _, blue = pixel
        seen.append("red" if red > 150 > blue else "blue" if blue > 150 > red else "other")
    return seen


async def loaded(tab: Tab) -> None:
    await tab.until("document.querySelector('.after').naturalWidth > 0")
    await anyio.sleep(0.1)  # painted


# ---- comparing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["--embed", "--refer"])
async def test_before_and_after_are_seen(tab: Tab, sample: Sample, place: Path, way: str) -> None:
    """The photo is on the left, the result on the right, embedded or lying beside the page."""
    await tab.open(page_of(place, way))
    await loaded(tab)
    assert await colours(tab, ".stage") == ["red", "blue"]


async def test_the_slider_follows_keys(tab: Tab, sample: Sample, place: Path) -> None:
    """Arrow keys, Home and End move it, and what it shows is said in words."""
    await tab.open(page_of(place))
    await loaded(tab)
    await tab.run("document.querySelector('.slide').focus()")
    for _ in range(3):
        await tab.press("ArrowRight")
    said = "document.querySelector('.slide').getAttribute('aria-valuetext')"
    assert await tab.run(said) == "53 % before, 47 % after"
    await tab.press("Home")
    assert await colours(tab, ".stage") == ["blue", "blue"]
    await tab.press("End")
    assert await colours(tab, ".stage") == ["red", "red"]


async def test_the_slider_follows_the_mouse(tab: Tab, sample: Sample, place: Path) -> None:
    """A click moves it to where it was clicked."""
    await tab.open(page_of(place))
    await loaded(tab)
    await tab.click(".slide", across=0.1)
    value = await tab.run("Number(document.querySelector('.slide').value)")
    assert abs(value - 10) <= 1
    assert await colours(tab, ".stage") == ["blue", "blue"]


async def test_focus_is_seen(tab: Tab, sample: Sample, place: Path) -> None:
    """Whatever the keyboard reaches shows it, and everything has a name."""
    await tab.open(page_of(place))
    look = """(() => {
        const e = document.activeElement;
        const outlined = e.matches(".slide") ? e.parentElement
            : e.matches(".chips input") ? e.nextSibling : e;
        const style = getComputedStyle(outlined);
        return {
            place: e.id || e.className,
            seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
            named: Boolean(e.ariaLabel || e.textContent || (e.labels && e.labels[0].textContent)),
        };
    })()"""
    reached: list[str] = []
    while True:
        await tab.press("Tab")
        if await tab.run(f"{FOCUSED} === document.body"):
            break
        found = await tab.run(look)
        assert found["seen"], found
        assert found["named"], found
        reached.append(found["place"])
    assert reached == ["skip", "find", "s-all", "slide", "", "", *["large"] * 4]


async def test_several_results(tab: Tab, sample: Sample, place: Path) -> None:
    """The results of one photo are chosen by buttons that say which is pressed."""
    await tab.open(page_of(place, "--refer"))
    await tab.click(".card .variants button:nth-child(2)")
    pressed = "[...document.querySelectorAll('.card .variants button')].map((b) => b.ariaPressed)"
    assert await tab.run(pressed) == ["false", "true"]
    assert await tab.run("document.querySelector('.after').src.endsWith('out/a-2.png')")


# ---- what is missing, and what is hostile --------------------------------------------------------


async def test_what_is_missing_is_said(tab: Tab, sample: Sample, place: Path) -> None:
    """A missing result leaves the photo, a missing photo a sentence; neither a broken picture."""
    await tab.open(page_of(place))
    cards = await tab.run("[...document.querySelectorAll('.card')].map((c) => c.innerText)")
    assert "The result's file is missing." in cards[1]
    assert "The original's file is missing." in cards[3]
    assert await tab.run("document.querySelectorAll('.slide:not([hidden])').length") == 1


async def test_each_absence_has_its_cause(tab: Tab, place: Path) -> None:
    """No result yet, refused, expired, withheld, no picture: each is told as what it is."""
    ledger = Sample(place / "spring.ledger")
    red, blue = paint(place / "in/red.png", RED), paint(place / "out/blue.png", BLUE)
    text = place / "in/text.png"
    text.write_text("no picture")
    for state in ("PENDING", "SENDING", "ACCEPTED", "REFUSED", "UNCERTAIN", "EXPIRED"):
        ledger.add(red, state)
    ledger.add(f"{red}/../withheld", "SAVED")
    ledger.add(red, "SAVED", saved=[blue], images=3)
    ledger.add(red, "SAVED", saved=[str(text)])
    ledger.refuse(str(text), "It is no JPEG, PNG or WebP.")
    await tab.open(page_of(place, "--refer"))
    cards = await tab.run(
        "[...document.querySelectorAll('.card')].map((c) => [...c.querySelectorAll("
        "'.note:not([hidden]), .none:not([hidden])')].map((n) => n.textContent).join().trim())"
    )
    assert sorted(cards) == sorted([
        "There is no result yet: it has not been sent, or failed at no cost.",
        "There is no result yet: it is being sent, or was interrupted in that.",
        "The result is paid for, but not saved yet.",
        "There is no result: it was refused, and not billed.",
        "There is no result, but it may have been billed.",
        "The result was paid for, but has expired.",
        "The result was withheld as unsafe. The original's file is missing.",
        "2 of 3 images were withheld as unsafe.",
        "The result's file is no JPEG, PNG or WebP.",
        (
            "There is no result: it was refused, and not billed. The original's file is no JPEG, "
            "PNG or WebP."
        ),
    ])  # fmt: skip
    lead = "document.getElementById('lead').textContent"
    assert await tab.run(lead) == (
        "10 inputs · 3 saved (2 images) · 2 refused · 2 need your decision"
    )


async def test_a_picture_that_goes_later(tab: Tab, sample: Sample, place: Path) -> None:
    """A file that is gone when the page is opened is said to be, too."""
    address = page_of(place, "--refer")
    (place / "in/c.png").write_bytes(b"damaged")
    await tab.open(address)
    await tab.until("document.querySelectorAll('.card')[2].innerText.includes('cannot be shown')")


async def test_hostile_texts_are_shown_as_texts(tab: Tab, sample: Sample, place: Path) -> None:
    """What looks like a script is read, not run: neither the page nor its policy complains."""
    await tab.open(page_of(place))
    shown = await tab.run("document.querySelectorAll('.card .prompt')[2].textContent")
    assert shown == HOSTILE
    assert await tab.run("document.scripts.length") == 2


# ---- finding -------------------------------------------------------------------------------------


def many(place: Path, number: int) -> Sample:
    ledger = Sample(place / "spring.ledger")
    red, blue = paint(place / "in/red.png", RED), paint(place / "out/blue.png", BLUE)
    with closing(sqlite3.connect(ledger.path)) as connection, connection:
        key = ledger.add(red, "SAVED", saved=[blue], prompt="a pine forest")
        lost = ledger.add(f"{red}/x", "UNCERTAIN", prompt="a beach", error={"message": "cut"})
        rows = [
            (f"{place}/in/{n:05}.png", lost if n % 50 == 0 else key, str(n))
            for n in range(2, number)
        ]
        connection.executemany("INSERT INTO inputs VALUES (?, ?, '', ?, 1, 1)", rows)
        connection.executemany(
            "INSERT INTO outputs VALUES (?, ?, 1, ?, 1, 1, '')",
            [(source, job, blue) for source, job, _ in rows if job == key],
        )
    return ledger


async def test_five_thousand_images(tab: Tab, place: Path) -> None:
    """A large gallery opens at once, and holds no more elements than a small page."""
    many(place, 5000)
    await tab.open(page_of(place))
    took = "performance.getEntriesByType('navigation')[0].domComplete"
    assert await tab.run(took) < 5000
    assert await tab.run(CARDS) == 48
    assert await tab.run("document.querySelectorAll('*').length") < 3000
    assert await tab.run(COUNT) == "1\u201348 of 5,000 inputs"
    assert await tab.run("document.querySelectorAll('img:not([loading=lazy])[src]').length") == 0


async def test_pages_are_turned(tab: Tab, place: Path) -> None:
    """Turning a page takes focus and scroll to its start, and is kept when it is opened again."""
    many(place, 100)
    address = page_of(place)
    await tab.open(address)
    await tab.click("#later")
    assert await tab.run(COUNT) == "49\u201396 of 100 inputs"
    assert await tab.run(f"{FOCUSED}.id") == "shown"
    await tab.click("#later")
    assert await tab.run(CARDS) == 4
    assert await tab.run("document.getElementById('later').disabled")
    assert await tab.run("location.hash") == "#page=3"
    await tab.open(f"{address}#page=2&state=nonsense")
    assert await tab.run("document.getElementById('page').value") == "2"


async def test_filter_by_state(tab: Tab, place: Path) -> None:
    """States are chosen by mouse or arrow keys, with their counts beside them."""
    many(place, 100)
    await tab.open(page_of(place))
    chips = "[...document.querySelectorAll('.chips label')].map((l) => l.textContent)"
    assert await tab.run(chips) == ["All 100", "Saved 98", "Uncertain 2"]
    await tab.click(".chips label:last-child")
    assert await tab.run(CARDS) == 2
    assert await tab.run(COUNT) == "2 inputs (of 100)"
    await tab.press("ArrowLeft")
    assert await tab.run(COUNT) == "1\u201348 of 98 inputs (of 100)"


async def test_search(tab: Tab, sample: Sample, place: Path) -> None:
    """All words must be found, in a name, prompt or error; if there is nothing, that is said."""
    await tab.open(page_of(place))
    await tab.run("document.getElementById('find').focus()")
    await tab.send("Input.insertText", text="Night BEACH")
    await tab.until(f"{CARDS} === 1")
    names = "[...document.querySelectorAll('.name')].map((n) => n.textContent)"
    assert await tab.run(names) == ["gone.png"]
    await tab.send("Input.insertText", text=" nowhere")
    await tab.until(f"{CARDS} === 0")
    assert await tab.run(COUNT) == "None"
    await tab.click("#all")
    assert await tab.run(CARDS) == 4


# ---- large ---------------------------------------------------------------------------------------


async def test_large_view(tab: Tab, sample: Sample, place: Path) -> None:
    """An image opens large with its facts; arrow keys go on, Escape leads back to its card."""
    await tab.open(page_of(place))
    await tab.run("document.querySelector('.large').focus()")
    await tab.press("Enter")
    assert await tab.run("document.getElementById('view').open")
    assert "a pine forest" in await tab.run("document.getElementById('v-facts').innerText")
    await tab.press("ArrowRight")
    await tab.press("ArrowRight")
    assert await tab.run("document.getElementById('v-place').textContent") == "3 of 4 inputs"
    assert HOSTILE.strip("\0") in await tab.run("document.getElementById('v-error').textContent")
    await tab.press("Escape")
    assert not await tab.run("document.getElementById('view').open")
    await tab.until(f"{FOCUSED}.ariaLabel === 'Show c.png large, with details'")


# ---- screens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_light_and_dark(tab: Tab, sample: Sample, place: Path, scheme: str) -> None:
    """The page is as light or dark as its reader prefers."""
    await tab.prefer(prefers_color_scheme=scheme)
    await tab.open(page_of(place))
    image = Image.open(io.BytesIO(await tab.screenshot())).convert("L")
    corner = image.getpixel((5, 5))
    assert isinstance(corner, int | float)
    assert (corner > 200) is (scheme == "light")
    assert (corner < 60) is (scheme == "dark")


@pytest.mark.parametrize("width", [320, 390, 768, 2560])
async def test_every_width(tab: Tab, sample: Sample, place: Path, width: int) -> None:
    """From the narrowest phone to a wide screen nothing has to be scrolled sideways."""
    await tab.size(width, 800, mobile=width < 500)
    await tab.open(page_of(place))
    assert await tab.run("document.documentElement.scrollWidth") <= width
    await tab.click(".large")
    assert await tab.run("document.getElementById('view').scrollWidth") <= width
    stage = await tab.run("document.querySelector('#v-stage .stage').getBoundingClientRect().width")
    assert stage > width * 0.4


async def test_no_motion_if_unwanted(tab: Tab, sample: Sample, place: Path) -> None:
    """Who prefers reduced motion gets none."""
    moves = "getComputedStyle(document.querySelector('.knob')).transitionDuration"
    address = page_of(place)
    await tab.open(address)
    assert await tab.run(moves) == "0.18s"
    await tab.prefer(prefers_reduced_motion="reduce")
    assert await tab.run(moves) == "0s"
