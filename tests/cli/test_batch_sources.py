"""What a batch is made of: folders, patterns, photos, and manifests row by row."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from chainhub_async.cli.batch_manifest import Manifest, ManifestError
from chainhub_async.cli.batch_results import Results
from chainhub_async.cli.batch_sources import Inputs, inputs_of
from chainhub_async.models import ColorMember, ColorPalette, ReplaceBackground

from .ledgers import Sample

_PROMPT: Mapping[str, Any] = {"prompt": "a forest"}
Tree = Callable[..., Path]


@pytest.fixture
def tree(place: Path) -> Tree:
    """Makes empty files, with their folders."""

    def make(*names: str) -> Path:
        for name in names:
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return place

    return make


def collect(
    *sources: str, recursive: bool = False, results: Results | None = None, **options: Any
) -> Inputs:
    return inputs_of(
        sources,
        options={**_PROMPT, **options},
        recursive=recursive,
        results=results or Results(),
    )


def images(inputs: Inputs) -> list[str]:
    return [str(call.image).replace(os.sep, "/") for call in inputs]


# --- folders, patterns, photos ------------------------------------------------------------------


def test_a_folder(tree: Tree) -> None:
    """Its photos by suffix, in the order a person expects, without what is hidden or deeper."""
    tree(
        "in/p10.png", "in/P2.JPG", "in/p1.jpeg", "in/a.webp", "in/.b.png", "in/c.txt", "in/d/e.png"
    )
    (Path("in") / "f.png").mkdir()
    found = collect("in")
    assert images(found) == ["in/a.webp", "in/p1.jpeg", "in/P2.JPG", "in/p10.png"]
    assert found.total == 4


def test_subfolders_on_request(tree: Tree) -> None:
    """--recursive takes them, except hidden ones."""
    tree("in/b/2.png", "in/b/c/10.png", "in/a.png", "in/.git/x.png")
    assert images(collect("in", recursive=True)) == ["in/a.png", "in/b/2.png", "in/b/c/10.png"]


def test_a_folder_without_photos_says_so(tree: Tree) -> None:
    """And that its subfolders were not searched."""
    tree("in/a.txt", "in/b/c.png")
    with pytest.raises(click.UsageError, match="--recursive searches"):
        collect("in")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read(tree: Tree) -> None:
    """It is not taken for an empty one."""
    tree("in/a.png", "in/b/c.png")
    Path("in/b").chmod(0)
    try:
        with pytest.raises(click.UsageError, match="'in/b' cannot be searched: Permission denied"):
            collect("in", recursive=True)
    finally:
        Path("in/b").chmod(0o700)


def test_patterns(tree: Tree) -> None:
    """Quoted patterns are resolved here, with ** for any depth; they find photos only."""
    tree("in/a.png", "in/b/c.png", "in/b/d.txt", "in/b/.e.png", "in/10.jpg", "in/9.jpg")
    assert images(collect("in/*.jpg")) == ["in/9.jpg", "in/10.jpg"]
    assert images(collect("in/**/*.png")) == ["in/a.png", "in/b/c.png"]
    assert images(collect("in/**")) == ["in/9.jpg", "in/10.jpg", "in/a.png", "in/b/c.png"]
    with pytest.raises(click.UsageError, match="matches no JPEG"):
        collect("in/*.gif")


def test_a_name_that_looks_like_a_pattern(tree: Tree) -> None:
    """A file of that very name is meant."""
    tree("a[1].png", "a1.png")
    assert images(collect("a[1].png")) == ["a[1].png"]


def test_photos_in_their_order(tree: Tree) -> None:
    """Sources keep their order, whatever their suffix; what several name is taken once."""
    tree("b.png", "in/a.png", "c.dat")
    assert images(collect("c.dat", "b.png", "in", "./b.png", "in/*.png")) == [
        "c.dat",
        "b.png",
        "in/a.png",
    ]


def test_options_are_those_of_every_photo(tree: Tree) -> None:
    """What the command line says."""
    tree("a.png")
    assert list(collect("a.png", seed=7)) == [ReplaceBackground("a.png", prompt="a forest", seed=7)]


def test_a_source_that_is_missing() -> None:
    """It is named."""
    with pytest.raises(click.UsageError, match=r"'nowhere\.csv' does not exist"):
        collect("nowhere.csv")


def test_photos_need_a_prompt(tree: Tree) -> None:
    """Only a manifest can do without --prompt."""
    tree("a.png")
    with pytest.raises(click.UsageError, match="--prompt"):
        inputs_of(["a.png"], options={}, recursive=False, results=Results())


def test_options_are_checked_before_anything_is_looked_at(tree: Tree) -> None:
    """One sentence, instead of one for each photo."""
    tree("a.png")
    with pytest.raises(click.UsageError, match="each code is 8 hexadecimal digits"):
        collect("a.png", style_codes=("xyz",))


def test_results_are_no_photos(tree: Tree) -> None:
    """What a ledger names as a result is left out, by whatever way the folder is reached."""
    place = tree("in/a.jpg", "in/a.png", "in/b.png", "elsewhere/a.png")
    sample = Sample(place / "c.db")
    sample.add(str(place / "in/a.jpg"), "SAVED", saved=[str(place / "in" / "a.png")])
    results = Results.of([place / "c.db", place / "missing.db"])
    found = collect("in", "elsewhere", results=results)
    assert images(found) == ["in/a.jpg", "in/b.png", "elsewhere/a.png"]
    assert found.left_out == 1
    if os.name != "nt":
        (place / "link").symlink_to("in")
        assert images(collect("link/*", results=results)) == ["link/a.jpg", "link/b.png"]
    with pytest.raises(click.UsageError, match="Every photo found is a result"):
        collect("in/a.png", results=results)


def test_a_ledger_that_cannot_be_read_has_no_results(place: Path) -> None:
    """Opening it for the run is what fails, with a sentence."""
    (place / "text.db").write_text("no ledger")
    with closing(sqlite3.connect(place / "other.db")) as other:
        other.execute("CREATE TABLE x (y)")
    assert "a.png" not in Results.of([place / "text.db", place / "other.db"])


# --- manifests ----------------------------------------------------------------------------------


def read(text: str | bytes, name: str = "m.csv", **defaults: Any) -> list[ReplaceBackground]:
    """The calls of a manifest, which it says the same of twice."""
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    manifest = Manifest(path=Path(name), defaults=defaults)
    number = manifest.check()
    calls = list(manifest)
    assert number == len(calls)
    return calls


def refused(text: str | bytes, name: str = "m.csv", **defaults: Any) -> str:
    """Why a manifest is refused."""
    with pytest.raises(ManifestError) as caught:
        read(text, name, **defaults)
    return caught.value.message


def test_every_option_is_a_column(place: Path) -> None:
    """CSV and JSONL say the same in their own way."""
    Path("lists").mkdir()
    text = (
        "image,prompt,magic_prompt,num_images,seed,rendering_speed,style_preset,color_palette,"
        "style_codes,style_reference_images,extra_fields\n"
        'a.png,a forest,ON,2,7,TURBO,POP_ART,"#ff8800:0.6,#123",0123abcd; ABCDEF01,,'
        '"{""x"": [1, true]}"\n'
        f"{place / 'b.png'},,,,,,,EMBER,,r.png;{place / 's.png'},\n"
    )
    first, second = read(text, "lists/m.csv", prompt="a beach")
    assert first == ReplaceBackground(
        str(Path("lists/a.png")),
        prompt="a forest",
        magic_prompt="ON",
        num_images=2,
        seed=7,
        rendering_speed="TURBO",
        style_preset="POP_ART",
        color_palette=ColorPalette(
            members=[ColorMember("#ff8800", color_weight=0.6), ColorMember("#123")]
        ),
        style_codes=["0123abcd", "ABCDEF01"],
        extra_fields={"x": [1, True]},
    )
    assert second == ReplaceBackground(
        str(place / "b.png"),
        prompt="a beach",
        color_palette=ColorPalette(name="EMBER"),
        style_reference_images=[str(Path("lists/r.png")), str(place / "s.png")],
    )
    json_text = (
        '{"image": "a.png", "prompt": "a forest", "magic_prompt": "ON", "num_images": 2, "seed": 7,'
        ' "rendering_speed": "TURBO", "style_preset": "POP_ART", "color_palette": {"members":'
        ' [{"color_hex": "#ff8800", "color_weight": 0.6}, "#123"]}, "style_codes": ["0123abcd",'
        ' "ABCDEF01"], "extra_fields": {"x": [1, true]}}\n'
        f'{{"image": {str(place / "b.png")!r}, "color_palette": {{"name": "EMBER"}},'
        f' "style_reference_images": ["r.png", {str(place / "s.png")!r}], "seed": null}}'
    ).replace("'", '"')
    assert read(json_text, "lists/m.jsonl", prompt="a beach") == [first, second]


@pytest.mark.parametrize(
    ("cell", "palette"),
    [
        ('"[{""color_hex"": ""#fff""}]"', ColorPalette(members=[ColorMember("#fff")])),
        ('"{""name"": ""FRESH""}"', ColorPalette(name="FRESH")),
        ('"{""members"": [""#000000""]}"', ColorPalette(members=[ColorMember("#000000")])),
        ("#fff", ColorPalette(members=[ColorMember("#fff")])),
        (" FRESH ", ColorPalette(name="FRESH")),
    ],
)
def test_palettes(cell: str, palette: ColorPalette) -> None:
    """As on the command line, or as JSON."""
    (call,) = read(f"image,color_palette\na.png,{cell}\n", prompt="x")
    assert call.color_palette == palette


def test_lists_as_json() -> None:
    """A path that contains a semicolon can be given as well."""
    (call,) = read('image,style_reference_images\na.png,"[""r;1.png""]"\n', prompt="x")
    assert call.style_reference_images == ["r;1.png"]


@pytest.mark.parametrize(
    "text",
    [
        "image,prompt\na.png,x\nb.png,y\n",
        "\ufeffimage,prompt\r\na.png,x\r\n\r\n,\r\nb.png,y",
        "image;prompt\na.png;x\nb.png;y\n",
        "image\tprompt\na.png\tx\nb.png\ty\n",
        '\n\n" Image ",PROMPT,\na.png,x,\nb.png,"y",,,\n',
        "image,prompt\ra.png,x\rb.png,y\r",
    ],
)
def test_files_as_spreadsheets_write_them(text: str) -> None:
    """Byte order mark or not, any line end, empty lines and cells, other separators."""
    assert read(text) == [
        ReplaceBackground("a.png", prompt="x"),
        ReplaceBackground("b.png", prompt="y"),
    ]


def test_quoted_values() -> None:
    """A prompt may hold separators, quotes and line ends; lines are still counted right."""
    text = 'image,prompt,seed\na.png,"one, ""two""\r\nthree",1\nb.png,x,{}\n'
    calls = read(text.format(2))
    assert calls[0].prompt == 'one, "two"\r\nthree'
    assert ", line 4: seed is 'z'" in refused(text.format("z"))


def test_jsonl_as_programs_write_it() -> None:
    """Byte order mark, CRLF, empty lines, and line ends that are none."""
    text = '\ufeff{"image": "a.png", "prompt": "x\u2028y"}\r\n\r\n{"image": "b.png"}'
    assert [call.prompt for call in read(text, "m.jsonl", prompt="z")] == ["x\u2028y", "z"]


def test_the_row_decides_between_options_that_exclude_each_other(place: Path) -> None:
    """A row with style codes does not get the command line's style references as well."""
    calls = read(
        "image,style_codes\na.png,01234567\nb.png,\n", **_PROMPT, style_reference_images=("r",)
    )
    assert calls[0].style_reference_images is None
    assert calls[0].style_codes == ["01234567"]
    assert calls[1].style_reference_images == ("r",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,promt\n", "line 1: there is no column 'promt'; the columns are image, prompt,"),
        ("\n\nimage,promt\n", "line 3: there is no column 'promt'"),
        ("prompt\nx\n", "line 1: there is no column image; the columns are image, prompt,"),
        ("image,seed,Seed\n", "line 1: the column seed stands there twice."),
        ("image\na.png,x\n", "line 2: it has 2 values, but there are 1 columns"),
        ("image,\na.png,x\n", "line 2: it has a value in a column without a name."),
        ("image,seed\n,3\n", "line 2: image is empty"),
        ("image,seed\na.png,3.5\n", "line 2: seed is '3.5'; a whole number is expected."),
        ("image,seed\na.png,-1\n", "line 2: seed is -1; a whole number from 0 to 2147483647"),
        ("image,num_images\na.png,9\n", "line 2: num_images is 9; a whole number from 1 to 8"),
        ("image,color_palette\na.png,#12\n", "line 2: color_hex is '#12'"),
        ("image,color_palette\na.png,#123:x\n", "line 2: 'x' is not a valid weight"),
        ("image,color_palette\na.png,{}\n", "line 2: A colour palette takes either"),
        ("image,color_palette\na.png,[1]\n", "line 2: A colour is '1'"),
        ('image,color_palette\na.png,"{""n"": 1}"\n', "line 2: color_palette is '{\"n\": 1}'"),
        ('image,color_palette\na.png,"{""members"": 1}"\n', "line 2: The members of color_palette"),
        ("image,style_codes\na.png,xyz\n", "line 2: style_codes contains 'xyz'"),
        ("image,style_codes\na.png,[1\n", "line 2: style_codes is not valid JSON: Expecting"),
        ("image,style_codes\na.png,;\n", "line 2: style_codes is an empty list"),
        ("image,extra_fields\na.png,[1]\n", "line 2: extra_fields is '[1]'; a JSON object"),
        ("image,extra_fields\na.png,x\n", "line 2: extra_fields is not valid JSON"),
        ('image,extra_fields\na.png,"{""x"": NaN}"\n', "NaN is not a value that JSON knows"),
        ('image,extra_fields\na.png,"{""x"": 1, ""x"": 2}"\n', "'x' is given twice"),
        ('image,extra_fields\na.png,"{""prompt"": ""y""}"\n', "use the parameter prompt="),
        (
            "image,style_codes,style_reference_images\na.png,01234567,r.png\n",
            "line 2: style_codes and style_reference_images cannot be combined",
        ),
        ('image,prompt\na.png,"x\n\n', "line 2: the record that begins here is not valid CSV"),
        ("image\na.png\n" + '"' + "x" * 200_000 + '"\n', "line 3: the record that begins here"),
        ("image,seed\n", "contains no rows"),
        ("", "contains no rows"),
    ],
)
def test_refused_csv(text: str, said: str) -> None:
    """File and line are named, what is wrong there, and what is allowed."""
    message = refused(text, prompt="x")
    assert message.startswith("'m.csv'")
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"image": "a"}\n[1]\n', "line 2: a JSON object is expected on each line."),
        ('{"image": "a"\n', "line 1: The line is not valid JSON: Expecting ',' delimiter"),
        ('{"image": "a", "image": "b"}\n', "line 1: The line is not valid JSON: 'image' is given"),
        ("[" * 100_000, "line 1: The line is not valid JSON"),
        ('{"image": "a", "seeds": 1}', "line 1: there is no column 'seeds'"),
        ('{"image": 1}', "line 1: image is '1'; text is expected."),
        ('{"image": "a", "prompt": ["x"]}', "line 1: prompt is '[\"x\"]'; text is expected."),
        ('{"image": "a", "seed": true}', "line 1: seed is True; a whole number from"),
        ('{"image": "a", "style_codes": {}}', "line 1: style_codes is '{}'; a list is expected"),
        ('{"seed": 1}', "line 1: image is empty"),
    ],
)
def test_refused_jsonl(text: str, said: str) -> None:
    """As for CSV."""
    assert said in refused(text, "m.jsonl", prompt="x")


