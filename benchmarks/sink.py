"""A server that takes uploads and answers at once, so that the client is what is measured.

It counts bytes by `Content-Length` or by chunks and answers with the gateway's image list. Run as
`python sink.py`; it prints its port and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

_IMAGE = {"url": "http://127.0.0.1/a.png", "prompt": "p", "resolution": "1x1", "seed": 1}
_BODY = json.dumps({"created": "2026-01-05T10:11:12Z", "data": [_IMAGE | {"is_image_safe": True}]})
_ANSWER = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(_BODY)}\r\n\r\n{_BODY}"
).encode()


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._head = b""
        self._left: int | None = None
        self._chunked_tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._left is None:
            self._head += data
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            self._left = int(length.group(1)) if length else -1
            self._head, data = b"", rest
        if self._left == -1:
            # Chunked: the last chunk ends the body, and nothing follows it here.
            self._chunked_tail = (self._chunked_tail + data)[-7:]
            if self._chunked_tail == b"\r\n0\r\n\r\n":
                self._answer()
            return
        self._left -= len(data)
        if self._left <= 0:
            self._answer()

    def _answer(self) -> None:
        self._left, self._chunked_tail = None, b""
        self._transport.write(_ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
