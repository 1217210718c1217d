"""Every fault of the POST, by size: what it raises, may have cost, and how often it was sent."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import attrs
import pytest

from chainhub_async import Billed, InsufficientBalanceError, RetryPolicy, errors
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing import faults as f
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import MakeHub
from .support import photo_of

pytestmark = pytest.mark.anyio

NO, MAYBE, YES = Billed.NO, Billed.MAYBE, Billed.YES
SMALL, MIDDLE, LARGE = 50_000, 2_000_000, 9_900_000
ALL = (SMALL, MIDDLE, LARGE)
LOST, INVALID = errors.ConnectionLostError, errors.InvalidReplyError


@attrs.frozen
class Row:
    """A fault that happens each time, and what a call then comes to."""

    fault: f.Fault
    error: type[errors.ChainHubError] | tuple[type[errors.ChainHubError], ...]
    billed: Billed
    attempts: int = 1
    sizes: tuple[int, ...] = ALL


def refused(status: int, error: type[errors.ChainHubError]) -> list[Row]:
    return [Row(b.HtmlError(status), error, NO)]


ROWS = [
    # Nothing was delivered whole.
    Row(f.AcceptAndClose(), LOST, NO, 3, (LARGE,)),
    Row(f.AcceptAndClose(reset=True), LOST, NO, 3, (LARGE,)),
    Row(f.ResetAfter(1000), LOST, NO, 3, (LARGE,)),
    Row(f.ResetAfter(100_000), LOST, NO, 3, (LARGE,)),
    Row(f.CloseAfter(1000), LOST, NO, 3, (LARGE,)),
    Row(f.StopReading(1000), errors.DeadlineError, NO, 2, (LARGE,)),
    # All of a small body goes into the kernel at once: nothing tells that it was not read.
    Row(f.ResetAfter(1000), LOST, MAYBE, 1, (SMALL,)),
    Row(f.StopReading(1000), errors.DeadlineError, MAYBE, 1, (SMALL,)),
    # A final status before the end.
    *(
        Row(f.EarlyStatus(status, after=1000), errors.APIError, NO, 4, (LARGE,))
        for status in (408, 425, 429, 500, 502, 503, 504, 522)
    ),
    *(
        Row(f.EarlyStatus(status, after=1000), errors.APIError, NO, 1, (SMALL, LARGE))
        for status in (400, 401, 402, 403, 404, 413, 422)
    ),
    Row(f.EarlyStatus(413, after=1000, polite=False), errors.ChainHubError, NO, 0, (LARGE,)),
    Row(f.EarlyStatus(503, after=1000, polite=False), errors.ChainHubError, NO, 0, (LARGE,)),
    # Lost after all had left.
    Row(f.ResetAfter(), LOST, MAYBE),
    Row(f.CloseAfter(), LOST, MAYBE),
    Row(f.NoAnswer(), errors.DeadlineError, MAYBE),
    # Refusals.
    *refused(400, errors.BadRequestError),
    *refused(401, errors.AuthenticationError),
    *refused(402, errors.InsufficientBalanceError),
    *refused(403, errors.PermissionDeniedError),
    *refused(404, errors.NotFoundError),
    *refused(405, errors.BadRequestError),
    *refused(406, errors.BadRequestError),
    *refused(409, errors.BadRequestError),
    *refused(411, errors.BadRequestError),
    *refused(413, errors.PayloadTooLargeError),
    *refused(414, errors.BadRequestError),
    *refused(415, errors.BadRequestError),
    *refused(422, errors.ContentRejectedError),
    *refused(431, errors.BadRequestError),
    *(
        Row(
            b.Answer.json({"error": {"code": code}}, status=status),
            errors.InsufficientBalanceError,
            NO,
            1,
            (SMALL,),
        )
        for status in (402, 403, 429)
        for code in ("insufficient_user_quota", 1101)
    ),
    Row(b.TooManyRequests(), errors.RateLimitError, NO, 4),
    Row(b.EmptyError(503, headers=(("Retry-After", "0"),)), errors.ServerError, NO, 4),
    Row(b.EmptyError(503, headers=(("Retry-After", "soon"),)), errors.ServerError, MAYBE),
    Row(b.HtmlError(408), errors.BadRequestError, MAYBE),
    Row(b.HtmlError(425, executes=False), errors.BadRequestError, MAYBE, 1, (SMALL,)),
    *(Row(b.HtmlError(s), errors.ServerError, MAYBE) for s in (500, 502, 503, 504, 520, 522, 524)),
    *(Row(b.Redirect(s), errors.RedirectError, NO, 1, (SMALL,)) for s in (300, 301, 302, 307, 308)),
    *(Row(b.Redirect(s), errors.RedirectError, MAYBE, 1, (SMALL,)) for s in (303, 304)),
    # Answers that cannot be read.
    *(Row(g.BadFraming(kind), INVALID, MAYBE, 1, (SMALL,)) for kind in g.Framing),
    *(Row(g.BadChunk(pause), INVALID, MAYBE, 1, (SMALL,)) for pause in (0, 0.05, 0.5)),
    Row(f.CutHead(20), (LOST, INVALID), MAYBE),
    Row(f.CutHead(20, reset=True), LOST, MAYBE),
    Row(f.CutBody(10), INVALID, MAYBE),
    Row(f.CutBody(10, reset=True), INVALID, MAYBE),
    Row(g.Gzipped(cut=True), INVALID, MAYBE),
    Row(f.EndlessHeaders(), INVALID, MAYBE, 1, (SMALL,)),
    Row(f.Flood1xx(), errors.DeadlineError, MAYBE, 1, (SMALL,)),
    Row(f.Drip("head", size=1, interval=0.2), errors.DeadlineError, MAYBE, 1, (SMALL,)),
    Row(f.Drip("body", size=1, interval=0.2), errors.DeadlineError, MAYBE, 1, (SMALL,)),
    Row(b.Stall(), errors.DeadlineError, MAYBE, 1, (SMALL,)),
    # A success that is none.
    Row(b.ErrorEnvelope(1101), errors.InsufficientBalanceError, NO, 1, (SMALL,)),
    Row(b.ErrorEnvelope("E-77"), errors.EnvelopeError, MAYBE, 1, (SMALL,)),
    Row(b.EmptyAnswer(), INVALID, YES, 1, (SMALL,)),
    Row(b.WrongType(), INVALID, YES),
    Row(b.WrongType(None), INVALID, YES, 1, (SMALL,)),
    Row(b.Answer.json({"data": []}), INVALID, YES, 1, (SMALL,)),
    Row(b.Answer.json([1, 2]), INVALID, YES, 1, (SMALL,)),
    Row(b.Oversized(2_000_000), INVALID, YES, 1, (SMALL,)),
    Row(b.Oversized(2_000_000, declared=False), INVALID, YES, 1, (SMALL,)),
    Row(g.GzipBomb(), INVALID, YES, 1, (SMALL,)),
    # Well, in spite of all.
]
CASES = [(row, size) for row in ROWS for size in row.sizes]


@pytest.mark.parametrize(
    ("row", "size"), CASES, ids=[f"{row.fault!r}-{size // 1000}k" for row, size in CASES]
)
async def test_fault(server: MisbehavingServer, make_hub: MakeHub, row: Row, size: int) -> None:
    """The outcome is the table's, and only what was provably not executed is sent again."""
    hub = make_hub(server)
    image = photo_of(size)
    server.always(row.fault)
    started = time.monotonic()
    with pytest.raises(row.error) as caught:
        await hub.ideogram.replace_background(image, prompt="a forest")
    # The longest rows wait twice for the deadline of a second; the server gives up after 60.
    assert time.monotonic() - started < 30
    error: Any = caught.value
    billed = server.billed[hashlib.sha256(image).hexdigest()] + server.billed[""]
    assert (error.billed, billed <= 1) == (row.billed, True), error
    assert billed == 0 or row.billed is not NO
    assert error.attempts
    assert error.attempts[-1].billed is error.billed
    if row.attempts:
        assert len(error.attempts) == row.attempts, error.attempts
    posts = [request for request in server.received if request.method == "POST"]
    assert all(request.path.startswith("/ideogram") for request in posts)
    assert all(not request.body_complete for request in posts[:-1]) or billed == 0


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    "fault",
    [
        f.EarlyStatus(429, after=1000),
        b.TooManyRequests(0),
        b.EmptyError(503, headers=(("Retry-After", "0"),)),
    ],
    ids=repr,
)
async def test_resent_once_then_well(
    server: MisbehavingServer, make_hub: MakeHub, fault: f.Fault, size: int
) -> None:
    """What was not executed is sent again and ends in one charge."""
    hub = make_hub(server)
    image = photo_of(size)
    server.script(fault)
    result = await hub.ideogram.replace_background(image, prompt="a forest")
    assert len(result.images) == 1
    assert server.billed == {hashlib.sha256(image).hexdigest(): 1}
    assert len(server.received) == 2


async def test_a_refusal_does_not_hide_what_came_before(
    server: MisbehavingServer, make_hub: MakeHub
) -> None:
    """With uncertain resends, the error is as grave as its gravest attempt."""
    hub = make_hub(server, retry=RetryPolicy(base_delay=0.01, resend_uncertain=True))
    server.script(f.ResetAfter(), b.ErrorEnvelope(1101))
    with pytest.raises(InsufficientBalanceError) as caught:
        await hub.ideogram.replace_background(photo_of(SMALL), prompt="a forest")
    assert [attempt.billed for attempt in caught.value.attempts] == [MAYBE, NO]
    assert caught.value.billed is MAYBE


async def test_what_follows_a_bad_chunk_is_kept(
    server: MisbehavingServer, make_hub: MakeHub
) -> None:
    """The URL of what may be paid for can be found in it, though the rest cannot be read."""
    server.script(g.BadChunk())
    with pytest.raises(INVALID, match="not valid HTTP") as caught:
        await make_hub(server).ideogram.replace_background(photo_of(SMALL), prompt="a forest")
    assert isinstance(caught.value, INVALID)
    assert b"\r\nzz\r\n" in caught.value.body
    assert caught.value.body.endswith(b"\r\n0\r\n\r\n")
