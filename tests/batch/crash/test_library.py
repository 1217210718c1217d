"""The library that lets file operations fail: it sees all of them, and each fault is a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .power import cut_power
from .processes import KILLED
from .scene import Fault, Scene, stage

ONE_OF_EACH = """
import os, sqlite3, sys
os.chdir(sys.argv[1])
os.mkdir("folder")
file = os.open("folder/a.part", os.O_CREAT | os.O_RDWR)
os.write(file, b"ab" * 50)
os.pwrite(file, b"cd" * 50, 100)
os.writev(file, [b"e" * 10, b"f" * 10])
os.ftruncate(file, 150)
os.fsync(file)
os.fdatasync(file)
os.close(file)
os.link("folder/a.part", "folder/b")
os.rename("folder/b", "folder/c")
os.unlink(os.path.abspath("folder/c"))
os.close(os.open("folder/a.part", os.O_RDONLY))
os.rmdir("folder") if not os.listdir("folder") else None
open(sys.argv[2], "w").close()
"""
# In the order of the script.
OPERATIONS = [
    "mkdir",
    "create",
    "write",
    "pwrite64",
    "writev",
    "ftruncate64",
    "fsync",
    "fdatasync",
    "link",
    "rename",
    "unlink",
    "open",
]
WRITE_AND_READ = """
import os, sys
file = os.open(sys.argv[1] + "/a", os.O_CREAT | os.O_WRONLY)
print("opened")
for number in range(2):
    try:
        print(os.write(file, b"x" * 100))
    except OSError as problem:
        print(problem.strerror)
"""


def environment(library: Path, place: Path, kind: str, at: int) -> dict[str, str]:
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "FAULT_BELOW": str(place),
        "FAULT_KIND": kind,
        "FAULT_AT": str(at),
        "FAULT_LOG": str(place.with_name("log")),
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "place"
    path.mkdir()
    return path


def test_every_operation_below_the_directory_is_counted_and_no_other(
    library: Path, place: Path
) -> None:
    """What it does not see would never be made to fail."""
    subprocess.run(
        [sys.executable, "-c", ONE_OF_EACH, str(place), str(place.with_name("elsewhere"))],
        env=environment(library, place, "count", 0),
        check=True,
    )
    lines = [line.split(" ", 3) for line in place.with_name("log").read_text().splitlines()]
    names = {"pwrite": "pwrite64", "ftruncate": "ftruncate64"}
    assert [names.get(line[1], line[1]) for line in lines] == OPERATIONS
    assert [int(line[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert all(line[3].startswith(str(place)) for line in lines)


@pytest.mark.parametrize(
    ("kind", "told", "size"),
    [
        ("count", ["opened", "100", "100"], 200),
        ("kill-before", ["opened"], 0),
        ("kill-after", ["opened"], 100),
        ("torn", ["opened"], 50),
        ("eio", ["opened", "Input/output error", "100"], 100),
        ("enospc", ["opened", "No space left on device", "100"], 100),
        ("short", ["opened", "50", "100"], 150),
        ("enospc-forever", ["opened", *["No space left on device"] * 2], 0),
    ],
)
def test_each_fault_is_what_the_process_and_the_disk_see(
    library: Path, place: Path, kind: str, told: list[str], size: int
) -> None:
    """The second operation, the first write, goes wrong."""
    ended = subprocess.run(
        [sys.executable, "-u", "-c", WRITE_AND_READ, str(place)],
        env=environment(library, place, kind, 2),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split("\n")[:-1] == told
    assert (place / "a").stat().st_size == size
    assert ended.returncode == (KILLED if len(told) == 1 else 0)


def test_a_database_and_renamed_files_survive_a_kill_at_every_operation(
    library: Path, tmp_path: Path
) -> None:
    """SQLite's own operations are seen, and made to fail: what it promises is what is found."""
    with stage(library) as played:
        whole = Scene(name="whole", root=tmp_path / "whole", stage=played, mode="stand-in")
        whole.run(Fault(kind="count"))
        operations = {(name, Path(path).suffix) for _, name, _, path in whole.operations()}
        assert operations > {("pwrite64", ".db-wal"), ("fdatasync", ".db-wal")}
        assert operations > {("unlink", ".db-journal"), ("rename", ".bin"), ("fsync", ".part")}
        for number in range(1, len(whole.operations()) + 1, 5):
            scene = Scene(name="killed", root=tmp_path / str(number), stage=played, mode="stand-in")
            assert scene.run(Fault(kind="kill-after", at=number)).code == KILLED
            assert scene.run().code == 0
            assert scene.rows("SELECT number FROM done") == [(n,) for n in range(5)]
            assert {path.name for path in scene.out.iterdir()} == {f"{n}.bin" for n in range(5)}


@pytest.mark.parametrize("flushed", [True, False])
def test_a_power_cut_loses_what_was_not_flushed(library: Path, place: Path, flushed: bool) -> None:
    """A rename that was not preceded by a flush leaves an empty file, as on real disks."""
    disk = place.with_name("disk")
    (place / "before").write_text("there")
    disk.mkdir()
    script = """
import os, sys
os.chdir(sys.argv[1])
with open("a.part", "w") as file:
    file.write("whole")
    file.flush()
    FLUSH
os.rename("a.part", "a")
os.fsync(os.open(".", os.O_RDONLY))
open("not flushed", "w").write("gone")
"""
    subprocess.run(
        [
            *(sys.executable, "-c"),
            script.replace("FLUSH", "os.fsync(file.fileno())" if flushed else ""),
            str(place),
        ],
        env={**environment(library, place, "count", 0), "FAULT_DISK": str(disk)},
        check=True,
    )
    cut_power(place, disk)
    left = {path.name: path.read_text() for path in place.iterdir()}
    assert left == {"before": "there", "a": "whole" if flushed else ""}
