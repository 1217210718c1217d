"""Processes several photos at once, through one client, and reports each outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs

from chainhub_async.cli.display import Display
from chainhub_async.cli.follower import Follower
from chainhub_async.cli.outcome import ACCOUNT_ERRORS, Outcome, State
from chainhub_async.cli.photos import Photo
from chainhub_async.client import AsyncChainHub
from chainhub_async.errors import (
    Billed,
    ChainHubError,
    ConfigurationError,
    TaskFailedError,
    printable,
)
from chainhub_async.models import GeneratedImage, ReplaceBackgroundResult

# These affect every photo alike: nothing new is started after one.
_FOR_ALL = (*ACCOUNT_ERRORS, ConfigurationError)


@attrs.frozen(kw_only=True)
class Order:
    """What is to be done with each photo.

    Attributes:
        options: the arguments of `replace_background` besides the image.
        directory: where results are saved.
        task_path: the path to poll for an unfinished task, or None not to.
        task_timeout: for how many seconds.
        resend_uncertain: whether calls that may have been executed are retried.
    """

    options: Mapping[str, Any]
    directory: Path
    task_path: str | None = None
    task_timeout: float = 600.0
    resend_uncertain: bool = False


@attrs.define(kw_only=True, eq=False)
class _Story:
    """What is known about a photo so far."""

    photo: Photo
    follower: Follower
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    result: ReplaceBackgroundResult | None = None
    error: ChainHubError | None = None
    cancelled: bool = False

    def outcome(self) -> Outcome:
        return Outcome(
            photo=self.photo,
            state=self._state(),
            billed=self._billed(),
            result=self.result,
            saved=tuple(self.follower.saved),
            unsaved=tuple(self._unsaved()),
            error=self.error,
        )

    def _state(self) -> State:
        result = self.result
        if self.cancelled or self.scope.cancelled_caught:
            # Cancelled while its first byte was sent: rare, and then it has begun.
            begun = self.cancelled or self.follower.sent
            return State.CANCELLED if begun else State.NOT_STARTED
        if result is not None and not result.images and not isinstance(self.error, TaskFailedError):
            return State.UNFINISHED
        if result is None or self.error is not None:
            return State.FAILED
        withheld = all(image.url is None for image in result.images)
        return State.WITHHELD if withheld else State.SAVED

    def _billed(self) -> Billed:
        if self.result is not None and not isinstance(self.error, TaskFailedError):
            return Billed.YES
        return Billed.worst(self.follower.billed, self.error.billed if self.error else Billed.NO)

    def _unsaved(self) -> Iterator[GeneratedImage]:
        for image in self.result.images if self.result else ():
            if image.url is not None and image.url not in self.follower.fetched:
                yield image


@attrs.define(kw_only=True, eq=False)
class Run:
    """One run of the command over its photos.

    Args:
        hub: the client.
        order: what is to be done.
        display: shows progress.
        report: called with each outcome as soon as it is known.
    """

    hub: AsyncChainHub
    order: Order
    display: Display
    report: Callable[[Outcome], object]
    _halted: bool = attrs.field(default=False, init=False)
    _under_way: list[_Story] = attrs.field(factory=list[_Story], init=False)

    async def all(self, photos: Sequence[Photo], workers: int) -> None:
        """Processes all photos, `workers` at a time; each is reported, even when cancelled."""
        waiting = iter(photos)
        try:
            async with anyio.create_task_group() as group:
                for _ in range(min(workers, len(photos))):
                    group.start_soon(self._work, waiting)
        finally:
            for photo in waiting:
                self.report(Outcome(photo=photo, state=State.NOT_STARTED))

    async def _work(self, waiting: Iterator[Photo]) -> None:
        while not self._halted and (photo := next(waiting, None)) is not None:
            await self._one(photo)

    async def _one(self, photo: Photo) -> None:
        story = _Story(photo=photo, follower=self._follower(photo))
        self._under_way.append(story)
        self.display.begin(photo)
        try:
            with story.scope:
                await self._bring_home(story)
        except ChainHubError as problem:
            story.error = problem
        except Exception as bug:
            # The other photos are paid for as well: a bug in this package ends only this one.
            story.error = _unexpected(bug, sent=story.follower.sent)
        except BaseException:
            story.cancelled = True
            raise
        finally:
            self._under_way.remove(story)
            self.display.end(photo)
            self.report(story.outcome())
        if isinstance(story.error, _FOR_ALL):
            self._halt()

    def _follower(self, photo: Photo) -> Follower:
        return Follower(
            on_stage=partial(self.display.advance, photo),
            on_note=partial(self.display.note, photo),
            resend_uncertain=self.order.resend_uncertain,
        )

    async def _bring_home(self, story: _Story) -> None:
        order = self.order
        hub = self.hub.with_options(on_event=story.follower)
        result = await hub.ideogram.replace_background(story.photo.image, **order.options)
        story.result = result
        if result.task is not None and not result.images:
            if order.task_path is None:
                return
            found = await hub.wait(result.task, path=order.task_path, timeout=order.task_timeout)
            # The paid call's ID is the one to quote, not that of a poll.
            told = result.request_id or found.request_id
            story.result = result = attrs.evolve(found, request_id=told)
        if result.images:
            await hub.save(result, order.directory, name=story.photo.stem)

    def _halt(self) -> None:
        """Starts nothing new. Calls already being sent continue: they may be paid for."""
        self._halted = True
        for story in self._under_way:
            if not story.follower.sent:
                story.scope.cancel()


def _unexpected(bug: Exception, *, sent: bool) -> ChainHubError:
    return ChainHubError(
        f"Unexpected {type(bug).__name__}: {printable(bug)}. Please report this.",
        billed=Billed.MAYBE if sent else Billed.NO,
    )
