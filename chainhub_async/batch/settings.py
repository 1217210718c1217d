"""The settings of a batch, checked."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import attrs

from chainhub_async.errors import ConfigurationError, printable


def _path(name: str, value: Any) -> Path | None:
    if value is None:
        return None
    try:
        text = os.fsdecode(value)
    except TypeError:
        raise ConfigurationError(
            f"{name} is a {type(value).__name__}; a path is expected."
        ) from None
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"{name} is {text!r}, which is not valid UTF-8 and cannot be recorded; use "
            "another name."
        ) from None
    if not text or "\0" in text:
        raise ConfigurationError(f"{name} is {text!r}; a path is expected.")
    return Path(text).absolute()


def _ledger(value: Any) -> Path | None:
    return _path("ledger", value)


def _save_to(value: Any) -> Path | None:
    return _path("save_to", value)


def _flag(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    # Not just truthy: a string such as "no" would spend money here.
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} is {value!r}; True or False is allowed.")


def _count(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; a whole number from 0, or None for no limit, is "
            "allowed."
        )


def _seconds(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or math.isnan(value)
        or value < 0
    ):
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; a number of seconds, 0 or more, is allowed."
        )


def _task_path(_: Any, __: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or "{task_id}" not in value or not value.startswith("/"):
        raise ConfigurationError(
            f"task_path is {printable(repr(value), 200)}; a path that begins with / and contains "
            "{task_id} is expected."
        )


@attrs.frozen(kw_only=True)
class BatchSettings:
    """See `AsyncChainHub.batch`."""

    ledger: Path | None = attrs.field(default=None, converter=_ledger)
    save_to: Path | None = attrs.field(default=None, converter=_save_to)
    ordered: bool = attrs.field(default=False, validator=_flag)
    max_images: int | None = attrs.field(default=None, validator=_count)
    resend_uncertain: bool = attrs.field(default=False, validator=_flag)
    retry_refused: bool = attrs.field(default=False, validator=_flag)
    overwrite: bool = attrs.field(default=False, validator=_flag)
    task_path: str | None = attrs.field(default=None, validator=_task_path)
    grace: float = attrs.field(default=30.0, validator=_seconds)

    def prepare(self) -> None:
        """Creates the directory of the results, and checks that files can be written. Blocks.

        Raises:
            ConfigurationError: they cannot.
        """
        if self.save_to is None:
            return
        probe = self.save_to / ".chainhub-probe.part"
        try:
            self.save_to.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink(missing_ok=True)
        except OSError as problem:
            raise ConfigurationError(
                f"Results cannot be saved in {printable(self.save_to)!r}: {problem.strerror}. "
                "Nothing was sent."
            ) from None
