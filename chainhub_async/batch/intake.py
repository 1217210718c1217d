"""Inputs → what is to be done with each: checked, hashed, looked up and named, many at a time."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

import attrs

from chainhub_async.batch import entries, file_entries, naming
from chainhub_async.batch.entries import Job
from chainhub_async.batch.facts import SavedFile
from chainhub_async.batch.identity import KnownFile, Reader, source_of
from chainhub_async.batch.item import Decision, Input, Item, Refused
from chainhub_async.batch.jobs import JobState, PlanAction
from chainhub_async.batch.records import text_of_path
from chainhub_async.batch.settings import BatchSettings
from chainhub_async.config import Timeout
from chainhub_async.errors import (
    Billed,
    ChainHubError,
    ImageChangedError,
    InvalidRequestError,
    printable,
)
from chainhub_async.images import ImageSource
from chainhub_async.models import GeneratedImage, ReplaceBackground, ReplaceBackgroundResult
from chainhub_async.resources import ideogram
from chainhub_async.stamps import FileStamp
from chainhub_async.transport import decode
from chainhub_async.transport.gate import never_fits


@attrs.frozen
class CallLimits:
    """What each call is made with.

    Attributes:
        timeout: its timeouts.
        in_flight: how many images it may make at most.
    """

    timeout: Timeout
    in_flight: int | None


# Hashing goes on for this long before what is ready is passed on.
_SECONDS_PER_STEP = 0.05

_PAID = {JobState.ACCEPTED, JobState.SAVED, JobState.EXPIRED}
_NEW = Job(state=JobState.PENDING, billed=Billed.NO, error=None, reply=None)


def known_files(connection: sqlite3.Connection, inputs: Sequence[Input]) -> dict[str, KnownFile]:
    """Returns what the ledger knows of the files of these inputs. Blocks."""
    found: dict[str, KnownFile] = {}
    for path in {path for given in inputs for path in _paths(given)}:
        row = file_entries.known(connection, path)
        if row is not None:
            found[path] = KnownFile(FileStamp(*row[:5]), row[5], row[6])
    return found


def _paths(given: Input) -> list[str]:
    """Returns the paths, as stored, of the images of an input."""
    references = given.request.style_reference_images
    others = references if isinstance(references, list | tuple) else []
    try:
        return [path for path in (given.source, *map(source_of, others)) if path]
    except Exception:  # see `as_input`
        return []


def examine(inputs: Sequence[Input], reader: Reader, limits: CallLimits) -> list[Item | Refused]:
    """Checks and identifies inputs, in order, until the step's time is over. Blocks."""
    until = time.monotonic() + _SECONDS_PER_STEP
    found: list[Item | Refused] = []
    for given in inputs:
        try:
            found.append(_examine(given, reader, limits))
        except (InvalidRequestError, ImageChangedError) as problem:
            found.append(Refused(input=given, error=problem))
        except Exception as problem:  # such as from a path's own method
            found.append(Refused(input=given, error=_unusable(problem)))
        if time.monotonic() > until:
            break
    return found


def _unusable(problem: Exception) -> InvalidRequestError:
    """Returns the error for an input that raises an exception of its own."""
    return InvalidRequestError(
        f"The input cannot be used: {type(problem).__name__}: {printable(problem, 300)}."
    )


def _examine(given: Input, reader: Reader, limits: CallLimits) -> Item:
    call = given.request
    options = ideogram.checked_options(call)
    image = reader.source(call.image)
    references = [reader.source(each) for each in ideogram.style_references(call)]
    http = ideogram.request_of(call, options, image, references, limits.timeout)
    if limits.in_flight is not None and http.images > limits.in_flight:
        raise never_fits(http.images, limits.in_flight)
    return Item(input=given, http=http, identity=reader.identify(http))


async def _read_file_objects(call: ReplaceBackground) -> ReplaceBackground:
    """Returns the call with the images that are file objects read into memory.

    Raises:
        InvalidRequestError: one cannot be read.
    """
    image = call.image
    if callable(getattr(image, "read", None)):
        call = attrs.evolve(call, image=await ImageSource.of(image))
    references = call.style_reference_images
    if isinstance(references, list | tuple) and any(
        callable(getattr(each, "read", None)) for each in references
    ):
        sources = [await ImageSource.of(each) for each in references]
        call = attrs.evolve(call, style_reference_images=sources)
    return call


def _files_of(item: Item) -> Iterator[tuple[int, int]]:
    for part in item.http.parts:
        if isinstance(part.content, ImageSource) and part.content.stamp is not None:
            yield part.content.stamp.device, part.content.stamp.inode


