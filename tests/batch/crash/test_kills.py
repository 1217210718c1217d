"""Photographs of real size, and processes that are killed at random moments."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from PIL import Image, ImageDraw, ImageFilter

from chainhub_async.testing import Emulator
from chainhub_async.testing.gallery import PLACEHOLDER_SIZE
from chainhub_async.testing.placeholder import flat_png
from chainhub_async.testing.records import RequestRecord

from .processes import KILLED, Driver
from .scene import Scene, Stage, chunk
from .verdict import examine

# `nox -s crash` makes it 1 000 and 50.
PHOTOS = int(os.environ.get("CRASH_PHOTOS", "200"))
KILLS = int(os.environ.get("CRASH_KILLS", "12"))
AT_ONCE = 32
RESULT_BYTES = 300_000
_PNG_HEAD = 8 + 25  # signature and IHDR


def base_pictures() -> list[tuple[bytes, str]]:
    """Pictures as cameras and programs write them, from 300 kB to 1 MB."""
    found: list[tuple[bytes, str]] = []
    for width, height, form, quality in [
        (1700, 1200, "JPEG", 80),
        (2000, 1500, "JPEG", 80),
        (2400, 1800, "JPEG", 85),
        (760, 560, "PNG", 0),
    ]:
        noise = Image.effect_noise((width, height), 40).convert("RGB")
        gradient = Image.linear_gradient("L").resize((width, height)).convert("RGB")
        picture = Image.blend(noise, gradient, 0.5).filter(ImageFilter.GaussianBlur(0.7))
        box = (width // 3, height // 4, 2 * width // 3, height)
        ImageDraw.Draw(picture).ellipse(box, fill=(180, 90, 40))
        file = io.BytesIO()
        picture.save(file, form, **({"quality": quality} if quality else {}))
        found.append((file.getvalue(), ".jpg" if form == "JPEG" else ".png"))
    return found


def varied(picture: bytes, text: str) -> bytes:
    """The picture with a comment in it, which makes it another one."""
    comment = text.encode()
    if picture.startswith(b"\x89PNG"):
        return picture[:_PNG_HEAD] + chunk(b"tEXt", comment) + picture[_PNG_HEAD:]
    return picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:]


def real_size(size: tuple[int, int], text: str) -> bytes:
    """The emulator's result, padded to the size of a real one; no two are alike."""
    plain = flat_png(size, text)
    return plain[:-12] + chunk(b"chUb", random.Random(text).randbytes(RESULT_BYTES)) + plain[-12:]


@attrs.frozen(kw_only=True)
class Shot:
    """A photograph of real size."""

    path: Path
    prompt: str
    seed: int
    sha256: str

    def has_result(self, path: Path) -> bool:
        return path.read_bytes() == real_size(PLACEHOLDER_SIZE, f"{self.prompt}\n{self.seed}")


def shots(folder: Path) -> list[Shot]:
    """Takes them."""
    folder.mkdir()
    bases = base_pictures()
    assert all(250_000 < len(picture) < 1_200_000 for picture, _ in bases)
    taken: list[Shot] = []
    for number in range(PHOTOS):
        picture, suffix = bases[number % len(bases)]
        data = varied(picture, f"number {number}")
        path = folder / f"p{number}{suffix}"
        path.write_bytes(data)
        sha = hashlib.sha256(data).hexdigest()
        taken.append(Shot(path=path, prompt=f"view {number}", seed=number, sha256=sha))
    return taken


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A gateway that responds after a moment, with results of real size."""
    monkeypatch.setattr("chainhub_async.testing.gallery.flat_png", real_size)
    dice = random.Random(7)

    def latency(_: RequestRecord) -> float:
        return dice.uniform(0.005, 0.03)

    with Emulator.in_thread(latency=latency) as running:
        yield running


def kill_once_billed(emulator: Emulator, number: int, pause: float, flag: Path, end: Any) -> None:
    """Asks for the death of the process a moment after so many calls were billed."""
    while sum(emulator.billed_calls.values()) < number:
        if end.wait(0.002):
            return
    end.wait(pause)
    flag.touch()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_photographs_and_a_process_that_is_killed_again_and_again(
    emulator: Emulator, tmp_path: Path
) -> None:
    """Each is billed once and saved, or held as UNCERTAIN and not sent again."""
    taken = shots(tmp_path / "in")
    out, ledger = tmp_path / "out", tmp_path / "batch.db"
    run: dict[str, Any] = {
        "photos": [
            {"path": str(s.path), "prompt": s.prompt, "seed": s.seed, "images": 1} for s in taken
        ],
        "api_key": emulator.api_key,
        "base_url": emulator.base_url,
        "in_flight": AT_ONCE,
        "ledger": str(ledger),
        "save_to": str(out),
        "patience": 300,
    }
    dice = random.Random(50)
    driver = Driver()
    died = 0
    started = time.monotonic()
    for number, billed in enumerate(sorted(dice.sample(range(int(0.95 * PHOTOS)), KILLS))):
        flag, end = tmp_path / f"kill-{number}", threading.Event()
        killer = threading.Thread(
            target=kill_once_billed, args=(emulator, billed, dice.uniform(0, 0.15), flag, end)
        )
        killer.start()
        report = driver.run(tmp_path / f"told-{number}", **run, kill_when=str(flag))
        end.set()
        killer.join()
        died += report.code == KILLED
    report = driver.run(tmp_path / "last", **run)
    took = time.monotonic() - started
    driver.close()

    assert report.is_finished
    assert died >= 0.9 * KILLS
    assert sorted(outcome["index"] for outcome in report.outcomes) == list(range(PHOTOS))
    with closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute("SELECT image_sha256, state FROM jobs").fetchall()
        inputs = connection.execute("SELECT count(*) FROM inputs").fetchone()
    states: dict[str, str] = dict(rows)
    assert inputs == (PHOTOS,)
    assert states.keys() == {shot.sha256 for shot in taken}
    assert set(states.values()) <= {"SAVED", "UNCERTAIN"}
    billed_calls = emulator.billed_calls
    assert set(billed_calls.values()) == {1}
    saved = [shot for shot in taken if states[shot.sha256] == "SAVED"]
    assert all(billed_calls.get(shot.sha256) == 1 for shot in saved)
    assert {path.name for path in out.iterdir()} == {f"{shot.path.stem}.png" for shot in saved}
    assert all(shot.has_result(out / f"{shot.path.stem}.png") for shot in saved)
    held = [shot for shot in taken if states[shot.sha256] == "UNCERTAIN"]
    assert len(held) <= KILLS * AT_ONCE
    print(  # noqa: T201 - shown by pytest on request
        f"{PHOTOS} photographs, {died} kills: {len(saved)} saved, {len(held)} UNCERTAIN, of which "
        f"{sum(shot.sha256 in billed_calls for shot in held)} had been billed; {took:.0f} s"
    )
    shutil.rmtree(tmp_path / "in")
    shutil.rmtree(out)


@pytest.mark.parametrize("seed", range(4))
def test_kills_at_random_moments(plain_stage: Stage, tmp_path: Path, seed: int) -> None:
    """What the preloaded library does where it can be built, time does everywhere."""
    dice = random.Random(seed)
    scene = Scene(name=f"seed {seed}", root=tmp_path / "scene", stage=plain_stage)
    codes: Counter[int] = Counter()
    for _ in range(6):
        codes[scene.run(kill_after=dice.uniform(0.02, 0.12)).code] += 1
    scene.resume()
    verdict = examine(scene)
    assert verdict.broken == ()
    assert codes.keys() <= {0, KILLED}
