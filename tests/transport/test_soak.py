"""Many calls at once through faults of every kind: nothing is lost, or paid for twice."""

from __future__ import annotations

import gc
import hashlib
import os
import random
from pathlib import Path

import anyio
import attrs
import pytest

from chainhub_async import AsyncChainHub, Billed, Limits, RetryPolicy, Timeout, errors
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing import faults as f
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import Leftovers, MakeHub
from .support import photo_of

pytestmark = pytest.mark.anyio

# `nox -s soak` makes it ten thousand.
CALLS = int(os.environ.get("SOAK_CALLS", "500"))
AT_ONCE = 64
IEND = b"\0\0\0\0IEND\xaeB`\x82"
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


def resident_kilobytes() -> int:
    """The memory this process has now, in KiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


@attrs.define
class Seen:
    """What the callers saw of one image."""

    billed: list[Billed] = attrs.field(factory=list)
    well: int = 0


class Callers:
    """Many callers that share one client, and write down what they see."""

    def __init__(self, hub: AsyncChainHub) -> None:
        self.seen: dict[str, Seen] = {}
        self.sizes: list[int] = []
        self._hub = hub
        self._numbers = iter(range(CALLS))
        self._bases = [photo_of(700_000)[:-12]] + [photo_of(2000)[:-12]] * 9

    async def work(self) -> None:
        """Makes calls until there are no more to make."""
        for number in self._numbers:
            await self._call(number)
            if number in {CALLS // 2, CALLS - 1}:
                self.sizes.append(resident_kilobytes())

    async def _call(self, number: int) -> None:
        image = self._bases[number % 10] + IEND + str(number).encode()
        mine = self.seen.setdefault(hashlib.sha256(image).hexdigest(), Seen())
        try:
            result = await self._hub.ideogram.replace_background(image, prompt=str(number))
        except errors.ChainHubError as error:
            mine.billed.append(error.billed)
        else:
            mine.well += 1
            assert [made.prompt for made in result.images] == [str(number)]


@pytest.mark.parametrize("seed", [1, 2])
async def test_soak(make_hub: MakeHub, seed: int) -> None:
    """Every call has one outcome, and what it says of the money is true."""
    dice = random.Random(seed)
    before = Leftovers()
    async with MisbehavingServer() as server:
        server.script(*(dice.choice(FAULTS) for _ in range(CALLS + 100)))
        hub = make_hub(
            server,
            limits=Limits(in_flight=AT_ONCE),
            timeout=Timeout(connect=2, write=2, read=0.5, reply=2),
            retry=RetryPolicy(base_delay=0.01, max_delay=0.02),
        )
        callers = Callers(hub)
        async with anyio.create_task_group() as tasks:
            for _ in range(2 * AT_ONCE):
                tasks.start_soon(callers.work)
        assert hub._transport.pool.gate.in_flight == 0
        await hub.aclose()
        assert len(callers.seen) == CALLS
        assert all(len(mine.billed) + mine.well == 1 for mine in callers.seen.values())
        # Some faults end before the server knows which image it was; those are not charged.
        assert max(server.billed.values()) == 1
        for image, mine in callers.seen.items():
            if mine.well:
                assert server.billed[image] == 1
            elif mine.billed == [Billed.NO]:
                assert server.billed[image] == 0
        assert sum(mine.well for mine in callers.seen.values()) > CALLS / 2
        # What the server writes down of each call grows; what the client holds must not.
        assert callers.sizes[-1] - callers.sizes[0] < 10_000 + 2 * CALLS
    gc.collect()
    await before.none()
