"""What a batch makes of its inputs, when nothing goes wrong with it as a whole."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from chainhub_async import (
    AsyncChainHub,
    BatchStoppedError,
    Billed,
    InvalidImageError,
    InvalidRequestError,
    Limits,
    ReplaceBackground,
)
from chainhub_async.batch.identity import Reader
from chainhub_async.batch.intake import as_input, examine
from chainhub_async.batch.item import Decision
from chainhub_async.batch.runner import call_limits
from chainhub_async.testing import Emulator

from .conftest import MakeHub, calls, names, photo, run, sha, states, twice

pytestmark = pytest.mark.anyio
Photos = Callable[[int], list[Path]]


async def test_saves_each_under_its_name(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path
) -> None:
    """Each input is billed once, and saved under the name of its photograph."""
    outcomes = await run(hub, calls(photos(5)), save_to=out)
    assert states(outcomes) == ["SAVED"] * 5
    assert [o.saved for o in outcomes] == [(out / f"p{n}.png",) for n in range(5)]
    assert names(out) == [f"p{n}.png" for n in range(5)]
    assert emulator.billed == {sha(photo(n)): 1 for n in range(5)}
    assert {(o.billed, o.spent, o.error) for o in outcomes} == {(Billed.YES, 1, None)}


async def test_the_right_image_for_each(
    hub: AsyncChainHub, photos: Photos, out: Path, emulator: Emulator
) -> None:
    """The file of each input is the image that the gateway made for it."""
    requests = [ReplaceBackground(path, prompt=f"prompt {n}") for n, path in enumerate(photos(12))]
    outcomes = await run(hub, requests, save_to=out)
    assert len(outcomes) == 12
    for outcome in outcomes:
        assert outcome.result is not None
        (image,) = outcome.result.images
        assert image.prompt == f"prompt {outcome.index}"
        other = out.parent / "again.png"
        await hub.download(image, other)
        assert outcome.saved[0].read_bytes() == other.read_bytes()


async def test_several_images_are_numbered(hub: AsyncChainHub, photos: Photos, out: Path) -> None:
    """Several images of one input have numbers, and cost as many."""
    (outcome,) = await run(hub, calls(photos(1), num_images=3), save_to=out)
    assert names(out) == ["p0-1.png", "p0-2.png", "p0-3.png"]
    assert outcome.spent == 3


async def test_duplicates_cost_once(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path
) -> None:
    """The same bytes with the same options are paid for once, and each input gets its file."""
    first, second, third = photos(3)
    second.write_bytes(first.read_bytes())
    outcomes = await run(hub, calls([first, second, third, first]), save_to=out)
    assert states(outcomes) == ["SAVED"] * 4
    assert emulator.billed == {sha(photo(0)): 1, sha(photo(2)): 1}
    assert names(out) == ["p0.png", "p1.png", "p2.png"]
    assert (out / "p0.png").read_bytes() == (out / "p1.png").read_bytes()
    assert sum(o.spent for o in outcomes) == 2


async def test_duplicates_that_are_not_saved(hub: AsyncChainHub, emulator: Emulator) -> None:
    """Without a directory a duplicate is as accepted as the first, in the run that paid for it."""
    outcomes = await run(hub, calls([photo(1)] * 40))
    assert states(outcomes) == ["ACCEPTED"] * 40
    assert emulator.billed == {sha(photo(1)): 1}


async def test_other_options_are_another_job(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path
) -> None:
    """The same photograph with other options is paid for again, and has a file of its own."""
    (path,) = photos(1)
    requests = [*calls([path]), *calls([path], prompt="a beach"), *calls([path], seed=1)]
    outcomes = await run(hub, requests, save_to=out, ordered=True)
    assert emulator.billed == {sha(photo(0)): 3}
    assert [o.saved[0].name for o in outcomes] == ["p0.png", "p0 (2).png", "p0 (3).png"]


async def test_a_bad_input_ends_alone(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path, tmp_path: Path
) -> None:
    """What is no image, or no call, is refused with a sentence; the others are made."""
    requests: list[Any] = [
        *calls(photos(1)),
        *calls([tmp_path / "missing.png"]),
        *calls([b"no image"]),
        *calls([photo(1)], num_images=9),
        "p0.png",
        *calls([photo(2)], style_reference_images=[b"no image"]),
        *calls(["\ud800"]),
        *calls([5]),
    ]
    outcomes = await run(hub, requests, save_to=out)
    assert states(outcomes) == ["SAVED", *["REFUSED"] * 7]
    assert all(isinstance(o.error, InvalidRequestError) for o in outcomes[1:])
    assert isinstance(outcomes[1].error, InvalidImageError)
    assert "missing.png" in str(outcomes[1].error)
    assert "Input 4 of the batch is a str; a ReplaceBackground" in str(outcomes[4].error)
    assert sum(emulator.billed.values()) == 1


@pytest.mark.parametrize("form", ["bytes", "file", "async file", "source", "str"])
async def test_every_form_of_image(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path, form: str
) -> None:
    """Images in every form are the same job."""
    (path,) = photos(1)
    forms: dict[str, Any] = {
        "bytes": path.read_bytes(),
        "file": io.BytesIO(path.read_bytes()),
        "async file": await anyio.open_file(path, "rb"),
        "source": await _source(path),
        "str": str(path),
    }
    outcomes = await run(hub, calls([path, forms[form]]), save_to=out)
    assert states(outcomes) == ["SAVED", "SAVED"]
    assert emulator.billed == {sha(photo(0)): 1}
    assert outcomes[0].key == outcomes[1].key
    assert names(out)[-1] == "p0.png"
    await forms["async file"].aclose()


async def _source(path: Path) -> Any:
    from chainhub_async import ImageSource

    return await ImageSource.of(path)


async def test_style_references_count(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos
) -> None:
    """Other style reference images make another job; the same in another form do not."""
    one, two, three = photos(3)
    requests = [
        *calls([one], style_reference_images=[two]),
        *calls([one], style_reference_images=[three]),
        *calls([one], style_reference_images=[io.BytesIO(two.read_bytes())]),
    ]
    outcomes = await run(hub, requests)
    assert states(outcomes)[:2] == ["ACCEPTED"] * 2
    assert outcomes[0].key == outcomes[2].key != outcomes[1].key
    assert sum(emulator.billed.values()) == 2


async def test_ordered(emulator: Emulator, make_hub: MakeHub, photos: Photos) -> None:
    """Ordered outcomes come in the order of the inputs, others as they finish."""
    emulator.latency = lambda record: 0.4 if record.texts("seed") == ["0"] else 0.0
    hub = make_hub(emulator)
    requests = [
        ReplaceBackground(path, prompt="a forest", seed=seed) for seed, path in enumerate(photos(6))
    ]
    async with hub.batch() as batch:
        assert [o.index async for o in batch.run(requests)][-1] == 0
    emulator.reset()
    async with hub.batch(ordered=True) as batch:
        assert [o.index async for o in batch.run(requests)] == list(range(6))


async def test_inputs_are_read_lazily(make_hub: MakeHub, emulator: Emulator) -> None:
    """No more inputs are read than a few beyond those that were handed out, ordered or not."""
    read = 0

    def endless() -> Iterator[ReplaceBackground]:
        nonlocal read
        while True:
            read += 1
            yield ReplaceBackground(photo(read), prompt=PROMPT_OF_THE_ENDLESS)

    for ordered in (False, True):
        read = 0
        hub = make_hub(emulator, limits=Limits(in_flight=2))
        async with hub.batch(ordered=ordered) as batch:
            seen = 0
            async for _ in batch.run(endless()):
                seen += 1
                assert read <= seen + 40
                if seen == 60:
                    break
        assert read <= 100


PROMPT_OF_THE_ENDLESS = "a tunnel"


async def test_outcomes_do_not_wait_for_the_next_input(hub: AsyncChainHub, photos: Photos) -> None:
    """An asynchronous iterable that takes its time holds back nothing."""
    got = anyio.Event()
    closed: list[bool] = []

    async def slow() -> AsyncIterator[ReplaceBackground]:
        try:
            for request in calls(photos(2)):
                yield request
                await got.wait()
        finally:
            closed.append(True)

    async with hub.batch() as batch:
        outcomes = batch.run(slow())
        with anyio.fail_after(10):
            first = await anext(outcomes)
            got.set()
            second = await anext(outcomes)
            with pytest.raises(StopAsyncIteration):
                await anext(outcomes)
    assert {first.index, second.index} == {0, 1}
    assert closed == [True]


async def test_an_exception_of_the_inputs_comes_last(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos
) -> None:
    """What an iterable raises is raised after the outcomes of the inputs before it."""

    def broken() -> Iterator[ReplaceBackground]:
        yield from calls(photos(3))
        raise KeyError("the catalogue is broken")

    async with hub.batch() as batch:
        outcomes = batch.run(broken())
        seen = [(await anext(outcomes)).index for _ in range(3)]
        with pytest.raises(KeyError, match="catalogue"):
            await anext(outcomes)
    assert sorted(seen) == [0, 1, 2]
    assert sum(emulator.billed.values()) == 3


async def test_nothing_to_do(hub: AsyncChainHub, out: Path) -> None:
    """An empty batch has no outcomes."""
    assert await run(hub, [], save_to=out) == []


async def test_several_runs_of_one_batch(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path
) -> None:
    """A batch may run several times, one after another and at once, and pays for nothing twice."""
    requests = calls(photos(8))
    async with hub.batch(save_to=out) as batch:
        results: list[list[str]] = []

        async def once() -> None:
            results.append(states([o async for o in batch.run(requests)]))

        async with anyio.create_task_group() as group:
            group.start_soon(once)
            group.start_soon(once)
        await once()
    assert [sorted(set(each)) for each in results][2] == ["SAVED"]
    assert len(emulator.billed) == 8
    assert not twice(emulator.billed)
    assert names(out) == [f"p{n}.png" for n in range(8)]


@pytest.mark.parametrize("requests", [None, 5, "p0.png", ReplaceBackground("p0.png")])
async def test_what_cannot_be_iterated_over(hub: AsyncChainHub, requests: Any) -> None:
    """What is no iterable of calls is refused at once."""
    async with hub.batch() as batch:
        with pytest.raises(InvalidRequestError, match="an iterable of ReplaceBackground"):
            batch.run(requests)
        with pytest.raises(InvalidRequestError, match="an iterable of ReplaceBackground"):
            batch.plan(requests)


async def test_a_batch_is_opened_first_and_once(hub: AsyncChainHub) -> None:
    """A batch that is not open says how to open it, and none is opened twice."""
    batch = hub.batch()
    with pytest.raises(BatchStoppedError, match=r"async with hub\.batch"):
        batch.run([])
    assert batch.stopped is None
    assert batch.spent == 0
    async with batch:
        pass
    with pytest.raises(BatchStoppedError, match="only once"):
        async with batch:
            pass


async def test_withheld_images_are_done(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path
) -> None:
    """An image that the gateway withholds is paid for, and there is nothing to save."""
    emulator.withhold = "forest"
    (outcome,) = await run(hub, calls(photos(1)), save_to=out)
    assert (outcome.state.value, outcome.saved, outcome.billed) == ("SAVED", (), Billed.YES)
    assert outcome.result is not None
    assert outcome.result.images[0].is_image_safe is False


async def test_a_decision_that_is_out_of_date(
    hub: AsyncChainHub, emulator: Emulator, photos: Photos, out: Path
) -> None:
    """What was decided before the same job was sent for another input is decided again."""
    requests = calls(photos(1))
    async with hub.batch(save_to=out) as batch:
        engine, _ = batch._opened()
        given = as_input(0, requests[0])
        (item,) = examine([given], Reader({}), call_limits(hub._transport))
        register = partial(engine.clerk.register, found=[item], learned={})
        (early,) = await engine.ledger.write(register)
        assert isinstance(early, Decision)
        assert early.action.value == "SEND"
        async for outcome in batch.run(requests):
            assert outcome.state.value == "SAVED"
        late = await engine.process(early)
    assert (late.state.value, late.spent) == ("SAVED", 0)
    assert sum(emulator.billed.values()) == 1
