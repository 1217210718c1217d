"""What every contender is told, and what every upload consists of."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

PATH = "/ideogram/v1/ideogram-v3/replace-background"
KEY = "benchmark-key"
PROMPT = "a pine forest at dawn"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@attrs.define(kw_only=True, slots=False)
class Target:
    """Where to send what.

    Attributes:
        url: the server's origin.
        path: the image, or a directory of images; for downloads, the directory to save to.
        ca: a file with the certificate to trust, or None.
        parallel: how many calls there will be at once.
    """

    url: str
    path: Path
    ca: str | None = None
    parallel: int = 1

    @cached_property
    def files(self) -> list[Path]:
        return sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]

    def file(self, number: int) -> Path:
        """Returns the image of a call; calls to warm up, below 0, share the last one."""
        return self.files[-1] if number < 0 else self.files[number % len(self.files)]

    @property
    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.ca) if self.ca else None


Call = Callable[[int], Awaitable[Any]]
"""One call, which is told its number."""

Awaited = Callable[[AsyncExitStack, Target], Awaitable[Call]]
"""Prepares calls on asyncio's loop."""

Run = Callable[[Iterable[int], list[float]], None]
"""Makes calls with these numbers, and notes how long each took, in seconds."""

OwnLoop = Callable[[Target], Run]
"""Prepares calls that bring their own loop or threads."""


def form_around() -> tuple[bytes, bytes, str]:
    """Returns what stands before and after a file in a form, and the form's content type."""
    boundary = os.urandom(16).hex()
    before = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n{PROMPT}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    kind = f"multipart/form-data; boundary={boundary}"
    return before.encode(), f"\r\n--{boundary}--\r\n".encode(), kind
