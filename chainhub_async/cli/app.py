"""The `chainhub` group, whose commands are imported on demand."""

from __future__ import annotations

from importlib import import_module

import click

from chainhub_async._version import __version__
from chainhub_async.cli import exits

_COMMANDS = {
    "batch": "chainhub_async.cli.batch",
    "doctor": "chainhub_async.cli.doctor",
    "emulator": "chainhub_async.cli.emulator",
    "gallery": "chainhub_async.cli.gallery",
    "ledger": "chainhub_async.cli.ledger",
    "replace-background": "chainhub_async.cli.replace_background",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's name
        return sorted(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's name
        cmd_name: str,
    ) -> click.Command | None:
        home = _COMMANDS.get(cmd_name)
        if home is None:
            return None
        command: click.Command = import_module(home).command
        return command


@click.command(
    cls=_Commands,
    epilog=exits.EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="chainhub", message="%(prog)s %(version)s")
def chainhub() -> None:
    """Replace the background of photos through the ChainHub gateway.

    The API key is read only from the environment variable CHAINHUB_API_KEY, because other users of
    the machine can see command-line arguments.
    """


def run() -> int:
    """Runs the command with the process's arguments and returns its exit code."""
    try:
        code: object = chainhub.main(prog_name="chainhub", standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except click.Abort:
        return exits.INTERRUPTED
    return code if isinstance(code, int) else exits.SAVED
