"""The README says only what works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from chainhub_async.testing import Emulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROGRAMS = [code for kind, code in BLOCKS if kind == "python" and "def test_" not in code]
TESTS = [code for kind, code in BLOCKS if kind == "python" and "def test_" in code]
COMMANDS = [code for kind, code in BLOCKS if kind == "console" and code.startswith("chainhub ")]
# Commands that set up a machine: pip, nox, export. What they run is checked by name.
OTHERS = [
    line
    for kind, code in BLOCKS
    if kind == "console"
    for line in code.splitlines()
    if not line.startswith("chainhub ")
]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.in_thread() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, emulator: Emulator) -> tuple[Path, dict[str, str]]:
    """A folder with photographs, and an environment that leads to the emulator."""
    photograph = Image.radial_gradient("L").resize((160, 120)).convert("RGB")
    photograph.save(tmp_path / "cat.png")
    photograph.save(tmp_path / "dog.jpg")
    leading = {"CHAINHUB_API_KEY": emulator.api_key, "CHAINHUB_BASE_URL": emulator.base_url}
    return tmp_path, os.environ | leading


def run(command: list[str], place: tuple[Path, dict[str, str]]) -> str:
    folder, environment = place
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("code", PROGRAMS, ids=range(len(PROGRAMS)))
def test_programs_run(code: str, emulator: Emulator, place: tuple[Path, dict[str, str]]) -> None:
    """Each program runs to its end; one that looks for a task is given one."""
    emulator.reply = "task" if "result.task" in code else "images"
    run([sys.executable, "-W", "error", "-X", "dev", "-c", code], place)
    if "save(result" in code:
        assert list((place[0] / "out").iterdir())


def test_the_same_result_awaited_blocking_and_from_the_command_line(
    emulator: Emulator, place: tuple[Path, dict[str, str]]
) -> None:
    """The first three ways shown lead to the same picture."""
    pictures: list[bytes] = []
    for command in (
        [sys.executable, "-c", PROGRAMS[0]],
        [sys.executable, "-c", PROGRAMS[1]],
        [script("chainhub"), "replace-background", "cat.png", "--prompt", "a forest at dawn"],
    ):
        shutil.rmtree(place[0] / "out", ignore_errors=True)
        emulator.reset()  # its seeds begin anew
        extra = ["--output", "out"] if "replace-background" in command else []
        run([*command, *extra], place)
        (picture,) = (place[0] / "out").iterdir()
        pictures.append(picture.read_bytes())
        assert list(emulator.billed.values()) == [1]
    assert pictures[0] == pictures[1] == pictures[2]


@pytest.mark.parametrize("lines", COMMANDS)
def test_commands_run(lines: str, place: tuple[Path, dict[str, str]]) -> None:
    """The command lines of each block run one after another, as they stand."""
    path = f'PATH="{Path(sys.executable).parent}:$PATH"; export PATH; set -e\n'
    run(["/bin/sh", "-c", path + lines], place)
    assert len(list((place[0] / "out").glob("*.png"))) == 2
    assert (place[0] / "gallery.html").exists() is ("gallery.html" in lines)


def test_the_batch_survives_a_second_run(
    emulator: Emulator, place: tuple[Path, dict[str, str]]
) -> None:
    """The program that shows a batch buys two images, and when it is run again, none."""
    (program,) = [code for code in PROGRAMS if "hub.batch(" in code]
    for said in ("2 images were bought", "0 images were bought"):
        assert said in run([sys.executable, "-W", "error", "-c", program], place)
        assert sum(emulator.billed.values()) == 2
        assert sorted(path.name for path in (place[0] / "out").iterdir()) == ["cat.png", "dog.png"]


@pytest.mark.parametrize("code", TESTS)
def test_tests_pass(code: str, place: tuple[Path, dict[str, str]]) -> None:
    """The test that is shown passes with nothing but the plugin."""
    (place[0] / "test_shop.py").write_text(code, encoding="utf-8")
    (place[0] / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "test_shop.py"]
    assert "1 passed" in run(command, place)


def test_the_other_commands_are_those_of_the_project() -> None:
    """What sets up a machine names the sessions, extras and variables that there are."""
    sessions = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert OTHERS == [
        "python3 -m pip install nox && python3 -m nox -s demo",
        "python3 -m pip install nox && python3 -m nox",
        'pip install ".[cli,emulator]"',
        "export CHAINHUB_API_KEY=...",
        (
            "for n in 1 2 3; do python3 -m nox -r -s bench --"
            " --full --rounds 1 --seconds 1 --name run-$n; done"
        ),
        ".nox/bench/bin/python benchmarks/goals.py benchmarks/results/run-*.json",
        ".nox/bench/bin/python benchmarks/summary.py benchmarks/results/run-*.json",
    ]
    assert "def demo(" in sessions
    assert "def bench(" in sessions
    assert "<!-- tests -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
