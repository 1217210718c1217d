"""`chainhub replace-background`: photos in, files out."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click

from chainhub_async.cli import exits, options
from chainhub_async.cli.problems import NotSetUp, require_key
from chainhub_async.models import MagicPrompt, RenderingSpeed, StylePreset


@click.command("replace-background", epilog=exits.EPILOG)
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True)
@click.option(
    "--prompt", required=True, callback=options.prompt, help="What the new background shows."
)
@click.option(
    "--magic-prompt",
    metavar="TEXT",
    help=options.known("Whether the prompt may be rewritten.", MagicPrompt),
)
@click.option(
    "--num-images",
    type=click.IntRange(1, 8),
    help="How many images to make of each photo. Each is billed.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="For reproducible results.")
@click.option(
    "--rendering-speed",
    metavar="TEXT",
    help=options.known("Speed/quality trade-off.", RenderingSpeed),
)
@click.option("--style-preset", metavar="TEXT", help=options.known("A named style.", StylePreset))
@click.option(
    "--palette",
    "color_palette",
    metavar="PALETTE",
    callback=options.palette,
    help="A palette's name, such as EMBER, or 1 to 8 colours, each with an optional weight from "
    '0.05 to 1: "#ff8800:0.6,#123".',
)
@click.option(
    "--style-code",
    "style_codes",
    metavar="HEX",
    multiple=True,
    help="A style code of 8 hexadecimal digits. May be repeated.",
)
@click.option(
    "--style-reference",
    "style_reference_images",
    metavar="FILE",
    multiple=True,
    help="An image whose style to follow. May be repeated; not with --style-code.",
)
@click.option(
    "--extra",
    "extra_fields",
    metavar="NAME=VALUE",
    multiple=True,
    callback=options.extra,
    help="An additional form field, for what has no option here. May be repeated.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="The directory for the results; created if missing.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one line of JSON per photo instead of paths."
)
@click.option(
    "--emulator",
    "emulated",
    is_flag=True,
    help="Use an emulator on this machine. It needs no key or network and costs nothing.",
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Gateway URL. Default: CHAINHUB_BASE_URL, or the public gateway.",
)
@click.option(
    "--in-flight",
    "--concurrency",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How many images to make at the same time. The usual account limit is 10.",
)
@click.option(
    "--timeout",
    "seconds",
    metavar="SECONDS",
    type=float,
    help="Timeout for each call, including retries. By default, only its individual steps have "
    "timeouts.",
)
@click.option(
    "--resend-uncertain",
    is_flag=True,
    help="Also retry calls that may have been executed, such as one that got no response. EACH "
    "SUCH RETRY RISKS PAYING TWICE.",
)
@click.option(
    "--task-path",
    metavar="PATH",
    help="Path to poll for an unfinished result, containing {task_id}. The gateway documents no "
    "such path, so without this option nothing is polled.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print messages only if something is wrong.")
@click.pass_context
def command(context: click.Context, /, photos: tuple[str, ...], output: Path, **given: Any) -> None:
    """Replace the background of each PHOTO (JPEG, PNG or WebP; - is standard input).

    Each accepted call costs money, whether or not its result is downloaded. Results are saved
    under the photo's name; existing files are never overwritten. The paths of saved files are
    printed on standard output, one per line, in the order in which they are finished (--json tells
    which photo each belongs to); progress and errors on standard error.

    A photo that fails does not stop the others, unless the account itself is rejected. Ctrl-C
    stops and reports what may have been billed; a second Ctrl-C exits at once.
    """
    _check(given, output)
    context.exit(_work(photos, output, **given))


def _check(given: dict[str, Any], output: Path) -> None:
    """Refuses what would otherwise fail only after something was paid for."""
    path = given["task_path"]
    if path is not None and not ("{task_id}" in path and path.startswith("/")):
        raise click.UsageError("--task-path must begin with / and contain {task_id}.")
    if given["style_codes"] and given["style_reference_images"]:
        raise click.UsageError("--style-code and --style-reference cannot be combined.")
    if given["emulated"] and given["base_url"] is not None:
        raise click.UsageError("--emulator and --base-url cannot be combined.")
    if not given["emulated"]:
        require_key()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as problem:
        raise click.UsageError(
            f"Results cannot be saved in {str(output)!r}: {problem.strerror}. Nothing was sent."
        ) from None


def _work(
    names: tuple[str, ...],
    output: Path,
    *,
    seconds: float | None,
    in_flight: int,
    task_path: str | None,
    resend_uncertain: bool,
    base_url: str | None,
    emulated: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    import anyio

    from chainhub_async.cli.photos import photos_of
    from chainhub_async.cli.run import Order
    from chainhub_async.cli.session import Session
    from chainhub_async.config import Timeout
    from chainhub_async.errors import ConfigurationError

    try:
        timeout = Timeout(total=seconds)
    except ConfigurationError:
        raise click.UsageError("--timeout must be a number of seconds above zero.") from None
    given = {name: value for name, value in options.items() if value not in (None, ())}
    order = Order(
        options=given,
        directory=output,
        task_path=task_path,
        task_timeout=seconds or 600.0,
        resend_uncertain=resend_uncertain,
    )
    session = Session(
        order=order,
        base_url=base_url,
        emulated=emulated,
        timeout=timeout,
        in_flight=in_flight,
        as_json=as_json,
        quiet=quiet,
    )
    try:
        return anyio.run(partial(session.work, photos_of(names)))
    except ConfigurationError as problem:
        raise NotSetUp(problem.message) from None
