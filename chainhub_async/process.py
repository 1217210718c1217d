"""This process, as opposed to the one it was forked from."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any


class Process:
    """Stands for a process. A forked child gets another one: a PID may be used again."""


# A fork waits no longer for what it must not interrupt.
_LONGEST_WAIT = 5.0

_current = [Process()]
_kept: list[object] = []
# Reentrant, since a signal handler may fork on top of what holds it.
_imports = [threading.RLock()]


def current_process() -> Process:
    """Returns what stands for this process."""
    return _current[0]


def after_fork(step: Callable[[], object]) -> None:
    """Has `step` called in every process that is forked from this one."""
    _at_fork(after_in_child=step)


def not_forked() -> AbstractContextManager[object]:
    """Surrounds what imports modules in another thread; forks wait for its end.

    A child that is forked during an import waits for that module for ever.
    """
    # The lock itself: a generator may be interrupted before it knows that it has it.
    return _imports[0]


def keep_for_ever(thing: object) -> None:
    """Never finalizes `thing`, not even when the interpreter ends.

    What was inherited from the parent must be neither closed, which could reach the parent's
    connections, nor complained of.
    """
    _kept.append(thing)
    try:
        from ctypes import py_object, pythonapi  # noqa: PLC0415 - needed in forked processes only
    except ImportError:
        return  # PyPy, where nothing is finalized at the end
    pythonapi.Py_IncRef(py_object(thing))


def _at_fork(**hooks: Callable[[], object]) -> None:
    register: Any = getattr(os, "register_at_fork", None)  # there is no fork on Windows
    if register is not None:
        register(**hooks)


def _before() -> None:
    _imports[0].acquire(timeout=_LONGEST_WAIT)


def _after() -> None:
    with suppress(RuntimeError):  # it was waited for in vain
        _imports[0].release()


def _start_anew() -> None:
    _current[0] = Process()
    _imports[0] = threading.RLock()


_at_fork(before=_before, after_in_parent=_after, after_in_child=_start_anew)
