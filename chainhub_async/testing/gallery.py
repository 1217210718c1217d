"""Result images: what was promised under each URL, drawn when it is downloaded."""

from __future__ import annotations

import contextlib
import importlib
import secrets
from typing import TYPE_CHECKING

import attrs

from chainhub_async.testing.order import MAX_SEED
from chainhub_async.testing.placeholder import flat_png
from chainhub_async.testing.signing import UrlSigner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from chainhub_async.testing.order import Order

__all__ = ["RESULT_PREFIX", "Gallery", "Result", "measure"]

RESULT_PREFIX = "/results/"

# Uploads are kept for drawing until together they exceed this; a result whose upload was dropped
# is served as a placeholder.
MAX_KEPT_BYTES = 256 * 1024 * 1024
# The size promised for an upload that cannot be decoded.
PLACEHOLDER_SIZE = (256, 256)


@attrs.frozen(kw_only=True)
class Result:
    """One promised image.

    Attributes:
        path: Where it is served, without the signature.
        upload: SHA-256 of the photograph it is made of.
        size: Width and height in pixels.
        prompt: What its background shows.
        seed: What makes it different from others of the same prompt.
    """

    path: str
    upload: str
    size: tuple[int, int]
    prompt: str
    seed: int

    @property
    def resolution(self) -> str:
        """The size as replies have it: `1280x800`."""
        return f"{self.size[0]}x{self.size[1]}"


@attrs.define
class Gallery:
    """Promises results, signs their URLs and draws them. Drawing is lazy: few are ever fetched."""

    _signer: UrlSigner = attrs.field(factory=UrlSigner)
    _results: dict[str, Result] = attrs.field(factory=dict[str, Result])
    _uploads: dict[str, bytes] = attrs.field(factory=dict[str, bytes], repr=False)
    _kept_bytes: int = 0

    def promise(self, order: Order, seed: int, size: tuple[int, int]) -> tuple[Result, ...]:
        """Set up the results of an order, all of one size, their seeds counting up from `seed`."""
        self._keep(order)
        stem = secrets.token_hex(8)
        results = tuple(
            Result(
                path=f"{RESULT_PREFIX}{stem}-{index}.png",
                upload=order.image_sha256,
                size=size,
                prompt=order.prompt,
                seed=(seed + index) % (MAX_SEED + 1),
            )
            for index in range(order.num_images)
        )
        self._results.update((result.path, result) for result in results)
        return results

    def sign(self, result: Result, expires: int) -> str:
        """The path and query under which a result is served until `expires` (Unix seconds)."""
        return self._signer.sign(result.path, expires)

    def find(self, path: str, query: Mapping[str, str], now: float) -> Result | None:
        """The result that a signed URL names; None if it was forgotten.

        Raises:
            BadSignatureError: This gallery never signed that URL.
            ExpiredError: Its time is over.
        """
        self._signer.check(path, query, now)
        return self._results.get(path)

    def draw(self, result: Result) -> bytes:
        """The result as a PNG file. Takes a fraction of a second: call it in a worker thread."""
        upload = self._uploads.get(result.upload)
        painter = _painter()
        if upload is not None and painter is not None:
            # Pillow raises nearly anything for a broken file.
            with contextlib.suppress(Exception):
                drawn: bytes = painter.render(upload, result.size, result.prompt, result.seed)
                return drawn
        return flat_png(result.size, f"{result.prompt}\n{result.seed}")

    def forget(self) -> None:
        """Drop every result and upload."""
        self._results.clear()
        self._uploads.clear()
        self._kept_bytes = 0

    def _keep(self, order: Order) -> None:
        if order.image_sha256 not in self._uploads:
            self._uploads[order.image_sha256] = order.image
            self._kept_bytes += len(order.image)
        while self._kept_bytes > MAX_KEPT_BYTES and len(self._uploads) > 1:
            oldest = next(iter(self._uploads))
            self._kept_bytes -= len(self._uploads.pop(oldest))


def _painter() -> ModuleType | None:
    """The module that draws; None without Pillow, which it needs."""
    try:
        return importlib.import_module("chainhub_async.testing.composite")
    except ImportError:
        return None


def measure(upload: bytes) -> tuple[int, int]:
    """The width and height that a result will have. May decode: call it in a worker thread."""
    painter = _painter()
    if painter is not None:
        with contextlib.suppress(Exception):
            size: tuple[int, int] = painter.measure(upload)
            return size
    return PLACEHOLDER_SIZE
