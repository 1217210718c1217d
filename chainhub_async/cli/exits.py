"""Exit codes: what each means, and which one several photos get together."""

from __future__ import annotations

SAVED = 0
FAILED = 1
USAGE = 2
NOT_SET_UP = 3
ACCOUNT = 4
BILLED = 5
INTERRUPTED = 130

EPILOG = """\b
Exit codes, and where several fit, which one it is:
  129, 130, 143  interrupted: terminal closed, Ctrl-C, SIGTERM
  5              something was billed, or may have been, and is not saved:
                 read the output before running the command again
  4              the account: key refused (401), no balance (402), not allowed (403)
  3              not set up: no API key, or an address that cannot be used
  2              a mistake in the call or in every photo; nothing was sent
  1              some photos failed, none of them billed
  0              every image asked for is saved
"""
"""Shown by `--help`; the mark `\\b` keeps click from filling the lines."""

_PRECEDENCE = (BILLED, ACCOUNT, NOT_SET_UP, FAILED, USAGE)


def of_many(codes: set[int]) -> int:
    """Returns the code for a run whose photos have these, the gravest first.

    A mistake in some of the photos is an ordinary failure; only one in all of them is `USAGE`.
    """
    if USAGE in codes and SAVED in codes:
        codes = {*codes, FAILED}
    return next((code for code in _PRECEDENCE if code in codes), SAVED)


def of_signal(number: int) -> int:
    """Returns the code a shell gives a process that a signal has ended."""
    return 128 + number