@pytest.mark.parametrize("row", ["a.png,", "a.png,   ", 'a.png,"\n"'])
def test_a_row_without_a_prompt(row: str) -> None:
    """It is refused before it is paid for; so is a blank one."""
    assert "line 3: it has no prompt, and there is no --prompt" in refused(
        f"image,prompt\nb.png,x\n{row}\n"
    )


def test_other_encodings() -> None:
    """What is not UTF-8 is told, with the way out."""
    assert "is UTF-16; save it as UTF-8" in refused("image\na.png\n".encode("utf-16"))
    message = refused("image,prompt\na.png,x\nb.png,caf\xe9\n".encode("latin-1"))
    assert message == "'m.csv', line 3: it is not UTF-8; save the file as UTF-8 (CSV UTF-8)."


def test_every_bad_row_is_told() -> None:
    """A manifest is mended in one go: each row is named, whatever is wrong with it."""
    message = refused("image,seed\n,1\na.png,2\nb.png,x\nc.png,1,1\n", prompt="x")
    assert [line.split(":")[0] for line in message.splitlines()] == [
        f"'m.csv', line {n}" for n in (2, 4, 5)
    ]
    lines = '{"seed": 1}\n[1]\n{"image": "a"}\n{"image": 1}\n'
    assert refused(lines, "m.jsonl", prompt="x").count("\n") == 2


