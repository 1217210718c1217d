"""The outcome of one photo, its JSON object, and its exit code."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

import attrs

from chainhub_async.batch.jobs import JobState
from chainhub_async.cli import exits
from chainhub_async.cli.json_words import outcome_facts, withheld_of
from chainhub_async.cli.photos import Photo
from chainhub_async.errors import (
    APIError,
    AuthenticationError,
    Billed,
    ChainHubError,
    ConfigurationError,
    InsufficientBalanceError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResultExpiredError,
    ServerError,
)
from chainhub_async.models import GeneratedImage, ReplaceBackgroundResult

ACCOUNT_ERRORS = (AuthenticationError, InsufficientBalanceError, PermissionDeniedError)
# Errors of the gateway that are not about this photo and these options.
_NOT_ITS_FAULT = (*ACCOUNT_ERRORS, NotFoundError, RateLimitError, RedirectError, ServerError)
# A response that is paid for and cannot be read may still contain the result's URL.
_KEPT_BODY = 64 * 1024


class State(enum.Enum):
    """How a photo ended, as this run tells of it; `JobState` is what that means for a next one."""

    SAVED = enum.auto()
    FAILED = enum.auto()
    UNFINISHED = enum.auto()
    WITHHELD = enum.auto()
    CANCELLED = enum.auto()
    NOT_STARTED = enum.auto()


@attrs.frozen(kw_only=True)
class Outcome:
    """How one photo ended.

    Attributes:
        photo: the photo.
        state: how it ended.
        billed: whether money may have been spent.
        result: the gateway's result, if there is one.
        saved: the files that were written completely.
        unsaved: the images that are paid for, have a URL, and are not on disk.
        error: why it is not saved.
    """

    photo: Photo
    state: State
    billed: Billed = Billed.NO
    result: ReplaceBackgroundResult | None = None
    saved: tuple[Path, ...] = ()
    unsaved: tuple[GeneratedImage, ...] = ()
    error: ChainHubError | None = None

    @property
    def withheld(self) -> int:
        """How many images were withheld as unsafe."""
        return withheld_of(self.result)

    @property
    def owed(self) -> bool:
        """Whether something was or may have been billed and is not saved."""
        complete = self.state is State.SAVED and not self.withheld
        return self.billed is not Billed.NO and not complete

    @property
    def exit_code(self) -> int:
        """The exit code for this photo alone."""
        if self.owed:
            return exits.BILLED
        if self.state is State.SAVED:
            return exits.SAVED
        if isinstance(self.error, ACCOUNT_ERRORS):
            return exits.ACCOUNT
        if isinstance(self.error, ConfigurationError):
            return exits.NOT_SET_UP
        return exits.USAGE if isinstance(self.error, InvalidRequestError) else exits.FAILED

    @property
    def job_state(self) -> JobState:
        """How it ended, as a batch would say it."""
        error = self.error
        if self.state in {State.SAVED, State.WITHHELD}:
            return JobState.SAVED
        if self.result is not None and self.billed is Billed.YES:
            return JobState.EXPIRED if isinstance(error, ResultExpiredError) else JobState.ACCEPTED
        if self.billed is not Billed.NO:
            return JobState.UNCERTAIN
        by_gateway = isinstance(error, APIError) and not isinstance(error, _NOT_ITS_FAULT)
        refused = by_gateway or isinstance(error, InvalidRequestError)
        return JobState.REFUSED if refused else JobState.PENDING

    def as_json(self) -> str:
        """Returns the line of `--json`: ASCII only, so that it cannot control a terminal."""
        result = self.result
        facts = outcome_facts(
            index=self.photo.number - 1,
            image=self.photo.name,
            state=self.job_state,
            billed=self.billed,
            saved=self.saved,
            result=result,
            error=self.error,
        )
        if self.error is not None:
            facts["error"] |= _further(self.error, self.billed)
        return json.dumps({
            **facts,
            "results": [_image(image) for image in result.images] if result else [],
            "task": attrs.asdict(result.task) if result and result.task else None,
        })  # fmt: skip


def _image(image: GeneratedImage) -> dict[str, Any]:
    expires = image.expires_at
    return {**attrs.asdict(image), "expires_at": expires.isoformat() if expires else None}


def _further(error: ChainHubError, billed: Billed) -> dict[str, Any]:
    body = getattr(error, "body", b"")
    return {
        "billed": billed.value,
        "attempts": len(error.attempts),
        "body": body[:_KEPT_BODY].decode("utf-8", "backslashreplace") if body else None,
    }
