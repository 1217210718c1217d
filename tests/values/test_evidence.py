"""What an attempt proves, as a full table against "Defaults for the POST" of the promises."""

from __future__ import annotations

import itertools

import pytest

from chainhub_async.errors import Billed
from chainhub_async.transport import evidence
from chainhub_async.transport.evidence import AGAIN, Evidence, Verdict

NO, MAYBE = Billed.NO, Billed.MAYBE
RAISE = Verdict(billed=NO)
RESEND = Verdict(billed=NO, resends=AGAIN)
UNSURE = Verdict(billed=MAYBE, uncertain=True)

REFUSED = {400, 401, 402, 403, 404, 405, 406, 409, 411, 413, 414, 415, 422, 431}
OTHER_4XX = set(range(400, 500)) - REFUSED - {408, 425, 429}
REDIRECTS = set(range(300, 400))
STATUSES = sorted({101, 199, *range(300, 600), 600, 999})
PHASES = ("connect", "write", "read", "reply")


def seen(*, complete: bool, safe: bool = False, phase: str = "read") -> Evidence:
    return Evidence(
        phase=phase, bytes_sent=9 if complete else 5, bytes_total=9, complete=complete, safe=safe
    )


def expected(
    status: int, *, complete: bool, safe: bool, retry_after: bool, permanent: bool
) -> Verdict:
    """The table of the promises, row by row."""
    if permanent or status in REFUSED | OTHER_4XX:
        return RAISE
    if status == 429:
        return RESEND
    if status in {408, 425} or status >= 500:
        if not complete or safe:
            return RESEND
        return RESEND if status == 503 and retry_after else UNSURE
    if status in REDIRECTS:
        return Verdict(billed=MAYBE if status in {303, 304} and not safe else NO)
    return Verdict(billed=NO if safe else MAYBE)


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("retry_after", [False, True])
@pytest.mark.parametrize("permanent", [False, True])
def test_every_final_status(complete: bool, safe: bool, retry_after: bool, permanent: bool) -> None:
    """Each status, before and after the body was done, with and without a word about later."""
    for status in STATUSES:
        verdict = evidence.judge_status(
            status,
            seen(complete=complete, safe=safe),
            retry_after=retry_after,
            permanent=permanent,
        )
        assert verdict == expected(
            status, complete=complete, safe=safe, retry_after=retry_after, permanent=permanent
        ), status


@pytest.mark.parametrize(
    ("status", "complete", "verdict"),
    [
        (400, True, RAISE),
        (413, False, RAISE),
        (402, True, RAISE),
        (429, True, RESEND),
        (408, False, RESEND),
        (408, True, UNSURE),
        (500, False, RESEND),
        (500, True, UNSURE),
        (502, True, UNSURE),
        (503, True, UNSURE),
        (504, True, UNSURE),
        (524, True, UNSURE),
        (302, True, RAISE),
        (307, True, RAISE),
        (303, True, Verdict(billed=MAYBE)),
        (304, True, Verdict(billed=MAYBE)),
    ],
)
def test_rows_by_hand(status: int, complete: bool, verdict: Verdict) -> None:
    """The same rows written out, so that a slip in the table above would show."""
    assert evidence.judge_status(status, seen(complete=complete)) == verdict


def test_no_connection() -> None:
    """DNS, refused, unreachable, time-out: nothing was sent, so all is safe to resend."""
    assert evidence.judge_connect() == RESEND


@pytest.mark.parametrize(
    ("phase", "complete", "safe"), list(itertools.product(PHASES, [False, True], [False, True]))
)
def test_a_lost_connection(phase: str, complete: bool, safe: bool) -> None:
    """Reset or end of stream: twice at most while bytes are missing, unsure once none are."""
    verdict = evidence.judge_lost(seen(phase=phase, complete=complete, safe=safe))
    # The count is believed before the phase, which a borrowed connector may not report.
    if safe or (phase == "connect" and not complete):
        assert verdict == RESEND
    else:
        assert verdict == (UNSURE if complete else Verdict(billed=NO, resends=2))


@pytest.mark.parametrize(
    ("phase", "complete", "safe"), list(itertools.product(PHASES, [False, True], [False, True]))
)
def test_a_deadline(phase: str, complete: bool, safe: bool) -> None:
    """An upload that stalls is resent once; elsewhere it is as if the connection was lost."""
    verdict = evidence.judge_deadline(seen(phase=phase, complete=complete, safe=safe))
    if phase == "write" and not complete and not safe:
        assert verdict == Verdict(billed=NO, resends=1)
    else:
        assert verdict == evidence.judge_lost(seen(phase=phase, complete=complete, safe=safe))


def test_nothing_paid_is_ever_resent() -> None:
    """P1: whatever may have been executed has no resends, in no row of any table."""
    verdicts = [
        evidence.judge_status(status, seen(complete=complete), retry_after=later)
        for status in STATUSES
        for complete in (False, True)
        for later in (False, True)
    ]
    for phase, complete in itertools.product(PHASES, [False, True]):
        state = seen(phase=phase, complete=complete)
        verdicts += [evidence.judge_lost(state), evidence.judge_deadline(state)]
    unsure = [verdict for verdict in verdicts if verdict.billed is not NO]
    assert unsure
    assert all(verdict.resends == 0 for verdict in unsure)
