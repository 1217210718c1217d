"""Processes that run batches and may die doing so, and what they told until then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

KILLED = -int(signal.SIGKILL)
HUNG = -int(signal.SIGALRM)


@attrs.frozen(kw_only=True)
class Report:
    """What a process told before its end."""

    code: int
    lines: Sequence[dict[str, Any]]

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "index" in line]

    @property
    def ended(self) -> dict[str, Any]:
        """How the batch ended; empty if the process did not live to tell."""
        return next((line for line in self.lines if "ended" in line), {})

    @property
    def raised(self) -> dict[str, Any]:
        return next((line for line in self.lines if "raised" in line), {})

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to be done by a resume."""
        left = any(outcome["state"] in {"PENDING", "ACCEPTED"} for outcome in self.outcomes)
        return bool(self.code == 0 and self.ended and not self.raised and not left)


class Driver:
    """A process that has everything imported and is forked for each run.

    Args:
        library: preloaded into it, to let file operations fail.
    """

    def __init__(self, library: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(Path(__file__).with_name("driver.py"))],
            env=self._environment(library),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def _environment(library: Path | None) -> dict[str, str]:
        # What is measured dies before it can tell, and takes three times as long.
        kept = {name: text for name, text in os.environ.items() if not name.startswith("COV")}
        return kept if library is None else {**kept, "LD_PRELOAD": str(library)}

    def run(self, told: Path, **run: Any) -> Report:
        """Runs a batch to its end, which may be a violent one."""
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps({**run, "told": str(told)}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        assert line, "the driver has died"
        text = told.read_text(encoding="utf-8") if told.exists() else ""
        # A line that was being written when the process was killed is of no use.
        whole = [json.loads(each) for each in text.splitlines(keepends=True) if each[-1] == "\n"]
        report = Report(code=int(line), lines=whole)
        bugs = [each for each in whole if each.get("crashed") or each.get("trace")]
        assert not bugs or run.get("may_crash"), f"the driver itself failed: {bugs}"
        assert report.code != HUNG, f"it hung: {run}"
        return report

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
