"""What makes two calls the same job: the very bytes and options that are sent, to one endpoint."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from chainhub_async.batch.entries import options_json
from chainhub_async.batch.records import text_of_path
from chainhub_async.errors import ImageChangedError, InvalidImageError, printable
from chainhub_async.images import ImageInput, ImageSource, not_an_image
from chainhub_async.stamps import FileStamp, open_regular
from chainhub_async.transport.messages import Part, Request

_STEP = 1024 * 1024
# File systems round modification times, some to two seconds: a file that was just modified may be
# so again without its time showing it.
_SETTLED_NS = 2_500_000_000


@attrs.frozen
class KnownFile:
    """A file that was read before.

    Attributes:
        stamp: its state then.
        media_type: what it contained.
        sha256: of its content.
    """

    stamp: FileStamp
    media_type: str
    sha256: str


@attrs.frozen(kw_only=True)
class Identity:
    """A job's identity.

    Attributes:
        key: the SHA-256 of everything below, in hexadecimal.
        endpoint: the path of the request.
        options: the fields of the form besides the image, as JSON; images by their SHA-256.
        image_sha256: of the photograph.
    """

    key: str
    endpoint: str
    options: str
    image_sha256: str


class Reader:
    """Checks and hashes images. Each method blocks.

    Args:
        known: the files that were read before, by path.
        ledger: the ledger in use, whose files must not even be opened: closing them would drop the
            locks that SQLite holds.

    Attributes:
        learned: the files read now, to be known next time.
    """

    def __init__(self, known: Mapping[str, KnownFile], ledger: Path | None = None) -> None:
        self._known = known
        self._ledger = [] if ledger is None else _identities(ledger)
        self._hashes: dict[int, str] = {}  # by the identity of the sources, which are kept for that
        self._sources: list[ImageSource] = []
        self.learned: dict[str, KnownFile] = {}

    def source(self, image: ImageInput) -> ImageSource:
        """Returns the checked image; a file that is known and unchanged is not read again.

        Raises:
            InvalidImageError: it cannot be sent.
        """
        if isinstance(image, ImageSource):
            return image
        if isinstance(image, str | os.PathLike):
            name = stored_path(image)
            known = self._known.get(name) or self.learned.get(name)
            path = Path(os.fsdecode(image)).absolute()
            stamp = _stamp_of(path)
            if stamp is not None and (stamp.device, stamp.inode) in self._ledger:
                raise InvalidImageError(
                    f"The image {printable(path)!r} is the batch's own ledger, not an image."
                )
            if known is not None and stamp == known.stamp:
                source = ImageSource(
                    media_type=known.media_type,
                    size=known.stamp.size,
                    path=path,
                    stamp=known.stamp,
                )
                self._sources.append(source)
                self._hashes[id(source)] = known.sha256
                return source
            return ImageSource.from_path(image)
        if isinstance(image, bytes | bytearray | memoryview):
            return ImageSource.from_bytes(image)
        raise not_an_image(image)  # file objects were read before

    def sha256(self, source: ImageSource) -> str:
        """Returns the hash of an image's bytes.

        Raises:
            ImageChangedError: the file changed since it was checked.
        """
        if id(source) not in self._hashes:
            self._sources.append(source)
            self._hashes[id(source)] = _sha256(source)
            self._learn(source)
        return self._hashes[id(source)]

    def identify(self, request: Request) -> Identity:
        """Returns what identifies a request."""
        fields: list[tuple[str, str]] = []
        photo = ""
        for part in request.parts:
            if isinstance(part.content, bytes):
                fields.append((part.name, _canonical(part)))
            elif part.name == "image":
                photo = self.sha256(part.content)
            else:
                fields.append((part.name, f"sha256:{self.sha256(part.content)}"))
        # By name, and otherwise as given: the order counts only among fields of one name.
        fields.sort(key=lambda field: field[0])
        options = options_json(fields)
        whole = options_json([("endpoint", request.path), ("image", photo), ("options", options)])
        return Identity(
            key=hashlib.sha256(whole.encode()).hexdigest(),
            endpoint=request.path,
            options=options,
            image_sha256=photo,
        )

    def _learn(self, source: ImageSource) -> None:
        stamp = source.stamp
        if stamp is None or source.path is None or source.offset:
            return
        if time.time_ns() - max(stamp.modified_ns, stamp.changed_ns) > _SETTLED_NS:
            self.learned[stored_path(source.path)] = KnownFile(
                stamp, source.media_type, self._hashes[id(source)]
            )


def _canonical(part: Part) -> str:
    """Returns a field's text; of JSON, whose order of keys means nothing, the same for each."""
    text = part.content.decode() if isinstance(part.content, bytes) else ""
    if part.content_type != "application/json":
        return text
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def stored_path(path: str | os.PathLike[str]) -> str:
    """Returns the absolute path as it is stored in the ledger."""
    return text_of_path(Path(os.fsdecode(path)).absolute())


def source_of(image: Any) -> str:
    """Returns where an image comes from, as it is stored; empty if nobody knows."""
    place = getattr(image, "path", None) if isinstance(image, ImageSource) else image
    if not isinstance(place, str | os.PathLike):
        place = getattr(image, "name", None)  # of an open file
    return stored_path(place) if place and isinstance(place, str | os.PathLike) else ""


def _identities(ledger: Path) -> list[tuple[int, int]]:
    """Returns what identifies the ledger's files, whatever they are called."""
    whole = ledger.resolve()
    names = [whole, *(whole.with_name(whole.name + end) for end in ("-wal", "-shm", ".lock"))]
    stamps = [_stamp_of(name) for name in names]
    return [(stamp.device, stamp.inode) for stamp in stamps if stamp is not None]


def _stamp_of(path: Path) -> FileStamp | None:
    try:
        return FileStamp.from_stat(path.stat())
    except (OSError, ValueError):
        return None


def _sha256(source: ImageSource) -> str:
    if source.data is not None:
        return hashlib.sha256(source.data).hexdigest()
    digest, left = hashlib.sha256(), source.size
    shown = f"The image {printable(source.path)!r}"
    try:
        with open(source.path or "", "rb", opener=open_regular) as file:
            before = FileStamp.of(file)
            file.seek(source.offset)
            while left and (step := file.read(min(_STEP, left))):
                digest.update(step)
                left -= len(step)
            if left or before != source.stamp or FileStamp.of(file) != source.stamp:
                raise ImageChangedError(f"{shown} was changed while it was being read.")
    except OSError as problem:
        raise ImageChangedError(f"{shown} can no longer be read ({problem.strerror}).") from None
    return digest.hexdigest()
