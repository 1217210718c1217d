"""The `chainhub` command.

It needs the extra `cli`, whose packages are imported only when the command runs. Its exit codes;
if several apply, the first in this list (see `chainhub_async.cli.exits` and `chainhub --help`):

    129, 130, 143  interrupted: terminal closed, Ctrl-C, SIGTERM
    5              something was or may have been billed and is not saved
    4              account error: key rejected, no balance, not allowed
    3              configuration error: no API key, an invalid URL, a ledger that cannot be used,
                   or the extra is missing
    1              something failed or was not started, and was not billed
    2              invalid arguments, or every photo is invalid; nothing was sent
    0              success
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

# Stands here too, because `exits` may not be needed for it: nothing else can be imported yet.
_NOT_SET_UP = 3
_INTERRUPTED = 130


def main() -> None:
    """Runs the command with the process's arguments and exits.

    Raises:
        SystemExit: always; its code is one of `chainhub_async.cli.exits`.
    """
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"The command line needs {' and '.join(missing)}: "
            'run pip install "chainhub-async[cli]".\n'
        )
        raise SystemExit(_NOT_SET_UP)
    try:
        from chainhub_async.cli.app import run

        code = run()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    raise SystemExit(code)
