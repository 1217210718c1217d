"""Plays the same scene with a fault at one file operation after another, several at a time."""

from __future__ import annotations

import itertools
import queue
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import attrs

from .processes import KILLED, Report
from .scene import IN_FLIGHT, Fault, Scene, Stage, stage
from .verdict import Verdict, examine

KILLS = ("kill-before", "kill-after", "torn")
# The process lives on after these, so what it held in its hands must not be lost.
HICCUPS = ("eio", "enospc", "short")
FULL = "enospc-forever"


@attrs.frozen(kw_only=True)
class Case:
    """What came of one fault.

    Attributes:
        fault: what was asked for.
        hit: the operation that it met; None if there were not so many.
        problems: the promises that were broken.
        verdict: what the files and the ledger look like after the last resume; None if there was
            no end.
    """

    fault: Fault
    hit: str | None
    problems: tuple[str, ...]
    verdict: Verdict | None

    def __str__(self) -> str:
        return f"{self.fault.kind} at {self.hit}: " + "; ".join(self.problems)


class Stages:
    """So many stages, each with a server of its own."""

    def __init__(self, library: Path, number: int) -> None:
        self._number = number
        self._library = library
        self._free: queue.Queue[Stage] = queue.Queue()
        self._numbers = itertools.count(1)
        self._open = ExitStack()

    def __enter__(self) -> Stages:  # noqa: PYI034 - no Self before 3.11
        for _ in range(self._number):
            self._free.put(self._open.enter_context(stage(self._library)))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def count(self, root: Path) -> int:
        """Returns how many operations a run without faults makes."""
        free = self._free.get()
        try:
            scene = Scene(name="count", root=root / f"count-{next(self._numbers)}", stage=free)
            scene.run(Fault(kind="count"))
            return len(scene.operations())
        finally:
            self._free.put(free)

    def play(self, root: Path, faults: Iterable[tuple[Fault, ...]]) -> list[Case]:
        """Plays a scene for each, with its faults in the first runs."""
        with ThreadPoolExecutor(self._number) as threads:
            return list(threads.map(partial(self._play, root), faults))

    def _play(self, root: Path, faults: tuple[Fault, ...]) -> Case:
        free = self._free.get()
        try:
            name = f"{faults[0].kind}-{faults[0].at}-{next(self._numbers)}"
            scene = Scene(name=name, root=root / name, stage=free)
            case = play(scene, faults)
            if not case.problems:
                shutil.rmtree(scene.root)
            return case
        finally:
            self._free.put(free)


def play(scene: Scene, faults: tuple[Fault, ...]) -> Case:
    """Runs a batch into its faults, resumes it, and looks for broken promises."""
    hit: str | None = None
    problems: list[str] = []
    for fault in faults:
        report = scene.run(fault)
        met = scene.fault()
        if met is not None:
            hit = met[0] if hit is None else f"{hit} and {met[0]}"
        if (report.code == KILLED) != (fault.kind in KILLS and met is not None):
            problems.append(f"the process ended with {report.code}")
        if fault.kind == FULL and met is not None:
            if len(late := scene.arrivals_after(met[1])) > IN_FLIGHT:
                problems.append(f"{len(late)} calls arrived after the disk was full")
            problems += full_disk(scene, report)
        problems += _bugs(report)
    try:
        scene.resume()
    except AssertionError as endless:
        problems.append(str(endless))
        return Case(fault=faults[0], hit=hit, problems=tuple(problems), verdict=None)
    verdict = examine(scene, saved_unrecorded=any(fault.kind == FULL for fault in faults))
    problems += verdict.broken
    if verdict.lost and all(fault.kind in HICCUPS for fault in faults):
        problems.append(f"paid for and lost: {verdict.lost}")
    problems += finished_is_finished(scene)
    return Case(fault=faults[0], hit=hit, problems=tuple(problems), verdict=verdict)


def _bugs(report: Report) -> Iterator[str]:
    for line in [*report.outcomes, report.ended]:
        for message in (line.get("message"), line.get("why")):
            if message and "Please report" in message:
                yield f"a bug: {message}"


def finished_is_finished(scene: Scene) -> Iterator[str]:
    """One more run must find nothing to do."""
    before = len(scene.stage.emulator.requests)
    states = Counter(outcome["state"] for outcome in scene.run().outcomes)
    if states.keys() - {"SKIPPED", "UNCERTAIN"}:
        yield f"one run more came to {dict(states)}"
    if len(scene.stage.emulator.requests) != before:
        yield "one run more sent requests"


def full_disk(scene: Scene, report: Report) -> Iterator[str]:
    """What must hold after a run in which nothing more could be written from some moment on."""
    if report.raised:
        if scene.billed():
            yield "it could not begin, and was billed"
        message = report.raised["message"]
        if str(scene.ledger) not in message and str(scene.out) not in message:
            yield f"it does not say what is full: {message}"
        return
    billed = scene.billed()
    states = dict(scene.rows("SELECT image_sha256, state FROM jobs"))
    for outcome in report.outcomes:
        photo = scene.photos[outcome["index"]]
        message = f"{outcome['error']}: {outcome['message']}"
        if outcome["state"] == "PENDING" and str(scene.ledger) not in message:
            yield f"{photo.path.name} was not started, and its error does not say why: {message}"
        if outcome["state"] == "PENDING" and billed[photo.sha256] and not _is_copy(photo.path):
            yield f"{photo.path.name} was billed and came out PENDING"
        # Only the caller has the result now: it must be told so.
        is_nowhere_else = outcome["paid"] and states.get(photo.sha256) == "SENDING"
        if is_nowhere_else and outcome["spent"] and outcome["error"] != "LedgerError":
            yield f"{photo.path.name}: its result is nowhere else, and it says only: {message}"
    if not report.ended:
        yield "it did not end"


def _is_copy(path: Path) -> bool:
    return path.stem == "p4"
