"""Responses a client should not trust, to uploads and downloads: one frozen value per fault."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs

from chainhub_async.testing.faults import Fault, Headers
from chainhub_async.testing.http_bytes import Reply, json_reply

if TYPE_CHECKING:
    from chainhub_async.testing.http_bytes import Exchange

_MIB = 1024 * 1024
_JSON: Headers = (("Content-Type", "application/json"),)
_HTML: Headers = (("Content-Type", "text/html; charset=utf-8"),)

# Responses that mean that a gateway did nothing: 4xx except 408, and redirects that request the
# same POST again.
_REFUSALS = frozenset(range(300, 500)) - {303, 304, 408}


@attrs.frozen
class StatusFault(Fault):
    """Respond with a status, which decides whether the call counts as executed.

    Not executed: 4xx other than 408, redirects other than 303 and 304, and 503 with
    ``Retry-After``.
    """

    status: int = 200
    headers: Headers = attrs.field(default=(), kw_only=True)

    def _refuses(self) -> bool:
        named = {name.lower() for name, _ in self.headers}
        overloaded = self.status == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" in named
        return overloaded or self.status in _REFUSALS

    def content(self, x: Exchange) -> Reply:  # noqa: ARG002 - subclasses use it
        """Return the reply to send, without the fault's own headers."""
        return Reply(self.status)

    async def act(self, x: Exchange) -> None:
        """Answer."""
        content = self.content(x)
        await x.reply(attrs.evolve(content, headers=(*content.headers, *self.headers)))


@attrs.frozen
class Answer(StatusFault):
    """Respond with these headers and this body; a given ``Content-Length`` is sent unchanged."""

    body: bytes = attrs.field(default=b"", kw_only=True)

    @classmethod
    def json(cls, value: object, *, status: int = 200, headers: Headers = ()) -> Answer:
        """Return a response with a JSON body."""
        return cls(status, headers=(*_JSON, *headers), body=json.dumps(value).encode())

    def content(self, x: Exchange) -> Reply:  # noqa: ARG002 - subclasses use it
        """Return what was scripted."""
        return Reply(self.status, body=self.body)


@attrs.frozen
class HtmlError(StatusFault):
    """The error page of a front proxy."""

    status: int = 502

    def content(self, x: Exchange) -> Reply:  # noqa: ARG002 - subclasses use it
        """Return a page."""
        page = f"<html><head><title>{self.status}</title></head><body>cloudy</body></html>"
        return Reply(self.status, headers=_HTML, body=page.encode())


@attrs.frozen
class EmptyError(StatusFault):
    """A status with an empty body."""

    status: int = 503


@attrs.frozen
class Expired(StatusFault):
    """The response of a storage host to an expired URL (403) or a deleted object (410)."""

    status: int = 403

    def content(self, x: Exchange) -> Reply:  # noqa: ARG002 - subclasses use it
        """Return the XML of a storage host."""
        body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
        return Reply(self.status, headers=(("Content-Type", "application/xml"),), body=body)


@attrs.frozen
class EchoKey(StatusFault):
    """An error that sends the caller's ``Authorization`` back, in a header and in the message."""

    status: int = 401

    def content(self, x: Exchange) -> Reply:
        """Return an error that contains the key."""
        key = x.received.header("Authorization") or ""
        reply = json_reply(
            {"error": {"message": f"bad key: {key}", "code": key}}, status=self.status
        )
        return attrs.evolve(reply, headers=(*reply.headers, ("X-Request-Id", key)))


@attrs.frozen
class TooManyRequests(Fault):
    """429, with ``Retry-After`` as given: seconds, any text, or several headers from a tuple."""

    retry_after: int | str | tuple[str, ...] | None = None

    def _refuses(self) -> bool:
        return True

    async def act(self, x: Exchange) -> None:
        """Refuse."""
        given = self.retry_after
        values = given if isinstance(given, tuple) else () if given is None else (str(given),)
        headers = (*_JSON, *(("Retry-After", value) for value in values))
        await x.reply(Reply(429, headers=headers, body=b'{"error": "slow down"}'))


