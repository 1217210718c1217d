"""The goals: what is measured, in which cells, and what it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import batches
import blocking_calls
import download_suite
import imports
import uploads
from harness import Result
from pictures import KB, MB
from runs import Run, difference, ratio
from uploads import BASELINE, OWN, OWN_BYTES

RATE, CPU, LATE, RSS = "requests_per_second", "cpu_ms", "late_p99_ms", "rss_growth_mb"
Cells = Callable[[Run], Iterable[Result]]


@attrs.frozen
class Goal:
    """One line of the table.

    Attributes:
        what: what is measured.
        cells: the cells it speaks of.
        value: what is measured of one cell.
        least: it should be this at least, or None.
        most: it should be this at most, or None. With neither there is no goal.
        unit: of the value; a ratio if empty.
        beside: what the baseline has in the same cell.
    """

    what: str
    cells: Cells
    value: Callable[[Result], float]
    least: float | None = attrs.field(default=None, kw_only=True)
    most: float | None = attrs.field(default=None, kw_only=True)
    unit: str = attrs.field(default="", kw_only=True)
    beside: Callable[[Result], float] | None = attrs.field(default=None, kw_only=True)

    @property
    def goal(self) -> str:
        if self.least is None and self.most is None:
            return "none"
        limit = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{limit} {self.unit}".strip()

    def worst(self, run: Run) -> tuple[float, Result, int] | None:
        """Returns a run's worst value, its cell, and of how many; None where there is none."""
        found = [(self.value(result), result) for result in self.cells(run)]
        if not found:
            return None
        more_is_worse = self.most is not None or bool(self.unit)
        pick = max if more_is_worse else min
        return (*pick(found, key=lambda one: one[0]), len(found))

    def met(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )


def _uploads(
    *servers: str, levels: Iterable[int], sizes: Iterable[int] = (100 * KB, MB, 10 * MB)
) -> Cells:
    wanted, ok = set(levels), set(sizes)
    return lambda run: run.of(
        "uploads",
        lambda facts: facts["server"] in servers,
        lambda facts: facts["in_flight"] in wanted and facts["size"] in ok,
    )


def _with(name: str, cells: Cells) -> Cells:
    return lambda run: (result for result in cells(run) if name in result.runs)


def _least_work(server: str, level: int) -> Cells:
    return _with(uploads.LEAST, _uploads(server, levels=[level], sizes=[KB]))


def _threads(level: int, delay_ms: int = 0, *, pinned: bool = True) -> Cells:
    wanted = {"level": level, "delay_ms": delay_ms, "pinned": pinned}
    return lambda run: run.of("blocking", lambda facts: wanted.items() <= facts.items())


def _suite(name: str, *contenders: str) -> Cells:
    return lambda run: run.of(name, with_=contenders)


def _over(figure: str, other: str = BASELINE, own: str = OWN) -> Callable[[Result], float]:
    return lambda result: ratio(result, own, figure, to=other)


def _of(name: str, figure: str) -> Callable[[Result], float]:
    return lambda result: result.median(name, figure)


def _more(name: str, figure: str, other: str) -> Callable[[Result], float]:
    return lambda result: difference(result, name, figure, to=other)


def _absolute(what: str, cells: Cells, figure: str, most: float, unit: str) -> Goal:
    own, base = _of(OWN, figure), _of(BASELINE, figure)
    return Goal(what, cells, own, most=most, unit=unit, beside=base)


PLAIN, MANY, THOUSAND = ("plain", "delayed"), (32, 256, 1000), (1000,)
ALL = _uploads(*PLAIN, levels=(1, *MANY))
AT_MANY = _uploads(*PLAIN, levels=MANY)
AT_32, AT_1000 = _uploads("plain", levels=[32]), _uploads("delayed", levels=THOUSAND)
MB_1000 = _uploads("delayed", levels=THOUSAND, sizes=[MB])
TLS_32, TLS_1000 = _uploads("tls", levels=[32]), _uploads("tls delayed", levels=THOUSAND)
OPENAI, CURL = "openai", "pycurl-multi"

