"""Which fault a request gets: scripted by request, by image, or for all."""

from __future__ import annotations

from collections import deque

import attrs

from chainhub_async.testing.faults import AnswerWell, ConnectionFault, Fault
from chainhub_async.testing.http_bytes import image_key


@attrs.define(eq=False)
class Script:
    """What is done with the requests of one kind, in the order it was scripted."""

    _queue: deque[Fault] = attrs.field(factory=deque[Fault], init=False)
    _always: Fault | None = attrs.field(default=None, init=False)
    _images: dict[str, deque[Fault]] = attrs.field(factory=dict[str, deque[Fault]], init=False)
    _image_always: dict[str, Fault] = attrs.field(factory=dict[str, Fault], init=False)

    def script(self, *faults: Fault) -> None:
        """Treat the next requests so, one fault each."""
        self._queue.extend(faults)

    def for_image(self, image: str | bytes, *faults: Fault) -> None:
        """Treat the next requests about this image so, one fault each.

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
        """Treat every request, or every one of an image, so if nothing else is scripted for it."""
        if image is None:
            self._always = fault
        else:
            _check_late(fault)
            self._image_always[image_key(image)] = fault

    @property
    def pending(self) -> int:
        """How many scripted faults were not used yet."""
        return len(self._queue) + sum(map(len, self._images.values()))

    def pick_for_connection(self) -> ConnectionFault | None:
        """Return what is to be done with a new connection, if anything."""
        fault = self._queue[0] if self._queue else self._always
        if not isinstance(fault, ConnectionFault):
            return None
        if self._queue:
            self._queue.popleft()
        return fault

    def pick_for_request(self) -> Fault | None:
        """Return what is to be done whatever the image is, if anything."""
        if self._queue:
            return self._queue.popleft()
        return self._always if self._always and self._always.early else None

    def pick_for_image(self, image: str | None) -> Fault:
        """Return what is to be done with a request of this image."""
        queue = self._images.get(image or "")
        if queue:
            return queue.popleft()
        return self._image_always.get(image or "") or self._always or AnswerWell()


def _check_late(fault: Fault) -> None:
    if fault.early:
        msg = f"{fault!r} acts before the image is known: use script() or always() without an image"
        raise ValueError(msg)
