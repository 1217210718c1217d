"""Errors found before anything is sent, as click shows them: a message and an exit code."""

from __future__ import annotations

import os

import click

from chainhub_async.cli import exits


class NotSetUp(click.ClickException):
    """The command cannot run with the current configuration."""

    exit_code = exits.NOT_SET_UP


class Failed(click.ClickException):
    """The command failed."""

    exit_code = exits.FAILED


def require_key() -> None:
    """Requires an API key in the environment.

    Raises:
        NotSetUp: there is none.
    """
    if not os.environ.get("CHAINHUB_API_KEY", "").strip():
        raise NotSetUp(
            "No API key: set the environment variable CHAINHUB_API_KEY. To try the command without "
            "one, add --emulator."
        )
