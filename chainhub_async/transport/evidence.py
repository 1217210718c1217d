"""What an attempt proves: whether it may have cost money, and whether it may be retried. Pure.

Judged from how much of the body was sent and from a final status, never from an exception's name:
the same reset can mean "nothing was read" or "all was done", and only the byte count tells.
"""

from __future__ import annotations

import attrs

from chainhub_async.errors import Billed, ChainHubError

# Statuses that mean that the gateway did not do the work (RFC 9110 §15.5).
_REFUSED = {400, 404, 405, 406, 409, 411, 413, 414, 415, 422, 431, 401, 402, 403}
# Statuses of an intermediary that gave up: executed only if the whole body had arrived.
_GAVE_UP = {408, 425}

AGAIN = 1_000_000
"""As many retries as the policy allows."""


@attrs.frozen(kw_only=True)
class Evidence:
    """How far an attempt got.

    Attributes:
        phase: `connect`, `write`, `read` or `reply`.
        bytes_sent: bytes of the body handed to the socket.
        bytes_total: bytes of the whole body.
        complete: whether the whole request was sent.
        safe: whether repeating the call never costs anything.
    """

    phase: str
    bytes_sent: int
    bytes_total: int
    complete: bool
    safe: bool


@attrs.frozen(kw_only=True)
class Verdict:
    """What follows from the evidence.

    Attributes:
        billed: whether money may have been spent.
        resends: the maximum number of retries for this kind of failure; 0 for never.
        uncertain: whether `RetryPolicy(resend_uncertain=True)` may retry it anyway.
    """

    billed: Billed
    resends: int = 0
    uncertain: bool = False


@attrs.frozen(kw_only=True)
class Failure:
    """A failed attempt and the verdict on it."""

    error: ChainHubError
    verdict: Verdict


def judge_status(
    status: int, evidence: Evidence, *, retry_after: bool = False, permanent: bool = False
) -> Verdict:
    """Judges a final status that is not a success.

    Args:
        status: the status.
        evidence: how far the request got.
        retry_after: whether the response has `Retry-After`.
        permanent: whether the response's body says that retrying is of no use.
    """
    if status in _REFUSED or permanent:
        return Verdict(billed=Billed.NO)
    if status == 429:
        return Verdict(billed=Billed.NO, resends=AGAIN)
    if status in _GAVE_UP or status >= 500:
        if not evidence.complete or evidence.safe or (status == 503 and retry_after):
            return Verdict(billed=Billed.NO, resends=AGAIN)
        return Verdict(billed=Billed.MAYBE, uncertain=True)
    if 300 <= status < 400:
        return Verdict(billed=_maybe(evidence) if status in {303, 304} else Billed.NO)
    return Verdict(billed=Billed.NO if status >= 400 else _maybe(evidence))


def judge_connect() -> Verdict:
    """Judges a connection that was never established."""
    return Verdict(billed=Billed.NO, resends=AGAIN)


def judge_lost(evidence: Evidence) -> Verdict:
    """Judges a lost connection, or a response that cannot be read."""
    if evidence.safe or (evidence.phase == "connect" and not evidence.complete):
        return Verdict(billed=Billed.NO, resends=AGAIN)
    if not evidence.complete:
        # Twice at most: a server that refuses the size or the key early looks the same.
        return Verdict(billed=Billed.NO, resends=2)
    return Verdict(billed=Billed.MAYBE, uncertain=True)


def judge_deadline(evidence: Evidence) -> Verdict:
    """Judges a deadline that passed."""
    if evidence.phase == "write" and not evidence.complete and not evidence.safe:
        return Verdict(billed=Billed.NO, resends=1)
    return judge_lost(evidence)


def _maybe(evidence: Evidence) -> Billed:
    return Billed.NO if evidence.safe else Billed.MAYBE
