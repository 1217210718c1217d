"""Saves the images of a job for one input, and records them."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from chainhub_async import files, formats
from chainhub_async.batch import entries, file_entries, naming
from chainhub_async.batch.entries import Settlement
from chainhub_async.batch.facts import SavedFile
from chainhub_async.batch.item import Decision
from chainhub_async.batch.jobs import JobState
from chainhub_async.batch.ledger import Ledger, Work, in_order
from chainhub_async.batch.records import text_of_path
from chainhub_async.download import Downloader, Job, Publish
from chainhub_async.errors import (
    Billed,
    ChainHubError,
    LedgerError,
    ResultExpiredError,
    SaveError,
    already_paid,
)
from chainhub_async.models import GeneratedImage, ReplaceBackgroundResult

_STEP = 1024 * 1024


@attrs.frozen(kw_only=True)
class Delivery:
    """What was saved for an input.

    Attributes:
        state: the job's state.
        saved: the files.
        error: why it is not all of them.
        is_recorded: whether the ledger knows all that.
    """

    state: JobState
    saved: tuple[Path, ...]
    error: ChainHubError | None = None
    is_recorded: bool = True


class Saver:
    """Saves images in one directory.

    Args:
        downloader: of the client.
        ledger: where it is recorded.
        directory: where to.
        overwrite: whether existing files are replaced.
        photos: files that never are, by device and inode.
    """

    def __init__(
        self,
        downloader: Downloader,
        ledger: Ledger,
        directory: Path,
        *,
        overwrite: bool,
        photos: Collection[tuple[int, int]],
    ) -> None:
        self._downloader = downloader
        self._ledger = ledger
        self._directory = directory
        self._overwrite = overwrite
        self._photos = photos

    async def save(
        self,
        decision: Decision,
        result: ReplaceBackgroundResult,
        *,
        is_new: bool,
        unrecorded: Work[None] | None = None,
    ) -> Delivery:
        """Saves every image that can be, and is not yet.

        Args:
            decision: the input.
            result: the images.
            is_new: whether the result was just paid for, so that none of it was saved before.
            unrecorded: what could not be recorded before, and is to be with the next file.
        """
        # Of a job that was put back and paid for again, none is of this result.
        saved = {} if is_new else {file.number: file for file in decision.outputs}
        error: ChainHubError | None = None
        for number, image in enumerate(result.images, start=1):
            if image.url is None or number in saved:
                continue
            try:
                with already_paid():
                    path = await self._save_one(decision, number, image, is_new=is_new)
                saved[number] = await anyio.to_thread.run_sync(_saved_file, number, path)
                if number < len(result.images):
                    await self._note(decision, saved[number], unrecorded)
            except ChainHubError as problem:
                error = error or problem
        if error is None:
            state = JobState.SAVED
        else:
            expired = isinstance(error, ResultExpiredError)
            state = JobState.EXPIRED if expired else JobState.ACCEPTED
        delivery = Delivery(
            state=state,
            saved=tuple(Path(file.path) for _, file in sorted(saved.items())),
            error=error,
        )
        return await self._record(decision, delivery, tuple(saved.values()), unrecorded)

    async def _note(
        self, decision: Decision, saved: SavedFile, unrecorded: Work[None] | None
    ) -> None:
        """Records one image before the next is saved, in case that is the last thing done."""
        given, key = decision.item.input, decision.item.key
        work = partial(file_entries.add_outputs, source=given.source, key=key, saved=[saved])
        with suppress(LedgerError):  # `_record` does it again
            await self._ledger.write(in_order(unrecorded, work), urgent=True)

    async def _record(
        self,
        decision: Decision,
        delivery: Delivery,
        saved: tuple[SavedFile, ...],
        unrecorded: Work[None] | None,
    ) -> Delivery:
        work = partial(_record, decision, delivery, saved)
        try:
            with anyio.CancelScope(shield=True):
                await self._ledger.write(in_order(unrecorded, work), urgent=True)
        except ChainHubError as unwritable:
            return attrs.evolve(delivery, error=delivery.error or unwritable, is_recorded=False)
        return delivery

    async def _save_one(
        self, decision: Decision, number: int, image: GeneratedImage, *, is_new: bool
    ) -> Path:
        images = decision.item.http.images
        stem = naming.numbered(decision.stem, number, images)
        if number > images:
            # More than were asked for, so that no such name was claimed; another input has none.
            stem = f"{decision.stem}-{decision.item.key[:8]}-{number}"
        over = number <= images and await self._may_replace(decision, stem)
        publish = partial(files.publish_over if over else files.publish_once, self._directory, stem)
        token = self._token(decision, number)
        copies = [] if is_new else await self._copies(decision, number)
        for copy in copies:
            part = files.PartFile(self._directory, stem, token)
            copied = await anyio.to_thread.run_sync(_copy, part, copy, publish)
            if copied is not None:
                return copied
        job = Job(
            url=image.url or "",
            directory=self._directory,
            stem=stem,
            publish=publish,
            token=token,
            expires_at=image.expires_at,
        )
        return await self._downloader.fetch(job)

    async def _may_replace(self, decision: Decision, stem: str) -> bool:
        """Returns whether files of this name may be replaced: never an input, nor its result."""
        if not self._overwrite:
            return False
        paths = [self._directory / f"{stem}{suffix}" for suffix in formats.SUFFIXES.values()]
        there = await anyio.to_thread.run_sync(_look_at, paths)
        if any(stat.S_ISDIR(info.st_mode) for info in there):
            return False
        taken = partial(
            file_entries.taken_paths,
            source=decision.item.input.source,
            key=decision.item.key,
            paths=[text_of_path(path) for path in paths],
        )
        # By another name, through a link or in other letters, it may be an input as well.
        files_there = [(info.st_dev, info.st_ino) for info in there]
        if any(file in self._photos for file in files_there):
            return False
        if await self._ledger.write(partial(file_entries.are_inputs, files_there)):
            return False
        return not await self._ledger.write(taken)

    async def _copies(self, decision: Decision, number: int) -> list[SavedFile]:
        return await self._ledger.write(
            partial(file_entries.copies, key=decision.item.key, number=number)
        )

    def _token(self, decision: Decision, number: int) -> str | None:
        if self._ledger.path is None:
            return None
        ledger = text_of_path(self._ledger.path.absolute())
        # The same in the next run, so that what a killed one left behind is cleared away; another
        # with another ledger, which may be in use at the same time.
        text = f"{ledger} {decision.item.key} {decision.item.input.source} {number}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _record(
    decision: Decision,
    delivery: Delivery,
    saved: tuple[SavedFile, ...],
    connection: sqlite3.Connection,
) -> None:
    key = decision.item.key
    file_entries.add_outputs(connection, decision.item.input.source, key, saved)
    job = entries.job(connection, key)
    if job is not None and job.state is JobState.SAVED and delivery.state is JobState.ACCEPTED:
        return  # it was saved for another input, or before, and may be again
    how = Settlement(key=key, state=delivery.state, billed=Billed.YES, error=delivery.error)
    entries.settle(connection, how)


def _look_at(paths: list[Path]) -> list[os.stat_result]:
    """Returns what is known of those of these files that exist."""
    found: list[os.stat_result] = []
    for path in paths:
        with suppress(OSError):
            found.append(path.stat())
    return found


def _saved_file(number: int, path: Path) -> SavedFile:
    info = path.stat()
    return SavedFile(
        number=number,
        path=text_of_path(path),
        bytes=info.st_size,
        modified_ns=info.st_mtime_ns,
    )


def _copy(part: files.PartFile, saved: SavedFile, publish: Publish) -> Path | None:
    """Copies a file that was saved for another input; None if it is gone or was changed."""
    if not saved.is_unchanged():
        return None
    source = Path(saved.path)
    try:
        with source.open("rb") as file:
            while step := file.read(_STEP):
                part.write(step)
        if not saved.is_unchanged():
            return None
        return part.publish(lambda path: publish(path, source.suffix))
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise SaveError(f"The result cannot be copied from {saved.path!r}: {problem}.") from None
    finally:
        part.drop()
