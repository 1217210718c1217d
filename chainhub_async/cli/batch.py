"""`chainhub batch`: any number of photos in, files out, each paid for once."""

from __future__ import annotations

import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chainhub_async.cli import call_options, exits, json_words, output
from chainhub_async.cli.problems import Failed, NotSetUp

if TYPE_CHECKING:
    from chainhub_async.cli.batch_session import BatchSession

# The emulator's results must never pass for bought ones, so they get a ledger of their own.
_LEDGER, _EMULATOR_LEDGER = "chainhub.db", "chainhub-emulator.db"


def _price(_: click.Context, __: click.Parameter, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal(-1)
    if not price.is_finite() or not 0 <= price < 10**6:
        raise click.BadParameter(f"{text!r} is not the price of an image, such as 0.06.")
    return price


_HELP = """Replace the backgrounds of many photos, and pay for each only once.

\b
SOURCE is any of
  - a folder, of which all JPEG, PNG and WebP files are taken;
  - a quoted pattern, such as "photos/**/*.jpg";
  - a photo;
  - a manifest, *.csv or *.jsonl, with a row for each call. Its columns are
    image (a path, relative to the manifest) and, as far as you need them,
    prompt, magic_prompt, num_images, seed, rendering_speed, style_preset,
    color_palette, style_codes, style_reference_images and extra_fields.
    The options given here stand in for what a row leaves empty.

Everything is recorded in the ledger before it is sent. If a run is interrupted, or some photos
fail, run the same command again: what is done is skipped, results that are paid for are
downloaded, and what may have been billed without a result is not sent again unless you say so
(see `chainhub ledger`).

The paths of new files are printed on standard output, one per line; everything else on standard
error. Ctrl-C starts nothing new and waits a while for what is paid for; a second Ctrl-C exits
at once, says what may have been billed, and loses nothing that was recorded.

Results are not taken for photos by later runs, if a ledger knows them that lies beside them or
was used with the same output directory.
"""


@click.command("batch", help=_HELP, epilog=exits.EPILOG)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@call_options.of_images(
    prompt_required=False,
    prompt_help="What the new backgrounds show. Required, unless a manifest has a prompt in each "
    "row.",
)
@click.option(
    "-o",
    "--output",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory for the results; created if missing.",
)
@click.option("--recursive", is_flag=True, help="Search folders with their subfolders.")
@click.option(
    "--ledger",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the batch is recorded, for the next run to go on from there. Default: "
    f"{_LEDGER} in the output directory, or {_EMULATOR_LEDGER} with --emulator. One elsewhere is "
    "noted in the output directory, in .chainhub-ledgers.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="List what would be sent, skipped and so on, with what it costs. It needs no key, and "
    "sends and writes nothing.",
)
@click.option("--yes", is_flag=True, help="Do not ask before spending money.")
@click.option(
    "--max-images",
    type=click.IntRange(min=1),
    help="Start nothing more that could bring the images billed in this run above this number.",
)
@click.option(
    "--price",
    metavar="AMOUNT",
    callback=_price,
    help="The price of an image, to tell what all of them cost.",
)
@click.option(
    "--per-minute",
    type=click.IntRange(min=1),
    help="How many calls to start within any minute. Default: no limit.",
)
@click.option(
    "--resend-uncertain",
    is_flag=True,
    help="Also send what an earlier run may have been billed for without getting a result. EACH "
    "OF THESE RISKS PAYING TWICE.",
)
@click.option(
    "--retry-refused", is_flag=True, help="Also send what the gateway refused in an earlier run."
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing files. By default, results get the next free name.",
)
@click.option("--ordered", is_flag=True, help="Print in the order of the photos.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help=f"{json_words.OUTCOME_HELP}key (of its job in the ledger), spent (images billed or maybe "
    "billed in this run). With --dry-run: index, image, action, key, images (to be billed), billed "
    "(by an earlier run) and error.",
)
@call_options.of_client()
@call_options.quiet
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """See `_HELP`."""
    call_options.check(given, key_needed=not given["dry_run"])
    context.exit(_work(**given))


def _work(*, dry_run: bool, yes: bool, quiet: bool, **given: Any) -> int:
    import anyio

    from chainhub_async.cli.batch_results import note
    from chainhub_async.errors import ChainHubError

    emulated: bool = given["emulated"]
    session = _session(quiet=quiet, **given)
    try:
        if dry_run:
            return anyio.run(session.list_plan)
        if not yes and not emulated:
            _ask(session)
    except ChainHubError as problem:
        raise NotSetUp(problem.message) from None
    call_options.prepare(session.directory)
    note(session.directory, session.ledger)
    return anyio.run(session.run)


def _session(
    *,
    sources: tuple[str, ...],
    directory: Path,
    recursive: bool,
    ledger: Path | None,
    in_flight: int,
    per_minute: int | None,
    seconds: float | None,
    quiet: bool,
    max_images: int | None,
    resend_uncertain: bool,
    retry_refused: bool,
    overwrite: bool,
    ordered: bool,
    price: Decimal | None,
    as_json: bool,
    emulated: bool,
    base_url: str | None,
    task_path: str | None,
    **options: Any,
) -> BatchSession:
    from chainhub_async.cli.batch_results import Results
    from chainhub_async.cli.batch_session import BatchSession
    from chainhub_async.cli.batch_sources import inputs_of
    from chainhub_async.config import Limits

    timeout = call_options.timeout_of(seconds)
    usual = [directory / _LEDGER, directory / _EMULATOR_LEDGER]
    used = ledger or usual[emulated]
    inputs = inputs_of(
        sources,
        options=call_options.chosen(options),
        recursive=recursive,
        results=Results.of({used, *usual}),
    )
    if inputs.left_out and not quiet:
        output.stderr().line(
            f"Results of earlier runs were found and not taken as photos: {inputs.left_out:,}. "
            "Named one by one, or in a folder of their own, those of other batches are taken."
        )
    return BatchSession(
        inputs=inputs,
        directory=directory,
        ledger=used,
        settings={
            "ordered": ordered,
            "max_images": max_images,
            "resend_uncertain": resend_uncertain,
            "retry_refused": retry_refused,
            "overwrite": overwrite,
        },
        base_url=base_url,
        emulated=emulated,
        task_path=task_path,
        timeout=timeout,
        limits=Limits(
            in_flight=in_flight,
            per_minute=per_minute,
            connections=max(100, 2 * in_flight),
        ),
        price=price,
        as_json=as_json,
        quiet=quiet,
    )


def _ask(session: BatchSession) -> None:
    """Asks before money is spent, if any would be.

    Raises:
        click.UsageError: there is nobody to ask.
        Failed: the answer is no.
    """
    import anyio

    if not (output.is_terminal(sys.stdin) and output.is_terminal(sys.stderr)):
        raise click.UsageError(
            "Nothing was sent: this costs money, and there is no terminal to ask on. Add --yes to "
            "go ahead, or --dry-run to see what it would cost."
        )
    found = anyio.run(session.look)
    if not found.images:
        return
    output.stderr().line(session.summary(found))
    if not click.confirm("Go ahead?", err=True):
        raise Failed("Nothing was sent.")
