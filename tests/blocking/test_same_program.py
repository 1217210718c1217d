"""One program text, awaited and blocking, gives the same results."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import anyio
import pytest

import chainhub_async
from chainhub_async.testing import Emulator
from chainhub_async.testing.placeholder import flat_png

PHOTO = flat_png((8, 8), "same program")

PROGRAMS = {
    "images": """
        async with AsyncChainHub(key, base_url=url) as hub:
            result = await hub.ideogram.replace_background(
                photo, prompt="a forest", num_images=2, seed=7, rendering_speed="TURBO"
            )
            paths = await hub.save(result, folder, name="cat")
            one = await hub.download(result.images[1], folder / "one.png")
            found.extend([(i.prompt, i.resolution, i.seed, i.is_image_safe) for i in result.images])
            found.extend([(path.name, path.read_bytes()) for path in [*paths, one]])
            found.extend([result.created, result.task, sorted(result.raw)])
    """,
    "task": """
        async with AsyncChainHub(key, base_url=url) as hub:
            result = await hub.ideogram.replace_background(photo, prompt="a desert", seed=3)
            found.extend([result.images, result.task.task_status, result.task.created])
            done = await hub.wait(result.task, path=task_path, interval=0.01)
            found.extend([done.task.task_status, len(done.images)])
            paths = await hub.save(done, folder, name="dog")
            found.extend([(path.name, path.read_bytes()) for path in paths])
    """,
    "batch": """
        requests = [ReplaceBackground(photo, prompt=f"p{n % 3}", seed=n) for n in range(5)]
        requests = [*requests, requests[0], ReplaceBackground(b"no image"), "no call"]
        async with AsyncChainHub(key, base_url=url) as hub:
            for again in range(2):
                async with hub.batch(
                    ledger=folder / "ledger.db", save_to=folder / "out", ordered=True, max_images=4
                ) as batch:
                    async for planned in batch.plan(requests):
                        found.extend([(planned.index, planned.action, planned.images)])
                    async for outcome in batch.run(requests):
                        found.extend([(outcome.index, outcome.state.value, outcome.saved[0].name)
                            if outcome.saved else (outcome.index, type(outcome.error))])
                    found.extend([batch.spent, str(batch.stopped)])
            batch = hub.batch()
            for wrong in [batch.run, hub.batch().plan]:
                try:
                    wrong(5)
                except InvalidRequestError as error:
                    found.extend([str(error)])
            try:
                batch.run([])
            except BatchStoppedError as error:
                found.extend([str(error).partition(":")[0]])
            try:
                hub.batch(max_images=-1)
            except ConfigurationError as error:
                found.extend([str(error)])
    """,
    "request": """
        async with AsyncChainHub(key, base_url=url) as hub:
            answer = await hub.request("GET", "/v1/models")
            found.extend([answer.status, answer.json()])
            try:
                await hub.request("POST", "/nowhere", json={"a": 1})
            except NotFoundError as error:
                found.extend([str(error).partition("request")[0], error.status, error.billed])
    """,
    "options": """
        async with AsyncChainHub(key, base_url=url) as hub:
            other = hub.with_options(api_key="another")
            try:
                await other.ideogram.replace_background(photo)
            except AuthenticationError as error:
                found.extend([error.status, error.billed, error.bytes_sent > 0])
            try:
                hub.with_options(limits=Limits())
            except ConfigurationError as error:
                found.extend([str(error)])
            found.extend([repr(hub).removeprefix("Async")])
    """,
    "refusals": """
        hub = AsyncChainHub(key, base_url=url)
        for options in [{"seed": -1}, {"num_images": 9}, {"style_codes": ["x"]}, {"timeout": 5}]:
            try:
                await hub.ideogram.replace_background(photo, **options)
            except ChainHubError as error:
                found.extend([type(error), str(error)])
        await hub.aclose()
        try:
            await hub.request("GET", "/v1/models")
        except ClosedError as error:
            found.extend([str(error)])
    """,
}


def names(emulator: Emulator, folder: Path, found: list[Any]) -> dict[str, Any]:
    """What a program may use."""
    return {
        **{name: getattr(chainhub_async, name) for name in chainhub_async.__all__},
        "key": emulator.api_key,
        "url": emulator.base_url,
        "task_path": emulator.task_path,
        "photo": PHOTO,
        "folder": folder,
        "found": found,
    }


def run_awaited(text: str, emulator: Emulator, folder: Path) -> list[Any]:
    """Runs a program as it stands."""
    found: list[Any] = []
    space = names(emulator, folder, found)
    exec("async def main():\n" + textwrap.indent(textwrap.dedent(text), "    "), space)
    anyio.run(space["main"])
    return found


def run_blocking(text: str, emulator: Emulator, folder: Path) -> list[Any]:
    """Runs a program without the words that make it asynchronous."""
    for word, instead in [("AsyncChainHub", "ChainHub"), ("async ", ""), ("await ", "")]:
        text = text.replace(word, instead)
    found: list[Any] = []
    exec(textwrap.dedent(text).replace("aclose", "close"), names(emulator, folder, found))
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_program(name: str, tmp_path: Path, emulator: Emulator) -> None:
    """The program finds the same, and the server sees the same, either way."""
    seen: list[Any] = []
    for run in (run_awaited, run_blocking):
        emulator.reset()
        emulator.reply = "task" if name == "task" else "images"
        folder = tmp_path / run.__name__
        folder.mkdir()
        found = run(PROGRAMS[name], emulator, folder)
        requests = [(r.method, r.body_bytes, r.status, r.billed) for r in emulator.requests]
        if name == "batch":
            requests.sort()  # what is done at once arrives in any order
        if name == "batch":
            requests.sort(key=str)  # several calls are in flight at a time
        seen.append((found, requests, emulator.billed, sorted(p.name for p in folder.iterdir())))
    assert seen[0] == seen[1]
    assert seen[0][0]
