"""Where results are saved, and under which names."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import anyio.to_thread

from chainhub_async import files
from chainhub_async.download import Downloader, Job
from chainhub_async.errors import DownloadError, InvalidRequestError, TaskError, printable
from chainhub_async.models import GeneratedImage, ReplaceBackgroundResult


async def save_all(
    downloader: Downloader,
    result: ReplaceBackgroundResult,
    directory: str | os.PathLike[str],
    *,
    name: str | None,
    allow_private: bool,
) -> list[Path]:
    """Saves every image of a result that has a URL; see `AsyncChainHub.save`."""
    if not isinstance(result, ReplaceBackgroundResult):
        raise InvalidRequestError(
            f"result is a {type(result).__name__}; a ReplaceBackgroundResult is expected."
        )
    if not result.images and result.task is not None:
        raise TaskError(
            f"There is nothing to save yet: task {printable(result.task.task_id, 100)} is "
            f"{printable(result.task.task_status, 50)!r}. Wait for it with hub.wait(...).",
            task=result.task,
        )
    if name is not None and not isinstance(name, str):
        raise InvalidRequestError(f"name is a {type(name).__name__}; text is expected.")
    folder = await anyio.to_thread.run_sync(_folder, directory)
    stem = files.safe_stem(name or result.request_id or "replaced-background")
    saved: list[Path] = []
    failed: DownloadError | None = None
    for number, image in enumerate(result.images, start=1):
        if image.url is None:
            continue
        numbered = stem if len(result.images) == 1 else f"{stem}-{number}"
        job = Job(
            url=image.url,
            directory=folder,
            stem=numbered,
            publish=partial(files.publish_new, folder, numbered),
            expires_at=image.expires_at,
            allow_private=allow_private,
        )
        try:
            saved.append(await downloader.fetch(job))
        except DownloadError as problem:
            # The others are paid for as well: save as many as possible.
            failed = failed or problem
    if failed is not None:
        failed.saved = tuple(saved)
        raise failed
    return saved


async def save_as(
    downloader: Downloader,
    image_or_url: GeneratedImage | str,
    path: str | os.PathLike[str],
    *,
    allow_private: bool,
) -> Path:
    """Saves one image to `path`; see `AsyncChainHub.download`."""
    image = image_or_url if isinstance(image_or_url, GeneratedImage) else None
    url = image.url if image is not None else image_or_url
    if not isinstance(url, str):
        raise InvalidRequestError(
            "The image has no URL: it was withheld as unsafe."
            if image is not None
            else f"image_or_url is a {type(url).__name__}; an image of a result or a URL is "
            "expected."
        )
    target = await anyio.to_thread.run_sync(_target, path)
    job = Job(
        url=url,
        directory=target.parent,
        stem=files.safe_stem(target.name),
        publish=partial(files.publish_as, target),
        expires_at=None if image is None else image.expires_at,
        allow_private=allow_private,
    )
    return await downloader.fetch(job)


def _folder(directory: str | os.PathLike[str]) -> Path:
    try:
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _unusable(directory, "it is a file, not a directory") from None
    except (OSError, TypeError, ValueError) as problem:
        raise _unusable(directory, getattr(problem, "strerror", None) or problem) from None
    return folder


def _target(path: str | os.PathLike[str]) -> Path:
    try:
        target = Path(path)
        if target.is_dir():
            raise _unusable(path, "it is a directory; name a file, or use hub.save(...)")
        if "\0" in str(target):
            raise _unusable(path, "it contains a null character")
        if not target.parent.is_dir():
            raise _unusable(path, f"the directory {str(target.parent)!r} does not exist")
    except (OSError, TypeError) as problem:
        raise _unusable(path, getattr(problem, "strerror", None) or problem) from None
    return target


def _unusable(place: object, reason: object) -> DownloadError:
    shown = printable(repr(place), 300)
    return DownloadError(f"The result cannot be saved to {shown}: {reason}.")
