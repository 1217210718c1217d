"""Limits that the system sets: files that may not grow, and files that may not be written."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from .scene import Scene, Stage
from .sweep import finished_is_finished, full_disk
from .verdict import examine

needs_permissions = pytest.mark.skipif(
    os.name == "posix" and os.geteuid() == 0 and sys.platform != "linux",
    reason="permissions do not hold the superuser back",
)


@pytest.mark.parametrize(
    "limit",
    [
        *(0, 1, 1000, 4096, 20_000, 60_000, 90_000),
        # These fail with responses in hand, which the ledger is slow to give up.
        *(pytest.param(limit, marks=pytest.mark.slow) for limit in range(110_000, 290_000, 40_000)),
    ],
)
def test_files_that_may_not_grow(plain_stage: Stage, tmp_path: Path, limit: int) -> None:
    """A limit of the file size lets writes fail at some point, as a full disk does."""
    scene = Scene(name=f"limit {limit}", root=tmp_path / "scene", stage=plain_stage)
    report = scene.run(file_limit=limit)
    assert report.code == 0
    assert list(full_disk(scene, report)) == []
    scene.resume()
    assert examine(scene, saved_unrecorded=True).broken == ()
    assert list(finished_is_finished(scene)) == []


@needs_permissions
def test_a_new_ledger_in_a_directory_that_is_read_only(plain_stage: Stage, tmp_path: Path) -> None:
    """It cannot be created: nothing is sent."""
    scene = Scene(name="new", root=tmp_path / "scene", stage=plain_stage)
    scene.out.mkdir()
    scene.place.chmod(0o555)
    try:
        report = scene.run(unprivileged=True)
    finally:
        scene.place.chmod(0o755)
    refused(scene, report.raised)
    assert not scene.ledger.exists()


@needs_permissions
@pytest.mark.parametrize("what", ["file", "directory", "both", "nothing may be read"])
def test_a_ledger_that_is_read_only(plain_stage: Stage, tmp_path: Path, what: str) -> None:
    """It cannot be written: nothing is sent, and it stays as it is."""
    scene = Scene(name="old", root=tmp_path / "scene", stage=plain_stage)
    assert scene.run().is_finished
    before, requests = scene.ledger.read_bytes(), len(plain_stage.emulator.requests)
    scene.photos.append(scene.photo(6))
    scene.ledger.chmod({"directory": 0o644, "nothing may be read": 0o000}.get(what, 0o444))
    scene.place.chmod(0o755 if what == "file" else 0o555)
    try:
        report = scene.run(unprivileged=True)
    finally:
        scene.place.chmod(0o755)
        scene.ledger.chmod(0o644)
    assert report.code == 0
    refused(scene, report.raised)
    assert scene.ledger.read_bytes() == before
    assert len(plain_stage.emulator.requests) == requests
    assert scene.resume().is_finished
    assert set(scene.billed().values()) == {1}


def refused(scene: Scene, raised: dict[str, str]) -> None:
    """The ledger could not be used, and the message says which, and that nothing is sent."""
    assert raised["raised"] == "LedgerError"
    assert str(scene.ledger) in raised["message"]
    assert re.search("Nothing (was|more is) sent", raised["message"])
