"""Signed result URLs: a path, the second it expires, and an HMAC over both."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BadSignatureError", "ExpiredError", "UrlSigner"]


class BadSignatureError(Exception):
    """The query's signature is missing or was not made for this path and expiry."""


class ExpiredError(Exception):
    """The signature is valid but expired."""


@attrs.frozen
class UrlSigner:
    """Signs paths and checks the signatures of those it signed."""

    _secret: bytes = attrs.field(factory=lambda: secrets.token_bytes(32), repr=False)

    def sign(self, path: str, expires: int) -> str:
        """Return `path` with its expiry (Unix seconds) and signature in the query."""
        return f"{path}?exp={expires}&sig={self._signature(path, str(expires))}"

    def check(self, path: str, query: Mapping[str, str], now: float) -> None:
        """Check a requested path against its query.

        Args:
            path: The path requested.
            query: The query's parameters.
            now: The time, in Unix seconds.

        Raises:
            BadSignatureError: The signature is not this signer's.
            ExpiredError: The signature is valid but expired.
        """
        expires, signature = query.get("exp", ""), query.get("sig", "")
        expected = self._signature(path, expires)
        if not hmac.compare_digest(_bytes(expected), _bytes(signature)):
            raise BadSignatureError
        if now >= int(expires):
            raise ExpiredError

    def _signature(self, path: str, expires: str) -> str:
        message = _bytes(f"{path}\n{expires}")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:32]


def _bytes(text: str) -> bytes:
    # Bytes of a request line that are not UTF-8 arrive as surrogates.
    return text.encode("utf-8", "surrogateescape")