def test_what_follows_a_broken_record_is_not_guessed_at() -> None:
    """Rows before it are told of; the quotes after it may mean anything."""
    message = refused('image,seed\n,1\n"a,1\n,1\n', prompt="x")
    assert len(message.splitlines()) == 2
    assert "line 2: image is empty" in message
    assert "line 3: the record that begins here is not valid CSV" in message


@pytest.mark.slow
def test_a_manifest_of_bad_rows_only() -> None:
    """The first twenty are told, and how many more there are."""
    message = refused("image,seed\n" + "a.png,x\n" * 100_000, prompt="x")
    assert len(message.splitlines()) == 21
    assert message.endswith("\n... and 99,980 more rows that cannot be used.")


def test_bad_rows_of_several_manifests(tree: Tree) -> None:
    """Those of each are told."""
    tree("a.png")
    for name in ("m.csv", "n.csv"):
        Path(name).write_text("image,seed\na.png,x\n")
    with pytest.raises(ManifestError) as caught:
        collect("m.csv", "a.png", "n.csv")
    assert [line[:7] for line in caught.value.message.splitlines()] == ["'m.csv'", "'n.csv'"]


def test_a_manifest_that_cannot_be_read_again(place: Path) -> None:
    """A pipe would be empty the second time."""
    if os.name == "nt":
        pytest.skip("there are no named pipes")
    os.mkfifo(place / "pipe.csv")
    with pytest.raises(ManifestError, match="is not a regular file"):
        collect("pipe.csv")


