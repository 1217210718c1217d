"""`chainhub replace-background`: photos in, files out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from chainhub_async.cli import call_options, exits, json_words
from chainhub_async.cli.problems import NotSetUp


@click.command("replace-background", epilog=exits.EPILOG)
@click.argument("photos", metavar="PHOTO...", nargs=-1, required=True)
@call_options.of_images(prompt_required=True, prompt_help="What the new background shows.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="The directory for the results; created if missing.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help=f"{json_words.OUTCOME_HELP}attempts and body within error, results (the gateway's, with "
    "their URLs), task.",
)
@call_options.of_client()
@click.option(
    "--resend-uncertain",
    is_flag=True,
    help="Also retry calls that may have been executed, such as one that got no response. EACH "
    "SUCH RETRY RISKS PAYING TWICE.",
)
@call_options.quiet
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
    call_options.check(given)
    call_options.prepare(output)
    context.exit(_work(photos, output, **given))


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
    from chainhub_async.errors import ConfigurationError

    order = Order(
        options=call_options.chosen(options),
        directory=output,
        task_path=task_path,
        task_timeout=seconds or 600.0,
        resend_uncertain=resend_uncertain,
    )
    session = Session(
        order=order,
        base_url=base_url,
        emulated=emulated,
        timeout=call_options.timeout_of(seconds),
        in_flight=in_flight,
        as_json=as_json,
        quiet=quiet,
    )
    try:
        return anyio.run(partial(session.work, photos_of(names)))
    except ConfigurationError as problem:
        raise NotSetUp(problem.message) from None
