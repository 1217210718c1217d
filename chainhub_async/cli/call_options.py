"""The options, and their checks, that all commands that make calls have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chainhub_async.cli import options
from chainhub_async.cli.problems import require_key
from chainhub_async.models import MagicPrompt, RenderingSpeed, StylePreset

if TYPE_CHECKING:
    from chainhub_async.config import Timeout

F = TypeVar("F", bound=Callable[..., Any])


def _together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def of_images(*, prompt_required: bool, prompt_help: str) -> Callable[[F], F]:
    """Returns what adds the options for what the images look like."""
    return _together(
        click.option(
            "--prompt", required=prompt_required, callback=options.prompt, help=prompt_help
        ),
        click.option(
            "--magic-prompt",
            metavar="TEXT",
            help=options.known("Whether the prompt may be rewritten.", MagicPrompt),
        ),
        click.option(
            "--num-images",
            type=click.IntRange(1, 8),
            help="How many images to make of each photo. Each is billed.",
        ),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="For reproducible results."),
        click.option(
            "--rendering-speed",
            metavar="TEXT",
            help=options.known("Speed/quality trade-off.", RenderingSpeed),
        ),
        click.option(
            "--style-preset", metavar="TEXT", help=options.known("A named style.", StylePreset)
        ),
        click.option(
            "--palette",
            "color_palette",
            metavar="PALETTE",
            callback=options.palette,
            help="A palette's name, such as EMBER, or 1 to 8 colours, each with an optional weight "
            'from 0.05 to 1: "#ff8800:0.6,#123".',
        ),
        click.option(
            "--style-code",
            "style_codes",
            metavar="HEX",
            multiple=True,
            help="A style code of 8 hexadecimal digits. May be repeated.",
        ),
        click.option(
            "--style-reference",
            "style_reference_images",
            metavar="FILE",
            multiple=True,
            help="An image whose style to follow. May be repeated; not with --style-code.",
        ),
        click.option(
            "--extra",
            "extra_fields",
            metavar="NAME=VALUE",
            multiple=True,
            callback=options.extra,
            help="An additional form field, for what has no option here. May be repeated.",
        ),
    )


def of_client() -> Callable[[F], F]:
    """Returns what adds the options for where calls go, and how many at a time."""
    return _together(
        click.option(
            "--emulator",
            "emulated",
            is_flag=True,
            help="Use an emulator on this machine. It needs no key or network and costs nothing.",
        ),
        click.option(
            "--base-url",
            metavar="URL",
            help="Gateway URL. Default: CHAINHUB_BASE_URL, or the public gateway.",
        ),
        click.option(
            "--in-flight",
            "--concurrency",
            type=click.IntRange(min=1),
            default=10,
            show_default=True,
            help="How many images to make at the same time. The usual account limit is 10.",
        ),
        click.option(
            "--timeout",
            "seconds",
            metavar="SECONDS",
            type=float,
            help="Timeout for each call, including retries. By default, only its individual steps "
            "have timeouts.",
        ),
        click.option(
            "--task-path",
            metavar="PATH",
            help="Path to poll for an unfinished result, containing {task_id}. The gateway "
            "documents no such path, so without this option nothing is polled.",
        ),
    )


quiet: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "-q", "--quiet", is_flag=True, help="Print messages only if something is wrong."
)


def chosen(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that were given, without those that were left out."""
    return {name: value for name, value in given.items() if value not in (None, ())}


def check(given: dict[str, Any], *, key_needed: bool = True) -> None:
    """Refuses what would otherwise fail only after something was paid for.

    Raises:
        click.UsageError: options are invalid, or cannot be combined.
        NotSetUp: there is no API key.
    """
    path = given["task_path"]
    if path is not None and not ("{task_id}" in path and path.startswith("/")):
        raise click.UsageError("--task-path must begin with / and contain {task_id}.")
    if given["style_codes"] and given["style_reference_images"]:
        raise click.UsageError("--style-code and --style-reference cannot be combined.")
    if given["emulated"] and given["base_url"] is not None:
        raise click.UsageError("--emulator and --base-url cannot be combined.")
    if key_needed and not given["emulated"]:
        require_key()


def prepare(output: Path) -> None:
    """Creates the directory for the results.

    Raises:
        click.UsageError: nothing can be written there.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as problem:
        raise click.UsageError(
            f"Results cannot be saved in {str(output)!r}: {problem.strerror}. Nothing was sent."
        ) from None


def timeout_of(seconds: float | None) -> Timeout:
    """Returns the timeouts of a call.

    Raises:
        click.UsageError: the number is none that can be.
    """
    from chainhub_async.config import Timeout
    from chainhub_async.errors import ConfigurationError

    try:
        return Timeout(total=seconds)
    except ConfigurationError:
        raise click.UsageError("--timeout must be a number of seconds above zero.") from None
