"""A batch whose file operations go wrong, one after another: nothing is billed twice or lost."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .scene import Fault, Scene, stage
from .sweep import FULL, HICCUPS, KILLS, Case, Stages

pytestmark = pytest.mark.slow  # many processes

# `CRASH_SWEEP=full` leaves none out, and half of a full disk's.
STRIDE = 1 if os.environ.get("CRASH_SWEEP") == "full" else 10
# The last runs of a sweep may make a few operations more than the one that was counted.
MARGIN = 5


def judge(cases: list[Case]) -> None:
    """Fails with what was broken; otherwise says how many jobs were left to their owner."""
    broken = [str(case) for case in cases if case.problems]
    assert not broken, f"{len(broken)} of {len(cases)} faults:\n" + "\n".join(broken)
    verdicts = [case.verdict for case in cases if case.verdict is not None]
    hits = sum(case.hit is not None for case in cases)
    print(  # noqa: T201 - shown by pytest on request
        f"{cases[0].fault.kind}: {len(cases)} runs, {hits} faults, "
        f"{sum(verdict.uncertain for verdict in verdicts)} jobs UNCERTAIN, of which "
        f"{sum(len(verdict.lost) for verdict in verdicts)} had been billed"
    )
    assert hits >= len(cases) / 3


def test_a_fault_at_every_seventh_operation(stages: Stages, tmp_path: Path) -> None:
    """Kills, power cuts and failures of a moment, in turn; then a resume."""
    kinds = [*KILLS, *HICCUPS, "power"]
    last = stages.count(tmp_path)
    assert last > 200
    faults = [fault(kinds[n % len(kinds)], at) for n, at in enumerate(range(2, last, 7))]
    judge(stages.play(tmp_path, [(one,) for one in faults]))


def fault(kind: str, at: int) -> Fault:
    """A fault; `power` is a kill that also loses what was not flushed."""
    return Fault(kind="kill-before" if kind == "power" else kind, at=at, power=kind == "power")


@pytest.mark.sweep
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [*KILLS, "power", *HICCUPS])
def test_a_fault_at_any_operation(stages: Stages, tmp_path: Path, kind: str) -> None:
    """Each kind of fault by itself, at every operation or every tenth; then a resume."""
    offset = random.Random(kind).randrange(STRIDE)
    numbers = range(1 + offset, stages.count(tmp_path) + MARGIN, STRIDE)
    judge(stages.play(tmp_path, [(fault(kind, at),) for at in numbers]))


@pytest.mark.timeout(600)
def test_faults_in_one_run_after_another(stages: Stages, tmp_path: Path) -> None:
    """The resume that clears up after a fault meets one itself, and the next one too."""
    dice = random.Random(5)
    last = stages.count(tmp_path)
    kinds = [*KILLS, *HICCUPS]
    rows = [
        tuple(fault(dice.choice(kinds), dice.randrange(1, last // part)) for part in (1, 2, 4))
        for _ in range(240 // STRIDE)
    ]
    judge(stages.play(tmp_path, rows))


def test_a_disk_that_fills_up(stages: Stages, tmp_path: Path) -> None:
    """When the ledger is opened, before a call, and when a response is in hand."""
    last = stages.count(tmp_path)
    faults = [Fault(kind=FULL, at=at) for at in (10, last // 3, last // 2)]
    judge(stages.play(tmp_path, [(one,) for one in faults]))


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_a_disk_that_fills_up_at_any_operation(library: Path, tmp_path: Path) -> None:
    """Nothing new is sent, the error names the ledger, and a resume with space left finishes."""
    # The patience of the ledger makes these slow, and idle.
    with Stages(library, 10) as stages:
        last = stages.count(tmp_path) + MARGIN
        faults = [Fault(kind=FULL, at=at) for at in range(1, last, 2 * STRIDE)]
        judge(stages.play(tmp_path, [(one,) for one in faults]))


@pytest.mark.parametrize("kind", ["kill-before", "enospc"])
def test_without_a_ledger_the_same_faults_cost_money(
    library: Path, tmp_path: Path, kind: str
) -> None:
    """The obvious program, which notes results in a JSON file, pays twice: so this can fail."""
    costly = 0
    with stage(library) as played:
        counted = Scene(name="count", root=tmp_path / "count", stage=played, mode="naive")
        counted.run(Fault(kind="count"))
        writes = [
            n
            for n, name, _, path in counted.operations()
            if path.endswith(".db") and name == "write"
        ]
        for at in writes:
            scene = Scene(name=f"at {at}", root=tmp_path / str(at), stage=played, mode="naive")
            scene.run(Fault(kind=kind, at=at), may_crash=True)
            paid = sum(scene.billed().values())
            # What it wrote last may be no JSON; its owner starts anew.
            if scene.run(may_crash=True).code:
                scene.ledger.unlink()
                scene.run()
            costly += paid > 0 and max(scene.billed().values()) > 1
    assert costly >= 3
