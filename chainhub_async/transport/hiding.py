"""Takes the key out of what a server sends back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache, partial

from chainhub_async.config import Secret

# Texts shorter than this also occur by chance, and a result must not be damaged by hiding a key
# that is not there; in an error response nothing can be damaged.
_SHORTEST_HIDDEN_KEY = 8


def as_utf8(body: bytes) -> bytes:
    """Returns JSON in another encoding as UTF-8, in which the key can be found."""
    encoding = json.detect_encoding(body)
    if encoding in {"utf-8", "utf-8-sig"}:
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeError:
        return body


def hider(key: Secret, *, always: bool) -> Callable[[str], str]:
    """Returns a function that removes the key from what a server echoes, however escaped."""
    text = key.reveal()
    if not always and len(text) < _SHORTEST_HIDDEN_KEY:
        return lambda value: value
    return partial(_pattern(text).sub, "***")


@lru_cache(maxsize=8)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(
        "".join(
            rf"(?:\\?{re.escape(sign)}|\\u00{ord(sign):02x}|%{ord(sign):02x}|\\u00{ord(sign):02X}"
            rf"|%{ord(sign):02X})"
            for sign in text
        )
    )
