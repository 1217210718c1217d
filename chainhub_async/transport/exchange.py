"""One attempt: sends the request, reads the response, and reports what is known at the end."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import aiohttp
import anyio
import attrs

from chainhub_async import errors
from chainhub_async.config import Secret
from chainhub_async.errors import Attempt
from chainhub_async.transport import decode, evidence
from chainhub_async.transport.deadlines import Deadlines
from chainhub_async.transport.errorbody import ErrorBody
from chainhub_async.transport.evidence import Evidence, Failure, Verdict
from chainhub_async.transport.foreign import Problem
from chainhub_async.transport.hiding import as_utf8, hider
from chainhub_async.transport.messages import Request, Response
from chainhub_async.transport.multipart import Body
from chainhub_async.transport.unpack import Unpacker

REPLY_LIMIT = 1024 * 1024
"""The most bytes of a response body that are read, decompressed."""

# Seconds for reading the image's file to come to an end.
_STOPPING = 0.25


@attrs.frozen(kw_only=True)
class Way:
    """How to reach the gateway.

    Attributes:
        session: the session to use.
        url: the full URL.
        key: sent to this URL only.
        proxy: the proxy's URL, or None.
        ssl: what aiohttp takes as `ssl`.
        headers: the headers, without the key.
    """

    session: aiohttp.ClientSession = attrs.field(repr=False)
    url: str
    key: Secret
    proxy: str | None = attrs.field(repr=False)
    ssl: ssl.SSLContext | bool
    headers: Mapping[str, str] = attrs.field(repr=False)


class Exchange:
    """One attempt of a request.

    Attributes:
        deadlines: the attempt's deadlines.
        body: the attempt's body, or None.
    """

    def __init__(
        self,
        way: Way,
        request: Request,
        *,
        total_left: float | None,
        max_retry_after: float,
        on_progress: Callable[[Body], None],
        before_last: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._way = way
        self._request = request
        self._max_retry_after = max_retry_after
        self._on_progress = on_progress
        self.body: Body | None = Body.of(request, self._progressed, before_last)
        self.deadlines: Deadlines = Deadlines(
            request.timeout,
            total_left=total_left,
            upload=None if self.body is None else self.body.size,
        )
        self._problem: Problem | None = None
        self._status: int | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        self._content = bytearray()

    async def run(self) -> Response | Failure:
        """Sends the request once and returns the outcome; raises only when cancelled."""
        try:
            with self.deadlines.scope:
                try:
                    await self._send_and_read()
                except Exception as foreign:
                    self._problem = Problem.of(foreign, hider(self._way.key, always=True))
                    # In some places aiohttp turns a cancellation into an error of its own.
                    if self.deadlines.scope.cancel_called:
                        self._problem = Problem("deadline", self.deadlines.sentence)
                except BaseException as interruption:
                    # Reports of errors show the locals of frames, and those of aiohttp hold the
                    # key: a caller's time-out would carry them along.
                    interruption.__context__ = None
                    raise interruption.with_traceback(None) from None
        finally:
            self.deadlines.end()
            # In this order: what is still buffered must be gone before anything is awaited.
            if self.body is not None:
                self.body.stop()
                if not self.body.idle:
                    # Bounded, since a disk may hang too; stopped, the body sends nothing more.
                    with anyio.move_on_after(_STOPPING, shield=True):
                        await self.body.wait_finished()
                self.body.forget()
            del self._on_progress  # see Body.forget
        if self.deadlines.scope.cancelled_caught:
            self._problem = Problem("deadline", self.deadlines.sentence)
        return self._outcome()

    @property
    def evidence(self) -> Evidence:
        """How far the attempt got."""
        body, phase = self.body, self.deadlines.phase
        return Evidence(
            phase=phase,
            bytes_sent=0 if body is None else body.handed,
            bytes_total=0 if body is None else body.size,
            complete=phase != "connect" if body is None else body.complete,
            safe=self._request.safe,
        )

    def attempt(self, number: int, reason: str, billed: errors.Billed) -> Attempt:
        """Returns the attempt as it is recorded on exceptions."""
        seen = self.evidence
        return Attempt(
            number=number,
            phase=seen.phase,
            reason=reason,
            bytes_sent=seen.bytes_sent,
            bytes_total=seen.bytes_total,
            status=self._status,
            billed=billed,
        )

    def _progressed(self, body: Body) -> None:
        if self.deadlines.phase == "connect":
            self.deadlines.connected()  # a borrowed connector may not report it
        self.deadlines.progressed(complete=body.complete)
        self._on_progress(body)

    async def _send_and_read(self) -> None:
        way = self._way
        reply = await way.session.request(
            self._request.method,
            way.url,
            params=self._request.params or None,
            data=self.body,
            headers={**way.headers, "Authorization": f"Bearer {way.key.reveal()}"},
            allow_redirects=False,
            auto_decompress=False,
            raise_for_status=False,
            proxy=way.proxy,
            ssl=way.ssl,
            trace_request_ctx=self.deadlines,
        )
        whole = False
        try:
            self.deadlines.replying()
            self._status = reply.status
            self._headers = tuple(reply.headers.items())
            whole = await self._read(reply)
        finally:
            if whole and (self.body is None or self.body.complete):
                reply.release()
            else:
                reply.close()

    async def _read(self, reply: aiohttp.ClientResponse) -> bool:
        unpacker = Unpacker(reply.headers.get("content-encoding"))
        # Without a body nothing is recorded: such a call costs nothing, and ends with its deadline.
        if self.body is not None:
            self.body.recording.watch(reply.content)
        async for chunk in reply.content.iter_any():
            self._content += unpacker.feed(chunk, REPLY_LIMIT + 1 - len(self._content))
            if len(self._content) > REPLY_LIMIT:
                del self._content[REPLY_LIMIT:]
                self._problem = Problem("oversize", f"is larger than {REPLY_LIMIT:,} bytes")
                return False
        unpacker.end()
        return True

    def _outcome(self) -> Response | Failure:
        if self.body is not None and self.body.error is not None:
            return self._failure(self.body.error, Verdict(billed=errors.Billed.NO))
        if self._status is None:
            return self._no_reply()
        response = self._response()
        if not 200 <= self._status < 300:
            return self._refused(response)
        problem = self._problem
        if not self.evidence.complete:
            problem = Problem("early", "arrived before the whole request was sent")
        return response if problem is None else self._damaged(response, problem)

    def _response(self) -> Response:
        hide = hider(self._way.key, always=not 200 <= (self._status or 0) < 300)
        seen, headers, body = self.evidence, self._headers, as_utf8(bytes(self._content))
        # One look at all of it, since the key is hardly ever there.
        received = "\n".join((body.decode("latin-1"), *itertools.chain.from_iterable(headers)))
        if hide(received) != received:
            headers = tuple((hide(name), hide(value)) for name, value in headers)
            body = hide(body.decode("latin-1")).encode("latin-1")
        return Response(
            status=self._status or 0,
            headers=headers,
            body=body,
            received_at=datetime.now(timezone.utc),
            bytes_sent=seen.bytes_sent,
            upload_complete=seen.complete,
        )

    def _refused(self, response: Response) -> Failure:
        error = ErrorBody.of_bytes(response.body)
        verdict = evidence.judge_status(
            response.status,
            self.evidence,
            retry_after=decode.wait_asked_for(response) is not None,
            permanent=error.permanent or error.no_balance,
        )
        told = decode.api_error(response, verdict.billed, max_retry_after=self._max_retry_after)
        return Failure(error=told, verdict=verdict)

    def _damaged(self, response: Response, problem: Problem) -> Failure:
        verdict = evidence.judge_lost(self.evidence)
        if problem.kind == "oversize":
            # The gateway reported success at length; the work must not be done again.
            verdict = Verdict(billed=errors.Billed.NO if self._request.safe else errors.Billed.YES)
        facts: dict[str, Any] = {"status": response.status, "request_id": response.request_id}
        if problem.kind == "deadline":
            late = errors.DeadlineError(
                f"{problem.text}.",
                phase="reply",
                deadline=self.deadlines.passed,
                body=response.body,
                **facts,
            )
            return self._failure(late, verdict)
        whole = problem.kind in {"early", "oversize"}
        # Every byte, since more may follow the malformed place; compressed ones are of no use.
        raw = problem.kind == "malformed" and response.header("content-encoding") is None
        what = problem.text if whole else f"could not be read ({problem.text})"
        error = errors.InvalidReplyError(
            f"The gateway responded with {response.status}, but the response {what}.",
            body=self._unparsed() if raw else response.body,
            **facts,
        )
        return self._failure(error, verdict)

    def _no_reply(self) -> Failure:
        seen = self.evidence
        problem = self._problem or Problem("lost", "the connection ended")
        if problem.kind == "deadline":
            error: errors.TransportError = errors.DeadlineError(
                f"{problem.text}.{_hint(seen)}",
                phase=seen.phase,
                deadline=self.deadlines.passed,
                body=self._unparsed(),
            )
            return self._failure(error, evidence.judge_deadline(seen))
        if seen.phase == "connect" and not seen.complete:
            return self._failure(*problem.before_connected())
        if problem.kind == "malformed":
            error = errors.InvalidReplyError(
                f"The response is not valid HTTP ({problem.text}).{_hint(seen)}",
                body=self._unparsed(),
            )
        else:
            error = errors.ConnectionLostError(
                f"The connection was lost after {seen.bytes_sent:,} of {seen.bytes_total:,} bytes "
                f"({problem.text}).{_hint(seen)}",
                body=self._unparsed(),
            )
        return self._failure(error, evidence.judge_lost(seen))

    def _unparsed(self) -> bytes:
        received = b"" if self.body is None else bytes(self.body.recording.received)
        return hider(self._way.key, always=True)(received.decode("latin-1")).encode("latin-1")

    def _failure(self, error: errors.ChainHubError, verdict: Verdict) -> Failure:
        error.billed = verdict.billed
        error.bytes_sent = self.evidence.bytes_sent
        return Failure(error=error, verdict=verdict)


def _hint(seen: Evidence) -> str:
    if seen.safe or seen.phase == "connect":
        return ""
    if seen.complete:
        return " The whole request was sent, so it may have been executed and billed."
    return (
        " The request was not sent completely, so it was not executed; the gateway may have "
        "refused its size or key."
    )
