"""Chooses the fault for a request: scripted by request, by image, or for all."""

from __future__ import annotations

from collections import deque

import attrs

from chainhub_async.testing.faults import AnswerWell, ConnectionFault, Fault
from chainhub_async.testing.http_bytes import image_key


@attrs.define(eq=False)
class Script:
    """The faults scripted for requests of one kind, in order."""

    _queue: deque[Fault] = attrs.field(factory=deque[Fault], init=False)
    _always: Fault | None = attrs.field(default=None, init=False)
    _images: dict[str, deque[Fault]] = attrs.field(factory=dict[str, deque[Fault]], init=False)
    _image_always: dict[str, Fault] = attrs.field(factory=dict[str, Fault], init=False)

    def script(self, *faults: Fault) -> None:
        """Apply these faults to the next requests, one each."""
        self._queue.extend(faults)

    def for_image(self, image: str | bytes, *faults: Fault) -> None:
        """Apply these faults to the next requests about this image, one each.

        Args:
            image: The image's bytes, or their SHA-256 in hex.
            faults: Faults that act once the body is read.

        Raises:
            ValueError: A fault acts before the image can be known; script it by request instead.
        """
        for fault in faults:
            _check_late(fault)
        self._images.setdefault(image_key(image), deque()).extend(faults)

    def always(self, fault: Fault, *, image: str | bytes | None = None) -> None:
        """Apply this fault to every request, or every one of an image, not otherwise scripted."""
        if image is None:
            self._always = fault
        else:
            _check_late(fault)
            self._image_always[image_key(image)] = fault

    @property
    def pending(self) -> int:
        """How many scripted faults have not been used yet."""
        return len(self._queue) + sum(map(len, self._images.values()))

    def pick_for_connection(self) -> ConnectionFault | None:
        """Return the fault for a new connection, if any."""
        fault = self._queue[0] if self._queue else self._always
        if not isinstance(fault, ConnectionFault):
            return None
        if self._queue:
            self._queue.popleft()
        return fault

    def pick_for_request(self) -> Fault | None:
        """Return the fault for a request whatever its image, if any."""
        if self._queue:
            return self._queue.popleft()
        return self._always if self._always and self._always.early else None

    def pick_for_image(self, image: str | None) -> Fault:
        """Return the fault for a request about this image."""
        queue = self._images.get(image or "")
        if queue:
            return queue.popleft()
        return self._image_always.get(image or "") or self._always or AnswerWell()


def _check_late(fault: Fault) -> None:
    if fault.early:
        msg = f"{fault!r} acts before the image is known: use script() or always() without an image"
        raise ValueError(msg)