@attrs.frozen
class Redirect(StatusFault):
    """Redirect to ``location``; None means the request's own URL, a loop."""

    status: int = 307
    location: str | None = None

    def content(self, x: Exchange) -> Reply:
        """Return the redirect."""
        return Reply(self.status, headers=(("Location", self.location or x.received.path),))


@attrs.frozen
class RedirectResult(Fault):
    """Redirect a download ``times`` times here, the last time to ``location`` (None: the image)."""

    location: str | None = None
    times: int = 1
    status: int = attrs.field(default=302, kw_only=True)

    @classmethod
    def underway(cls, path: str) -> RedirectResult | None:
        """Return what is left of the redirects, if ``path`` is a step of them."""
        query = parse_qs(urlsplit(path).query)
        if "hops" not in query:
            return None
        status, to = int(query["status"][0]), query.get("to", [None])[0]
        return cls(to, int(query["hops"][0]), status=status)

    async def act(self, x: Exchange) -> None:
        """Redirect one step; the URL carries the rest, so all use one entry of a script."""
        target = urlsplit(x.received.path).path
        if self.times > 1:
            left = {"hops": self.times - 1, "status": self.status, "to": self.location or ""}
            target += f"?{urlencode(left)}"
        elif self.location:
            target = self.location
        await x.reply(Reply(self.status, headers=(("Location", target),)))


@attrs.frozen
class ErrorEnvelope(Fault):
    """HTTP 200 whose body reports that the call failed."""

    code: int | str = 1101
    message: str = "Account in arrears"

    def _refuses(self) -> bool:
        return True

    async def act(self, x: Exchange) -> None:
        """Answer."""
        envelope = {"code": self.code, "message": self.message, "request_id": "r-1", "data": None}
        await x.reply(json_reply(envelope))


@attrs.frozen
class WrongType(Fault):
    """200 with an HTML page labelled ``media_type``; None means the good response's type."""

    media_type: str | None = "text/html"

    async def act(self, x: Exchange) -> None:
        """Answer."""
        headers = (
            x.good().headers if self.media_type is None else (("Content-Type", self.media_type),)
        )
        await x.reply(Reply(headers=headers, body=b"<html><body>Sign in to continue</body></html>"))


@attrs.frozen
class EmptyAnswer(Fault):
    """200 with the good response's type and no body."""

    async def act(self, x: Exchange) -> None:
        """Answer."""
        await x.reply(attrs.evolve(x.good(), body=b""))


@attrs.frozen
class Oversized(Fault):
    """A good response padded with zeros to ``size`` bytes; ``declared`` sends its length."""

    size: int = 65 * _MIB
    declared: bool = attrs.field(default=True, kw_only=True)

    async def act(self, x: Exchange) -> None:
        """Send until done, or until the client leaves."""
        good = x.good()
        length = [("Content-Length", str(self.size))] if self.declared else []
        await x.wire.send(good.head(*length, length=False) + good.body)
        for sent in range(len(good.body), self.size, _MIB):
            await x.wire.send(bytes(min(_MIB, self.size - sent)))
        await x.end()


@attrs.frozen
class WithoutLength(Fault):
    """A good response delimited only by the close; ``cut_at`` truncates it undetectably."""

    cut_at: int | None = None

    async def act(self, x: Exchange) -> None:
        """Answer and close."""
        good = x.good()
        await x.wire.send(
            good.head(("Connection", "close"), length=False) + good.body[: self.cut_at]
        )
        await x.end()


@attrs.frozen
class Stall(Fault):
    """Send a good response's head and ``at`` bytes of its body, then wait for the client to go."""

    at: int = 10

    async def act(self, x: Exchange) -> None:
        """Send a piece and wait."""
        good = x.good()
        x.keep_alive = False
        await x.wire.send(good.head() + good.body[: self.at])
        await x.wire.wait_gone()


@attrs.frozen
class HostileDisposition(Fault):
    """A good response whose ``Content-Disposition`` names a path outside the directory."""

    filename: str = "../../chainhub-was-here.png"

    async def act(self, x: Exchange) -> None:
        """Answer."""
        good = x.good()
        disposition = ("Content-Disposition", f'attachment; filename="{self.filename}"')
        await x.reply(attrs.evolve(good, headers=(*good.headers, disposition)))