GOALS = [
    Goal("requests/s over the baseline, every cell", ALL, _over(RATE), least=1.5),
    Goal("requests/s over the baseline, 32 and more in flight", AT_MANY, _over(RATE), least=2),
    Goal(
        "requests/s over openai's async client, 1 in flight",
        _with(OPENAI, _uploads("plain", levels=[1])),
        _over(RATE, OPENAI),
        least=4,
    ),
    Goal(
        "requests/s over openai's async client, 32 and more in flight",
        _with(OPENAI, AT_MANY),
        _over(RATE, OPENAI),
        least=8,
    ),
    Goal(
        "requests/s over pycurl multi, 1 MB, 1 000 in flight",
        _with(CURL, MB_1000),
        _over(RATE, CURL),
        least=1,
    ),
    Goal(
        "requests/s over pycurl multi, 100 KB, 32 in flight",
        _with(CURL, _uploads("plain", levels=[32], sizes=[100 * KB])),
        _over(RATE, CURL),
        least=0.65,
    ),
    Goal("client CPU per upload, of the baseline's", ALL, _over(CPU), most=0.6),
    _absolute("RSS growth, 1 000 in flight, 1 MB each", MB_1000, RSS, 40, "MB"),
    _absolute(
        "RSS growth, 1 000 in flight to a slow reader",
        _uploads("slow", levels=THOUSAND),
        RSS,
        40,
        "MB",
    ),
    _absolute("loop lateness p99, 32 in flight", AT_32, LATE, 10, "ms"),
    _absolute("loop lateness p99, 1 000 in flight", AT_1000, LATE, 100, "ms"),
    Goal("loop lateness p99, of the baseline's, 32 and more", AT_MANY, _over(LATE), most=0.5),
    Goal(
        "TLS: requests/s over the baseline, 32 and more in flight",
        _uploads("tls", "tls delayed", levels=MANY),
        _over(RATE),
        least=1.5,
    ),
    Goal("TLS: requests/s over the baseline, 1 000 in flight", TLS_1000, _over(RATE), least=2),
    _absolute(
        "TLS: RSS growth, 1 000 in flight, 1 MB each",
        _uploads("tls delayed", levels=THOUSAND, sizes=[MB]),
        RSS,
        130,
        "MB",
    ),
    Goal(
        "TLS: RSS growth of 1 000 sessions alone (aiohttp, prebuilt body of 1 KB)",
        _least_work("tls delayed", 1000),
        _of(uploads.LEAST, RSS),
        unit="MB",
    ),
    _absolute("TLS: loop lateness p99, 32 in flight", TLS_32, LATE, 10, "ms"),
    _absolute("TLS: loop lateness p99, 1 000 in flight", TLS_1000, LATE, 100, "ms"),
    Goal(
        "CPU of an awaited call over aiohttp with a prebuilt body, 1 KB in memory",
        _least_work("plain", 1),
        _more(OWN_BYTES, CPU, uploads.LEAST),
        most=0.15,
        unit="ms",
    ),
    Goal(
        "the same with a file of 1 KB",
        _least_work("plain", 1),
        _more(OWN, CPU, uploads.LEAST),
        unit="ms",
        beside=_more(BASELINE, CPU, uploads.LEAST),
    ),
    Goal(
        "blocking call over awaited call",
        _threads(1),
        _more(blocking_calls.BLOCKING, "ms_per_call", blocking_calls.AWAITED),
        most=0.3,
        unit="ms",
    ),
    *(
        Goal(
            f"64 threads over 64 tasks{where}, calls/s, a server that takes {delay}",
            _threads(64, delay_ms, pinned=pinned),
            _over(RATE, blocking_calls.AWAITED, blocking_calls.BLOCKING),
            least=0.85,
        )
        for delay_ms, delay in ((200, "200 ms"), (50, "50 ms"), (20, "20 ms"), (0, "no time"))
        for pinned, where in ((True, ""), (False, ", on any core"))
    ),
    Goal(
        "`import chainhub_async`, of `import aiohttp`",
        _suite("imports", imports.OWN),
        _over("import_ms", imports.BASELINE, imports.OWN),
        most=0.5,
    ),
    Goal(
        "`chainhub --help`, the whole process",
        _suite("imports", imports.HELP),
        _of(imports.HELP, "process_ms"),
        most=300,
        unit="ms",
    ),
    Goal(
        "batch of 1 000 small images, ledger over no ledger, a server that takes 200 ms",
        lambda run: run.of("batches", lambda facts: facts["count"] == 1_000),
        _over("items_per_second", batches.BASELINE, batches.LEDGER),
        least=0.9,
    ),
    Goal(
        "batch of 10 000 small images, ledger over no ledger, a server that takes no time",
        lambda run: run.of("batches", lambda facts: facts["count"] == 10_000),
        _over("items_per_second", batches.BASELINE, batches.LEDGER),
        least=0.9,
    ),
    Goal("cold files: requests/s over the baseline", _suite("cold"), _over(RATE)),
    Goal(
        "cold files: loop lateness p99",
        _suite("cold"),
        _of(OWN, LATE),
        unit="ms",
        beside=_of(BASELINE, LATE),
    ),
    Goal(
        "saving results: rate over aiohttp doing the same by hand",
        _suite("downloads", download_suite.SAFE),
        _over(RATE, download_suite.SAFE),
    ),
]
