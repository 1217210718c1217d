"""The multipart parsers of common frameworks, each giving the parts in one form."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from email import policy
from email.parser import BytesParser
from functools import cache
from importlib import import_module
from typing import Any

import attrs
from python_multipart.multipart import MultipartParser
from tornado.httputil import parse_body_arguments
from werkzeug.formparser import FormDataParser


@attrs.frozen
class Seen:
    """One part as a parser saw it; None where the parser does not say."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str | None = None


def _must(*, hold: object, said: object = "") -> None:
    # Not `assert`: this must also hold with `python -O`.
    if not hold:
        raise ValueError(f"not by the letter: {said}")


def strict(boundary: str, body: bytes) -> list[Seen]:
    """By the letter of RFC 7578 and RFC 2046, with not one byte left over."""
    edge = b"--" + boundary.encode()
    _must(hold=body.startswith(edge + b"\r\n"), said="the start")
    _must(hold=body.endswith(b"\r\n" + edge + b"--\r\n"), said="the end")
    inner = body[len(edge) + 2 : -len(edge) - 6]
    found: list[Seen] = []
    for piece in inner.split(b"\r\n" + edge + b"\r\n"):
        _must(hold=edge not in piece, said="a boundary out of place")
        head, content = piece.split(b"\r\n\r\n", 1)
        line = re.fullmatch(
            rb'Content-Disposition: form-data; name="([\w.\[\]-]+)"(?:; filename="([\w.-]+)")?'
            rb"(?:\r\nContent-Type: ([a-z]+/[a-z]+))?",
            head,
        )
        _must(hold=line, said=head)
        groups = line.groups() if line else ()
        name, filename, kind = (None if text is None else text.decode() for text in groups)
        found.append(Seen(str(name), content, filename, kind))
    return found


def _bytes(payload: Any) -> bytes:
    _must(hold=isinstance(payload, bytes), said=type(payload))
    return bytes(payload)


def email(boundary: str, body: bytes) -> list[Seen]:
    """The standard library's parser of messages."""
    head = f"Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n".encode()
    message = BytesParser(policy=policy.HTTP).parsebytes(head + body)
    _must(hold=not message.defects, said=message.defects)
    return [
        Seen(
            str(part.get_param("name", header="content-disposition")),
            _bytes(part.get_payload(decode=True)),
            part.get_filename(),
            part.get_content_type() if "content-type" in part else None,
        )
        for part in message.iter_parts()
    ]


def python_multipart(boundary: str, body: bytes) -> list[Seen]:
    """Starlette's and FastAPI's, in small steps."""
    found: list[Seen] = []
    headers: dict[str, str] = {}
    content, field, value = bytearray(), bytearray(), bytearray()
    ended: list[bool] = []

    def begin() -> None:
        headers.clear()
        content.clear()

    def header_end() -> None:
        headers[field.decode().lower()] = value.decode()
        field.clear()
        value.clear()

    def end() -> None:
        options = dict(re.findall(r'(\w+)="([^"]*)"', headers["content-disposition"]))
        found.append(
            Seen(
                options["name"],
                bytes(content),
                options.get("filename"),
                headers.get("content-type"),
            )
        )

    def adds(to: bytearray) -> Callable[[bytes, int, int], None]:
        return lambda data, start, stop: to.extend(data[start:stop])

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_part_data": adds(content),
            "on_part_end": end,
            "on_header_field": adds(field),
            "on_header_value": adds(value),
            "on_header_end": header_end,
            "on_end": lambda: ended.append(True),
        },
    )
    for at in range(0, len(body), 97):
        parser.write(body[at : at + 97])
    parser.finalize()
    _must(hold=ended == [True], said="no end")
    return found


def werkzeug(boundary: str, body: bytes) -> list[Seen]:
    """Flask's."""
    _, form, files = FormDataParser(silent=False).parse(
        io.BytesIO(body), "multipart/form-data", len(body), {"boundary": boundary}
    )
    fields = [Seen(name, value.encode()) for name, value in form.items(multi=True)]
    for name, file in files.items(multi=True):
        fields.append(Seen(name, file.read(), file.filename, file.content_type))
        file.close()
    return fields


@cache
def _django() -> tuple[Any, Any]:
    # By name: Django has no types.
    settings = import_module("django.conf").settings
    settings.configure(DATA_UPLOAD_MAX_MEMORY_SIZE=None, DATA_UPLOAD_MAX_NUMBER_FIELDS=None)
    import_module("django").setup()
    parser: Any = import_module("django.http.multipartparser").MultiPartParser
    handler: Any = import_module("django.core.files.uploadhandler").MemoryFileUploadHandler
    return parser, handler


def django_parts(boundary: str, body: bytes) -> list[Seen]:
    """Django's."""
    parser, handler = _django()
    meta = {
        "CONTENT_TYPE": f"multipart/form-data; boundary={boundary}",
        "CONTENT_LENGTH": str(len(body)),
    }
    form, files = parser(meta, io.BytesIO(body), [handler()], "utf-8").parse()
    fields = [Seen(name, value.encode()) for name, values in form.lists() for value in values]
    return fields + [
        Seen(name, file.read(), file.name, file.content_type)
        for name, values in files.lists()
        for file in values
    ]


def tornado(boundary: str, body: bytes) -> list[Seen]:
    """Tornado's."""
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[Any]] = {}
    parse_body_arguments(f"multipart/form-data; boundary={boundary}", body, arguments, files)
    fields = [Seen(name, value) for name, values in arguments.items() for value in values]
    return fields + [
        Seen(name, file["body"], file["filename"], file["content_type"])
        for name, values in files.items()
        for file in values
    ]


PARSERS: dict[str, Callable[[str, bytes], list[Seen]]] = {
    "strict": strict,
    "email": email,
    "python-multipart": python_multipart,
    "werkzeug": werkzeug,
    "django": django_parts,
    "tornado": tornado,
}


def alike(seen: list[Seen], *, whole: bool) -> list[tuple[Any, ...]]:
    """What can be compared: frameworks lose the order across names, and types of text fields."""
    if whole:
        return [attrs.astuple(part) for part in seen]
    return sorted(
        (
            part.name,
            part.content,
            part.filename or "",
            (part.content_type or "") * bool(part.filename),
        )
        for part in seen
    )
