"""What must hold when a batch that was interrupted has been resumed until nothing is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

from chainhub_async.testing.gallery import PLACEHOLDER_SIZE
from chainhub_async.testing.placeholder import flat_png

from .processes import Report
from .scene import Scene


@attrs.frozen(kw_only=True)
class Verdict:
    """What is found after the last resume.

    Attributes:
        broken: promises that were broken.
        lost: photographs that were billed and whose results never came.
        uncertain: how many jobs are held as `UNCERTAIN`; not all of them were billed.
    """

    broken: tuple[str, ...]
    lost: tuple[str, ...]
    uncertain: int


def examine(scene: Scene, *, saved_unrecorded: bool = False) -> Verdict:
    """Looks for broken promises once the batch is finished.

    Args:
        scene: the batch.
        saved_unrecorded: whether results may have been saved that the ledger had no room for.
    """
    rows = scene.rows("SELECT image_sha256, state FROM inputs JOIN jobs USING (key)")
    states: dict[str, str] = dict(rows)
    billed = scene.billed()
    return Verdict(
        broken=(
            *_about_money(scene, states),
            *_about_inputs(scene),
            *_about_outcomes(scene, scene.reports[-1], states),
            *_about_files(scene, states, saved_unrecorded=saved_unrecorded),
        ),
        lost=tuple(_name(scene, sha) for sha in billed if states.get(sha) != "SAVED"),
        uncertain=sum(state == "UNCERTAIN" for state in states.values()),
    )


def _name(scene: Scene, sha: str) -> str:
    return "/".join(photo.path.name for photo in scene.photos if photo.sha256 == sha)


def _about_money(scene: Scene, states: dict[str, str]) -> Iterator[str]:
    billed = scene.billed()
    intents = dict(
        scene.rows(
            "SELECT image_sha256, count(sent_at) FROM jobs LEFT JOIN attempts USING (key)"
            " GROUP BY key"
        )
    )
    for sha, times in billed.items():
        if times > 1:
            yield f"{_name(scene, sha)} was billed {times} times"
        if not intents.get(sha):
            yield f"{_name(scene, sha)} was billed without a durable intent"
    for sha, state in states.items():
        if state == "SAVED" and not billed[sha]:
            yield f"{_name(scene, sha)} is SAVED and was never billed"


def _about_inputs(scene: Scene) -> Iterator[str]:
    rows = scene.rows("SELECT source, state FROM inputs JOIN jobs USING (key)")
    found = Counter(source for source, _ in rows)
    for photo in scene.photos:
        if found[str(photo.path)] != 1:
            yield f"{photo.path.name} is {found[str(photo.path)]} times in the ledger"
    for source, state in rows:
        if state not in {"SAVED", "UNCERTAIN"}:
            yield f"{Path(source).name} is {state} after the last resume"
    if scene.rows("PRAGMA integrity_check") != [("ok",)]:
        yield "the ledger is damaged"


def _about_outcomes(scene: Scene, report: Report, states: dict[str, str]) -> Iterator[str]:
    indexes = sorted(outcome["index"] for outcome in report.outcomes)
    if indexes != list(range(len(scene.photos))):
        yield f"the outcomes are of the inputs {indexes}"
        return
    for outcome in report.outcomes:
        photo, state = scene.photos[outcome["index"]], outcome["state"]
        noted = states.get(photo.sha256)
        if {"SKIPPED": "SAVED"}.get(state, state) != noted:
            yield f"{photo.path.name} came out {state}, and the ledger says {noted}"
        names = sorted(Path(path).name for path in outcome["saved"])
        if names != (sorted(photo.files()) if noted == "SAVED" else []):
            yield f"{photo.path.name} came out {state} with the files {names}"
        if state == "UNCERTAIN" and outcome["billed"] not in {"maybe", "yes"}:
            yield f"{photo.path.name} is UNCERTAIN, and billed: {outcome['billed']}"


def _about_files(scene: Scene, states: dict[str, str], *, saved_unrecorded: bool) -> Iterator[str]:
    there = {path.name: path for path in scene.out.iterdir()}
    expected: dict[str, str] = {}
    for photo in scene.photos:
        if states.get(photo.sha256) == "SAVED":
            expected |= photo.files()
        elif saved_unrecorded:
            expected |= {name: text for name, text in photo.files().items() if name in there}
    if extra := sorted(there.keys() - expected.keys()):
        yield f"there are files that belong to nothing: {extra}"
    for name, text in expected.items():
        if name not in there:
            yield f"{name} is missing"
        elif there[name].read_bytes() != flat_png(PLACEHOLDER_SIZE, text):
            yield f"{name} is not the right picture, or not whole"
