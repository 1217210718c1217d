"""The `chainhub` command: the package without a line of Python.

It needs the extra `cli`, whose packages are imported only when the command runs. Its exit codes,
the gravest that fits (`chainhub_async.cli.exits`, and shown by `chainhub --help`):

    129, 130, 143  interrupted: terminal closed, Ctrl-C, SIGTERM
    5              something was billed, or may have been, and is not saved
    4              the account: key refused, no balance, not allowed
    3              not set up: no API key, an unusable address, or the extra is missing
    2              a mistake in the call or in every photo; nothing was sent
    1              something failed, and was not billed
    0              done
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

# Stands here too, because `exits` may not be needed for it: nothing else can be imported yet.
_NOT_SET_UP = 3
_INTERRUPTED = 130


def main() -> None:
    """Runs the command with the arguments of the process, and ends the process.

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
        from chainhub_async.cli.app import run  # noqa: PLC0415 - imports click, see above

        code = run()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    raise SystemExit(code)
