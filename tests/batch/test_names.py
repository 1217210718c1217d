"""Names of results: from the input, decided once, never twice the same, never outside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainhub_async import AsyncChainHub
from chainhub_async.batch import entries, naming, schema
from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.faults import Fault

from .conftest import calls, names, photo, run

Photos = Callable[[int], list[Path]]


@contextmanager
def opened() -> Generator[sqlite3.Connection, None, None]:
    """An empty ledger with a run."""
    with closing(schema.open_for_nobody_else()) as connection:
        entries.start_run(connection)
        yield connection


INPUTS = st.lists(
    st.tuples(
        st.sampled_from(["cat", "Cat", "cat-1", "cat-2", "CAT-2", "cat (2)", "dog", "..", "con"]),
        st.integers(0, 3),
        st.sampled_from([1, 1, 2, 8]),
    ),
    max_size=12,
)


@given(INPUTS, INPUTS, st.booleans())
def test_no_two_inputs_share_a_file(
    first: list[tuple[str, int, int]], second: list[tuple[str, int, int]], overwrite: bool
) -> None:
    """Whatever the names and numbers, no two inputs of a run can write the same file."""
    hints: dict[str, int] = {}
    with opened() as connection:
        for run_number, inputs in enumerate((first, second), start=1):
            files: dict[str, tuple[str, str]] = {}
            for name, key, images in inputs:
                source, identity = f"/in/{name}.jpg", f"{key}-{images}"
                wanted = naming.Naming(source=source, key=identity, images=images)
                stem = naming.claim(
                    connection, wanted, run_number, overwrite=overwrite, hints=hints
                )
                assert stem == naming.claim(
                    connection, wanted, run_number, overwrite=overwrite, hints=hints
                )
                assert "/" not in stem
                assert stem not in {"", ".", ".."}
                for number in range(1, images + 1):
                    file = naming.numbered(stem, number, images).casefold()
                    assert files.setdefault(file, (source, identity)) == (source, identity)


@given(INPUTS)
def test_names_are_the_same_in_every_run(inputs: list[tuple[str, int, int]]) -> None:
    """The same inputs in the same order have the same names, from the start or resumed."""
    found: list[list[str]] = []
    with opened() as fresh, opened() as resumed:
        for connection in (fresh, resumed, resumed):
            stems: list[str] = []
            for name, key, images in inputs:
                wanted = naming.Naming(
                    source=f"/in/{name}.jpg", key=f"{key}-{images}", images=images
                )
                stems.append(naming.claim(connection, wanted, 1, overwrite=False, hints={}))
            found.append(stems)
    assert found[0] == found[1] == found[2]


@pytest.mark.anyio
async def test_the_same_name_in_other_folders(
    hub: AsyncChainHub, tmp_path: Path, out: Path
) -> None:
    """Photographs of one name in several folders have files of their own, by their order."""
    paths: list[Path] = []
    for number, folder in enumerate(["a", "b", "c"]):
        path = tmp_path / folder / ("Photo.png" if folder == "b" else "photo.jpeg")
        path.parent.mkdir()
        path.write_bytes(photo(number))
        paths.append(path)
    outcomes = await run(hub, calls(paths), save_to=out)
    assert [o.saved[0].name for o in outcomes] == ["photo.png", "Photo (2).png", "photo (3).png"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("..png", "_.png"),
        ("a\\..\\b.png", "a_.._b.png"),
        ("CON.png", "_CON.png"),
        ("häßlich ☃.png", "häßlich _.png"),
        ("x" * 200 + ".png", "x" * 100 + ".png"),
    ],
)
async def test_hostile_names(
    hub: AsyncChainHub, tmp_path: Path, out: Path, name: str, saved: str
) -> None:
    """A name that means something to a file system means nothing in the result's name."""
    path = tmp_path / name
    path.write_bytes(photo(1))
    (outcome,) = await run(hub, calls([path]), save_to=out)
    assert outcome.saved[0].parent == out
    assert len(names(out)) == 1
    if name != "..png":
        assert names(out) == [saved]


@pytest.mark.anyio
async def test_a_link_at_the_target_is_not_followed(
    hub: AsyncChainHub, photos: Photos, tmp_path: Path, out: Path
) -> None:
    """A symbolic link of the result's name is neither followed nor replaced unless asked."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    out.mkdir()
    (out / "p0.png").symlink_to(victim)
    requests = calls(photos(1))
    await run(hub, requests, save_to=out)
    assert names(out) == ["p0 (2).png", "p0.png"]
    await run(hub, requests, save_to=out, overwrite=True)
    assert not (out / "p0.png").is_symlink()
    assert victim.read_bytes() == b"precious"


class MoreImages(Fault):
    """Answers with more images than were asked for."""

    async def act(self, x: object) -> None:
        good = x.good()  # type: ignore[attr-defined]  # of the server's exchange
        import json

        import attrs

        told = json.loads(good.body)
        told["data"] *= 3
        await x.reply(attrs.evolve(good, body=json.dumps(told).encode()))  # type: ignore[attr-defined]  # see above


@pytest.mark.anyio
async def test_more_images_than_asked_for(
    tried: AsyncChainHub, server: MisbehavingServer, photos: Photos, out: Path
) -> None:
    """Every image of a result is saved, also those that nobody asked for."""
    server.always(MoreImages())
    first, second = photos(2)
    other = first.with_name("p0-2.png")
    other.write_bytes(second.read_bytes())
    outcomes = await run(tried, calls([first, other]), save_to=out, overwrite=True)
    assert all(len(o.saved) == 3 for o in outcomes)
    assert len({path for o in outcomes for path in o.saved}) == 6


@pytest.mark.anyio
async def test_images_in_memory_have_names(
    hub: AsyncChainHub, emulator: Emulator, out: Path, ledger: Path
) -> None:
    """An image without a name is called after its job, in every run."""
    for expected in ("SAVED", "SKIPPED"):
        (outcome,) = await run(hub, calls([photo(1)]), save_to=out, ledger=ledger)
        assert outcome.state.value == expected
        assert outcome.key is not None
        assert names(out) == [f"image-{outcome.key[:12]}.png"]
