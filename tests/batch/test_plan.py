"""A dry run says what would be done, and does nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chainhub_async import AsyncChainHub, LedgerError, PlannedJob, ReplaceBackground
from chainhub_async.testing import (
    Answer,
    AnswerWell,
    Emulator,
    Expired,
    HtmlError,
    MisbehavingServer,
)

from .conftest import calls, names, photo, posts, run

pytestmark = pytest.mark.anyio
Photos = Callable[[int], list[Path]]


async def planned(hub: AsyncChainHub, requests: Any, **settings: Any) -> list[PlannedJob]:
    """The plan of a batch."""
    return [one async for one in hub.batch(**settings).plan(requests)]


def actions(plans: list[PlannedJob]) -> list[str]:
    """What would be done."""
    return [one.action.value for one in plans]


async def test_says_what_would_be_sent(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, ledger: Path, out: Path, tmp_path: Path
) -> None:
    """New inputs, duplicates and refusals, and what each would cost; nothing is created."""
    first, second = photos(2)
    requests: list[Any] = [
        *calls([first]),
        *calls([second], num_images=4),
        *calls([first.read_bytes()]),
        *calls([tmp_path / "missing.png"]),
        "no call",
    ]
    plans = await planned(hub, requests, ledger=ledger, save_to=out)
    assert actions(plans) == ["SEND", "SEND", "DUPLICATE", "REFUSE", "REFUSE"]
    assert [one.images for one in plans] == [1, 4, 0, 0, 0]
    assert [one.index for one in plans] == [0, 1, 2, 3, 4]
    assert "missing.png" in str(plans[3].error)
    assert not ledger.exists()
    assert not out.exists()
    assert not emulator.requests
    assert not list(ledger.parent.glob("batch.db*"))


async def test_after_a_run(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, ledger: Path, out: Path
) -> None:
    """What a resume would skip, fetch, hold and refuse, and that it depends on the settings."""
    server.script(AnswerWell(), AnswerWell(), AnswerWell(), HtmlError(500), Answer(status=422))
    server.gets.script(AnswerWell(), *[Answer(status=404)], Expired())
    requests = calls(photos(6))
    for request in requests[:5]:
        await run(tried, [request], ledger=ledger, save_to=out)
    plans = await planned(tried, requests, ledger=ledger, save_to=out)
    assert actions(plans) == ["SKIP", "DOWNLOAD", "DOWNLOAD", "HOLD", "REFUSE", "SEND"]
    assert sum(one.images for one in plans) == 1
    assert plans[3].error is not None
    more = await planned(
        tried,
        requests,
        ledger=ledger,
        save_to=out,
        resend_uncertain=True,
        retry_refused=True,
    )
    assert actions(more) == ["SKIP", "DOWNLOAD", "DOWNLOAD", "SEND", "SEND", "SEND"]
    assert [one.billed.value for one in plans] == ["yes", "yes", "yes", "maybe", "no", "no"]
    # What may be paid for twice is told apart from what is not.
    assert [one.billed.value for one in more[3:]] == ["maybe", "no", "no"]
    assert posts(server) == 5
    assert len(names(out)) == 1


async def test_while_a_run_is_using_the_ledger(
    hub: AsyncChainHub, photos: Photos, ledger: Path
) -> None:
    """It needs no lock, and works on an open batch too."""
    requests = calls(photos(3))
    async with hub.batch(ledger=ledger) as batch:
        assert actions([one async for one in batch.plan(requests)]) == ["SEND"] * 3
        async for _ in batch.run(requests[:2]):
            pass
        assert actions(await planned(hub, requests, ledger=ledger)) == ["SKIP", "SKIP", "SEND"]


async def test_many(hub: AsyncChainHub, ledger: Path) -> None:
    """Inputs of any number are read lazily, from an asynchronous iterable too."""
    read = 0

    async def endless() -> AsyncIterator[ReplaceBackground]:
        nonlocal read
        while True:
            read += 1
            yield ReplaceBackground(photo(read % 150), prompt="x")

    plans = hub.batch(ledger=ledger).plan(endless())
    seen = [await anext(plans) for _ in range(200)]
    assert actions(seen) == ["SEND"] * 150 + ["DUPLICATE"] * 50
    assert read < 400
    await plans.aclose()  # type: ignore[attr-defined]  # a generator


async def test_a_ledger_that_cannot_be_read(hub: AsyncChainHub, ledger: Path) -> None:
    """A file that is no ledger is refused."""
    ledger.write_text("x" * 5000)
    with pytest.raises(LedgerError, match="not a database"):
        await planned(hub, calls([photo(1)]), ledger=ledger)
    ledger.write_bytes(b"")
    with pytest.raises(LedgerError, match="no ledger yet"):
        await planned(hub, calls([photo(1)]), ledger=ledger)