def test_sources_are_combined(tree: Tree) -> None:
    """Manifests and photos in one batch, in their order; a folder called like a manifest is one."""
    tree("in/a.png", "x.csv/b.png")
    Path("m.csv").write_text("image,prompt\nin/a.png,x\nin/a.png,y\n")
    found = collect("m.csv", "in", "x.csv")
    assert found.total == 4
    assert [(str(call.image), call.prompt) for call in found] == [
        ("in/a.png", "x"),
        ("in/a.png", "y"),
        ("in/a.png", "a forest"),
        ("x.csv/b.png", "a forest"),
    ]


@pytest.mark.slow
def test_a_long_manifest_is_read_row_by_row(place: Path) -> None:
    """However many rows: memory stays the same, and the whole of it is checked first."""
    with Path("m.csv").open("w") as file:
        file.write("image,prompt,seed\n")
        file.writelines(
            f"photos/{n}.png,a prompt that takes some room,{n}\n" for n in range(60_000)
        )
        file.write("photos/last.png,x,oops\n")
    Path("short.csv").write_text("image,prompt,seed\na.png,x,1\n", encoding="utf-8")
    Manifest(path=Path("short.csv"), defaults={}).check()  # imports what it needs
    manifest = Manifest(path=Path("m.csv"), defaults={})
    tracemalloc.start()
    try:
        with pytest.raises(ManifestError, match="line 60002: seed is 'oops'"):
            manifest.check()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All rows at once take 20 MB and more; Python's own table of names may grow by 5 MB meanwhile.
    assert peak < 10_000_000
