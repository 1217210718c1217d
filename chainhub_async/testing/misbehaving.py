"""``MisbehavingServer``: a gateway on localhost that misbehaves, and counts what it received."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING

import attrs
from anyio.from_thread import start_blocking_portal

from chainhub_async.testing.bad_answers import Answer, RedirectResult
from chainhub_async.testing.fault_script import Script
from chainhub_async.testing.faults import AnswerWell, Fault
from chainhub_async.testing.http_bytes import (
    READ_SIZE,
    BadRequestError,
    Exchange,
    Received,
    Wire,
    read_head,
    result_png,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator
    from types import TracebackType

# Small, so that a server that stops reading is felt soon; less than this slows loopback, whose
# packets hold 64 KiB.
_RECEIVE_BUFFER = 262_144
_FOREIGN_IMAGE = Answer(headers=(("Content-Type", "image/png"),), body=result_png("foreign"))


@attrs.define(eq=False)
class _Origin:
    """One listening address, which keeps its port while it refuses connections."""

    loop: asyncio.AbstractEventLoop
    on_connection: Callable[[socket.socket, _Origin], None]
    host: str
    ssl_context: ssl.SSLContext | None
    foreign: bool
    url: str = attrs.field(init=False)
    closed: bool = attrs.field(default=False, init=False)
    _holder: socket.socket = attrs.field(init=False)
    _listener: socket.socket | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Reserve a port and listen on it."""
        # Bound and never listening: refuses connections by itself, and nobody else gets the port
        # meanwhile.
        self._holder = self._bound(0)
        scheme = "http" if self.ssl_context is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{scheme}://{host}:{self._holder.getsockname()[1]}"
        self.listen()

    def listen(self) -> None:
        self._listener = self._bound(self._holder.getsockname()[1])
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._listener.listen(1024)
        self.loop.add_reader(self._listener, self._accept, self._listener)

    def refuse(self) -> None:
        if self._listener:
            self.loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        self.closed = True
        self.refuse()
        self._holder.close()

    def _bound(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        share = getattr(socket, "SO_REUSEPORT", socket.SO_REUSEADDR)
        sock.setsockopt(socket.SOL_SOCKET, share, 1)
        sock.bind((self.host, port))
        return sock

    def _accept(self, listener: socket.socket) -> None:
        # The client may have left the queue again by now.
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sock, _ = listener.accept()
            sock.setblocking(False)
            self.on_connection(sock, self)


def _loopback(_: object, __: object, host: str) -> None:
    if not ipaddress.ip_address(host).is_loopback:
        msg = f"host {host!r} is not a loopback address: this server is for tests on one machine"
        raise ValueError(msg)


@attrs.define(kw_only=True, eq=False)
class MisbehavingServer:
    """A gateway on localhost that handles requests as scripted by a test, and well by default.

    ``async with MisbehavingServer() as server`` runs it on the caller's event loop (an asyncio
    selector loop, not Windows' proactor), ``with MisbehavingServer.in_thread() as server`` in its
    own thread. Leaving the block ends every connection at once, even if its client hangs.

    A POST gets the first of: the next of `script`; the next of `for_image`, or else `always`, for
    its image; `always`. ``gets`` has the same three methods for GET requests, which are downloads
    of results.

    Attributes:
        host: The loopback address to listen on.
        ssl_context: A server-side context makes `base_url` an https one.
        other_ssl_context: The same for `other_origin`.
        cap: Seconds after which a request, or an idle connection, is ended in any case.
        posts: The script of POST requests.
        gets: The script of all other requests.
        received: Every request to `base_url`, in the order their headers arrived.
        other_received: Every request to `other_origin`.
        complete: How often the whole body of an image was received, by SHA-256 of the image in hex.
        billed: How often a real gateway would have charged for it: complete, and the fault
            ``executes``. Requests without an ``image`` part count under the empty string.
        connections: How many connections `base_url` accepted.
    """

    host: str = attrs.field(default="127.0.0.1", validator=_loopback)
    ssl_context: ssl.SSLContext | None = None
    other_ssl_context: ssl.SSLContext | None = None
    cap: float = 60.0
    posts: Script = attrs.field(factory=Script, init=False)
    gets: Script = attrs.field(factory=Script, init=False)
    received: list[Received] = attrs.field(factory=list[Received], init=False)
    other_received: list[Received] = attrs.field(factory=list[Received], init=False)
    complete: Counter[str] = attrs.field(factory=Counter[str], init=False)
    billed: Counter[str] = attrs.field(factory=Counter[str], init=False)
    connections: int = attrs.field(default=0, init=False)
    _origin: _Origin = attrs.field(init=False, repr=False)
    _other: _Origin = attrs.field(init=False, repr=False)
    _thread: int = attrs.field(init=False, repr=False)
    _tasks: set[asyncio.Task[None]] = attrs.field(
        factory=set["asyncio.Task[None]"], init=False, repr=False
    )
    _failures: list[BaseException] = attrs.field(
        factory=list[BaseException], init=False, repr=False
    )

    @classmethod
    @contextlib.contextmanager
    def in_thread(
        cls,
        *,
        host: str = "127.0.0.1",
        ssl_context: ssl.SSLContext | None = None,
        other_ssl_context: ssl.SSLContext | None = None,
        cap: float = 60.0,
    ) -> Generator[MisbehavingServer]:
        """Run a server on an event loop in its own thread."""
        server = cls(
            host=host, ssl_context=ssl_context, other_ssl_context=other_ssl_context, cap=cap
        )
        options = {"loop_factory": asyncio.SelectorEventLoop}
        with start_blocking_portal("asyncio", options) as portal:  # noqa: SIM117 - needs the first
            with portal.wrap_async_context_manager(server):
                yield server

    @property
    def base_url(self) -> str:
        """Its URL, without a trailing slash."""
        return self._origin.url

    @property
    def other_origin(self) -> str:
        """Another origin on the same host: responds well and records its requests."""
        return self._other.url

    def script(self, *faults: Fault) -> None:
        """Apply these faults to the next POSTs, one each; see `Script.script`."""
        self.posts.script(*faults)

    def for_image(self, image: str | bytes, *faults: Fault) -> None:
        """Apply these faults to the next POSTs of this image; see `Script.for_image`."""
        self.posts.for_image(image, *faults)

    def always(self, fault: Fault, *, image: str | bytes | None = None) -> None:
        """Apply this fault to every other POST; see `Script.always`."""
        self.posts.always(fault, image=image)

    @contextlib.contextmanager
    def refuse(self) -> Generator[None]:
        """Refuse new connections inside the block; open ones stay open. Thread-safe."""
        self._on_loop(self._origin.refuse)
        try:
            yield
        finally:
            if not self._origin.closed:
                self._on_loop(self._origin.listen)

    def _on_loop(self, call: Callable[[], None]) -> None:
        if threading.get_ident() == self._thread:
            call()
            return

        async def there() -> None:
            call()

        asyncio.run_coroutine_threadsafe(there(), self._origin.loop).result()

    async def __aenter__(self) -> MisbehavingServer:  # noqa: PYI034 - no Self before 3.11
        """Start listening."""
        loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._origin = _Origin(loop, self._welcome, self.host, self.ssl_context, foreign=False)
        self._other = _Origin(loop, self._welcome, self.host, self.other_ssl_context, foreign=True)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything; raises any exception from a custom fault."""
        self._origin.close()
        self._other.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Aborted transports close their sockets a turn of the loop later, those under TLS two.
        for _ in range(3):
            await asyncio.sleep(0)
        if self._failures and exc is None:
            raise self._failures[0]

    def _welcome(self, sock: socket.socket, origin: _Origin) -> None:
        self.connections += not origin.foreign
        task = origin.loop.create_task(self._serve(sock, origin, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        # How clients end a connection does not matter here.
        expected = (OSError, asyncio.TimeoutError, asyncio.LimitOverrunError, BadRequestError)
        if error and not isinstance(error, expected):
            self._failures.append(error)

    async def _serve(self, sock: socket.socket, origin: _Origin, number: int) -> None:
        fault = None if origin.foreign else self.posts.pick_for_connection()
        wire = await self._wire(sock, origin.ssl_context if fault is None else None)
        try:
            if fault:
                await asyncio.wait_for(fault.greet(wire), self.cap)
            else:
                await self._requests(wire, origin, number)
            wire.writer.close()
            await asyncio.wait_for(wire.writer.wait_closed(), self.cap)
        finally:
            wire.writer.transport.abort()

    async def _wire(self, sock: socket.socket, context: ssl.SSLContext | None) -> Wire:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(READ_SIZE, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        handshake = {} if context is None else {"ssl_handshake_timeout": self.cap}
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, sock, ssl=context, **handshake
        )
        return Wire(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def _requests(self, wire: Wire, origin: _Origin, number: int) -> None:
        while await asyncio.wait_for(self._request(wire, origin, number), self.cap):
            pass

    async def _request(self, wire: Wire, origin: _Origin, number: int) -> bool:
        """Receive and handle one request; return whether the connection stays open."""
        received = await read_head(wire.reader, number)
        if received is None:
            return False
        (self.other_received if origin.foreign else self.received).append(received)
        script = self._script(received, origin)
        received.fault = RedirectResult.underway(received.path) or script.pick_for_request()
        completed = functools.partial(self._completed, script, origin)
        x = Exchange(wire=wire, received=received, base_url=origin.url, on_complete=completed)
        try:
            if not (received.fault and received.fault.early):
                await x.read_body()
            await (received.fault or AnswerWell()).act(x)
        finally:
            x.identify()
        return x.keep_alive and received.body_complete

    def _script(self, received: Received, origin: _Origin) -> Script:
        if not origin.foreign:
            return self.posts if received.method == "POST" else self.gets
        script = Script()
        if received.method != "POST":
            script.always(_FOREIGN_IMAGE)
        return script

    def _completed(self, script: Script, origin: _Origin, x: Exchange) -> None:
        """Choose the fault if it depends on the image, and count."""
        received = x.received
        fault = received.fault = received.fault or script.pick_for_image(received.image)
        if received.method == "POST" and not origin.foreign:
            self.complete[received.image or ""] += 1
            self.billed[received.image or ""] += fault.executes
            received.billed = fault.executes