@attrs.frozen(kw_only=True)
class Clerk:
    """Decides what to do with items, and records those that are new.

    Attributes:
        settings: the batch's.
        run: the current run.
        photos: the files of this run's inputs, by device and inode, if files are overwritten.
    """

    settings: BatchSettings
    run: int
    photos: set[tuple[int, int]] = attrs.field(factory=set[tuple[int, int]], init=False, repr=False)
    _hints: dict[str, int] = attrs.field(factory=dict[str, int], init=False, repr=False)

    def register(
        self,
        connection: sqlite3.Connection,
        found: Sequence[Item | Refused],
        learned: dict[str, KnownFile],
    ) -> list[Decision | Refused]:
        """Records new jobs, and decides what to do with each input. Blocks."""
        rows = (
            (path, *attrs.astuple(known.stamp), known.media_type, known.sha256)
            for path, known in learned.items()
        )
        file_entries.learn(connection, rows)
        return [self._register(connection, one) for one in found]

    def decide(self, connection: sqlite3.Connection, item: Item) -> Decision:
        """Decides what to do with an item that was registered, or is not to be. Blocks."""
        job = entries.job(connection, item.key)
        if job is None:
            return Decision(item=item, action=PlanAction.SEND, job=_NEW)
        if job.state is JobState.SENDING and not self.run:
            # A dry run settles nothing, and says what the next run would find.
            state, lost = entries.interrupted(connection, item.key)
            job = attrs.evolve(job, state=state, billed=lost.billed, error=lost)
        saved = tuple(
            file
            for file in file_entries.outputs(connection, item.input.source, item.key)
            if self._is_here(file)
        )
        result = _result(job)
        tried = entries.was_tried_by(connection, item.key, self.run)
        return Decision(
            item=item,
            action=self._action(job, result, saved, is_of_this_run=tried),
            is_of_this_run=tried,
            job=job,
            result=result,
            stem=naming.claimed(connection, item.input.source, item.key),
            outputs=saved,
        )

    def _is_here(self, file: SavedFile) -> bool:
        folder = self.settings.save_to
        in_folder = folder is None or os.path.dirname(file.path) == text_of_path(folder)  # noqa: PTH120 - stored as text
        return in_folder and file.exists()

    def _register(
        self, connection: sqlite3.Connection, found: Item | Refused
    ) -> Decision | Refused:
        source = found.input.source
        if isinstance(found, Refused):
            if source:
                entries.refuse(connection, source, found.error, self.run)
            return found
        if source:
            entries.accept(connection, source)
        identity, images = found.identity, found.http.images
        if self.settings.overwrite:
            self.photos.update(_files_of(found))
        entries.add_job(
            connection,
            key=identity.key,
            endpoint=identity.endpoint,
            image_sha256=identity.image_sha256,
            options=identity.options,
            images=images,
        )
        wanted = naming.Naming(source=source, key=identity.key, images=images)
        naming.claim(
            connection,
            wanted,
            self.run,
            overwrite=self.settings.overwrite,
            hints=self._hints,
        )
        return self.decide(connection, found)

    def _action(
        self,
        job: Job,
        result: ReplaceBackgroundResult | None,
        saved: Sequence[SavedFile],
        *,
        is_of_this_run: bool,
    ) -> PlanAction:
        # What this very run tried is not tried again for a duplicate.
        match job.state:
            case JobState.REFUSED:
                again = self.settings.retry_refused and not is_of_this_run
                return PlanAction.SEND if again else PlanAction.REFUSE
            case JobState.UNCERTAIN:
                again = self.settings.resend_uncertain and not is_of_this_run
                return PlanAction.SEND if again else PlanAction.HOLD
            case JobState.ACCEPTED | JobState.SAVED | JobState.EXPIRED:
                return self._bring_home(job, result, saved)
            case _:
                return PlanAction.SEND

    def _bring_home(
        self, job: Job, result: ReplaceBackgroundResult | None, saved: Sequence[SavedFile]
    ) -> PlanAction:
        """Decides about a job that is paid for."""
        if result is None:
            return PlanAction.HOLD
        if result.task is not None and not result.images:
            return PlanAction.DOWNLOAD if self.settings.task_path else PlanAction.HOLD
        wanted = {n for n, image in enumerate(result.images, start=1) if image.url is not None}
        if self.settings.save_to is None or {file.number for file in saved} >= wanted:
            return PlanAction.SKIP
        if job.state is JobState.EXPIRED and _is_over(result.images):
            return PlanAction.HOLD
        return PlanAction.DOWNLOAD


def _result(job: Job) -> ReplaceBackgroundResult | None:
    if job.reply is None or job.state not in _PAID:
        return None
    try:
        return decode.result(job.reply)
    except ChainHubError:
        return None


def _is_over(images: Sequence[GeneratedImage]) -> bool:
    now = datetime.now(timezone.utc)
    return all(image.expires_at is not None and image.expires_at < now for image in images)


async def ready(given: Input) -> Input | Refused:
    """Returns an input whose images are not file objects any more."""
    try:
        if not isinstance(given.request, ReplaceBackground):
            raise InvalidRequestError(
                f"Input {given.index} of the batch is a {type(given.request).__name__}; a "
                "ReplaceBackground is expected."
            )
        read = await _read_file_objects(given.request)
    except InvalidRequestError as problem:
        return Refused(input=given, error=problem)
    return attrs.evolve(given, request=read)


def as_input(index: int, request: Any) -> Input:
    """Returns an input."""
    try:
        source = source_of(getattr(request, "image", None))
    except Exception:  # from a path's own method: it is refused when it is looked at
        source = ""
    return Input(index=index, request=request, source=source)
