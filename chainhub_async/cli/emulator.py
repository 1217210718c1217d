"""`chainhub emulator`: runs the emulator of the gateway's API until interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chainhub_async.cli.problems import Failed

if TYPE_CHECKING:
    from chainhub_async.testing import Emulator

_REPLIES = ("images", "task", "wrapped", "wrapped_object")


@click.command("emulator")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="The port; 0 picks a free one.",
)
@click.option(
    "--reply",
    type=click.Choice(_REPLIES),
    default="images",
    show_default=True,
    help="The shape of its responses.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long each call takes.",
)
@click.option("--task-polls", type=click.IntRange(min=0), help="Polls until a task is finished.")
@click.option("--balance", type=click.IntRange(min=0), help="Images the account can pay for.")
@click.option("--in-flight", type=click.IntRange(min=0), help="Images allowed at the same time.")
@click.option("--unsafe", metavar="WORD", help="Refuse prompts containing this word.")
@click.option("--withhold", metavar="WORD", help="Withhold images of prompts containing this word.")
@click.option(
    "--result-lifetime",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long results can be downloaded. Default: 24 hours.",
)
def command(**given: Any) -> None:
    """Run an emulator of the gateway's API on this machine until Ctrl-C.

    It validates requests strictly and costs nothing. It prints the environment variables that
    point a client at it. Exits with 1 if it cannot listen.
    """
    import anyio

    options = {name: value for name, value in given.items() if value is not None}
    anyio.run(_serve, options)


async def _serve(options: dict[str, Any]) -> None:
    import anyio

    from chainhub_async.cli.interrupts import interruptible
    from chainhub_async.testing import Emulator

    emulator = Emulator(**options)
    with interruptible(lambda: None):
        try:
            await emulator.start()
        except OSError as problem:
            reason = problem.strerror or problem
            raise Failed(
                f"The emulator cannot listen on {emulator.host} port {emulator.port}: {reason}."
            ) from None
        try:
            _announce(emulator)
            await anyio.sleep_forever()
        finally:
            await emulator.stop()


def _announce(emulator: Emulator) -> None:
    from chainhub_async.cli import output

    task = f" --task-path '{emulator.task_path}'" if emulator.reply == "task" else ""
    stdout = output.stdout()
    for line in (
        f"export CHAINHUB_BASE_URL={emulator.base_url}",
        f"export CHAINHUB_API_KEY={emulator.api_key}",
        f"# chainhub replace-background photo.jpg --prompt 'a forest at dawn'{task}",
    ):
        stdout.line(line)
