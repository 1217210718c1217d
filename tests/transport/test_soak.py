"""Five hundred calls at once through faults of every kind: nothing is lost, or paid for twice."""

from __future__ import annotations

import gc
import hashlib
import random

import anyio
import attrs
import pytest

from chainhub_async import Billed, Limits, RetryPolicy, Timeout, errors
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing import faults as f
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import Leftovers, MakeHub
from .support import photo_of

pytestmark = pytest.mark.anyio

CALLS = 500
WELL = f.AnswerWell()
FAULTS: list[f.Fault] = [
    *[WELL] * 30,
    f.AcceptAndClose(),
    f.AcceptAndClose(reset=True),
    f.ResetAfter(1000),
    f.ResetAfter(),
    f.CloseAfter(),
    f.EarlyStatus(503, after=500),
    f.EarlyStatus(413, after=500, polite=False),
    f.CutHead(),
    f.CutBody(),
    b.HtmlError(502),
    b.EmptyError(503, headers=(("Retry-After", "0"),)),
    b.TooManyRequests(),
    b.Redirect(),
    b.WrongType(),
    b.ErrorEnvelope("x"),
    g.BadFraming(g.Framing.NOT_HTTP),
    g.CloseAfterAnswer(),
    g.CloseAfterAnswer(on_next_request=True),
    g.ExtraAnswer(),
    g.Gzipped(),
    g.Gzipped(cut=True),
    g.Delay(0.05),
    f.NoAnswer(),
]


@attrs.define
class Seen:
    """What the callers saw of one image."""

    billed: list[Billed] = attrs.field(factory=list)
    well: int = 0


@pytest.mark.parametrize("seed", [1, 2])
async def test_soak(make_hub: MakeHub, seed: int) -> None:
    """Every call has one outcome, and what it says of the money is true."""
    dice = random.Random(seed)
    before = Leftovers()
    async with MisbehavingServer() as server:
        server.script(*(dice.choice(FAULTS) for _ in range(CALLS + 100)))
        hub = make_hub(
            server,
            limits=Limits(in_flight=32),
            timeout=Timeout(connect=2, write=2, read=0.5, reply=2),
            retry=RetryPolicy(base_delay=0.01, max_delay=0.02),
        )
        images = {n: photo_of(2000 if n % 10 else 700_000)[:-12] for n in range(CALLS)}
        seen: dict[str, Seen] = {}

        async def call(number: int) -> None:
            image = images[number] + b"\0\0\0\0IEND\xaeB`\x82" + str(number).encode()
            mine = seen.setdefault(hashlib.sha256(image).hexdigest(), Seen())
            try:
                result = await hub.ideogram.replace_background(image, prompt=str(number))
            except errors.ChainHubError as error:
                mine.billed.append(error.billed)
            else:
                mine.well += 1
                assert [made.prompt for made in result.images] == [str(number)]

        async with anyio.create_task_group() as tasks:
            for number in range(CALLS):
                tasks.start_soon(call, number)
        assert hub._transport.pool.gate.in_flight == 0
        await hub.aclose()
        assert len(seen) == CALLS
        assert all(len(mine.billed) + mine.well == 1 for mine in seen.values())
        # Some faults end before the server knows which image it was; those are not charged.
        assert max(server.billed.values()) == 1
        for image, mine in seen.items():
            if mine.well:
                assert server.billed[image] == 1
            elif mine.billed == [Billed.NO]:
                assert server.billed[image] == 0
        assert sum(mine.well for mine in seen.values()) > CALLS / 2
    gc.collect()
    await before.none()
