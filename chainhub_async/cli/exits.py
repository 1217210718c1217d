"""Exit codes: what each means, and how those of several photos combine."""

from __future__ import annotations

SAVED = 0
FAILED = 1
USAGE = 2
NOT_SET_UP = 3
ACCOUNT = 4
BILLED = 5
INTERRUPTED = 130

EPILOG = """\b
Exit codes (if several apply, the first in this list):
  129, 130, 143  interrupted: terminal closed, Ctrl-C, SIGTERM
  5              something was or may have been billed and is not saved:
                 read the output before running the command again
  4              account error: key rejected (401), no balance (402), not allowed (403)
  3              configuration error: no API key, an invalid URL, or a ledger that cannot
                 be used
  1              some photos failed or were not started; none of them was billed
  2              invalid arguments, or every photo is invalid; nothing was sent
  0              every requested image is saved
"""
"""Shown by `--help`; the marker `\\b` keeps click from rewrapping the lines."""

_PRECEDENCE = (BILLED, ACCOUNT, NOT_SET_UP, FAILED, USAGE)


def of_many(codes: set[int]) -> int:
    """Returns the code for a run whose photos have these codes: the most severe.

    If some photos are invalid and others are saved, that is `FAILED`, not `USAGE`.
    """
    if USAGE in codes and SAVED in codes:
        codes = {*codes, FAILED}
    return next((code for code in _PRECEDENCE if code in codes), SAVED)


def of_signal(number: int) -> int:
    """Returns the code that a shell reports for a process ended by this signal."""
    return 128 + number
