"""What the emulator's tests send: forms written byte by byte, and a client that adds nothing."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from chainhub_async.testing import Emulator

PATH = "/ideogram/v1/ideogram-v3/replace-background"
BOUNDARY = "----edge"

# Right by their first bytes, and not decodable: enough for everything but the result's picture.
PNG = b"\x89PNG\r\n\x1a\n" + b"not a real image"
JPEG = b"\xff\xd8\xff\xe0" + b"not a real image"
WEBP = b"RIFF\x10\x00\x00\x00WEBP" + b"not a real image"


@attrs.frozen
class Answer:
    """A reply, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The text of an error in the gateway's form."""
        text: str = self.json["error"]["message"]
        return text


def part(
    name: str,
    content: bytes | str,
    *,
    filename: str | None = None,
    content_type: str | None = None,
) -> bytes:
    """One part with its header, as a careful client writes it."""
    disposition = f'form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    head = f"Content-Disposition: {disposition}\r\n"
    if content_type is not None:
        head += f"Content-Type: {content_type}\r\n"
    data = content.encode() if isinstance(content, str) else content
    return head.encode() + b"\r\n" + data


def image_part(content: bytes = PNG, name: str = "image", kind: str = "png") -> bytes:
    """A file part."""
    return part(name, content, filename=f"image.{kind}", content_type=f"image/{kind}")


def form(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    """A whole body."""
    edge = b"--" + boundary.encode()
    return b"".join(edge + b"\r\n" + each + b"\r\n" for each in parts) + edge + b"--\r\n"


def headers(emulator: Emulator, **changes: str | None) -> dict[str, str]:
    """The header fields of a right request; a change to None leaves one out."""
    fields: dict[str, str | None] = {
        "Accept": "application/json",
        "Authorization": f"Bearer {emulator.api_key}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in fields.items() if value is not None}


def send(
    emulator: Emulator, method: str, path: str, body: bytes | None, fields: dict[str, str]
) -> Answer:
    """Send one request on a connection of its own."""
    url = urlsplit(emulator.base_url)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
    try:
        connection.request(method, path, body, fields)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def post(emulator: Emulator, *parts: bytes, body: bytes | None = None, **changes: Any) -> Answer:
    """Send the paid call: an image alone unless told otherwise."""
    whole = body if body is not None else form(*(parts or (image_part(),)))
    return send(emulator, "POST", PATH, whole, headers(emulator, **changes))


def get(emulator: Emulator, url: str, **fields: str) -> Answer:
    """Fetch a path, or a whole URL of the emulator's."""
    split = urlsplit(url)
    target = split.path + (f"?{split.query}" if split.query else "")
    return send(emulator, "GET", target, None, fields)


def head(fields: dict[str, str], *more: str) -> bytes:
    """The paid call's header, after which the connection is to be closed."""
    lines = [f"POST {PATH} HTTP/1.1", "Host: x", "Connection: close", *more]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def raw(emulator: Emulator, data: bytes, *, cut: bool = False) -> bytes:
    """Send bytes as they are and read all that is answered; `cut` ends the sending side."""
    url = urlsplit(emulator.base_url)
    address = (str(url.hostname), url.port or 0)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(data)
        if cut:
            connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        while piece := connection.recv(65536):
            received += piece
    return bytes(received)
