"""The gateway's replace-background API on localhost, for tests and experiments."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import attrs
from anyio import from_thread

from chainhub_async.testing.gateway import TASKS, Gateway
from chainhub_async.testing.server import LocalServer
from chainhub_async.testing.settings import EmulatorOptions, Settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from chainhub_async.testing.records import RequestRecord

__all__ = ["Emulator", "EmulatorOptions"]


@attrs.define(kw_only=True, eq=False)
class Emulator(Settings):
    """The replace-background API on localhost. It validates requests strictly and counts billing.

    It runs on the current event loop or in its own thread:

        async with Emulator() as emulator: ...
        with Emulator.in_thread() as emulator: ...

    Every option is also an attribute that may be set while it runs; a change applies to requests
    that arrive after it. `host` and `port` are read when it starts. Refused requests get an error
    in the gateway's own form and are not billed. A valid request is billed once it has arrived
    completely, before `latency` begins, even if the client no longer reads the response.

    Result images are the photo in front of another background if Pillow is installed and can
    decode the photo, and a flat PNG otherwise. Their URLs are signed. A wrong signature gets a 403,
    an expired URL a 410 (object storages differ; some send 403), and a result removed by `reset` a
    404, all with an XML body.

    Args:
        **options: See `Settings`.

    Raises:
        ValueError: An option's value is not among its choices.
    """

    _server: LocalServer | None = attrs.field(default=None, init=False, repr=False)
    _earlier_connections: int = attrs.field(default=0, init=False, repr=False)
    _gateway: Gateway = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # The gateway reads its settings from here, so that setting an attribute takes effect.
        self._gateway = Gateway(self)

    # --- lifetime -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Bind and listen, on the running event loop.

        Raises:
            RuntimeError: It is already running.
            OSError: The address cannot be bound.
        """
        if self._server is not None:
            raise RuntimeError(f"the emulator is already running at {self.base_url}")
        self._server = await LocalServer.start(self._gateway.handle, self.host, self.port)
        self._gateway.origin = self.base_url

    async def stop(self) -> None:
        """Close the socket and all connections. Records are kept. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            self._earlier_connections += server.connections
            with anyio.CancelScope(shield=True):
                await server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @classmethod
    @contextmanager
    def in_thread(cls, **options: Unpack[EmulatorOptions]) -> Generator[Emulator, None, None]:
        """Run an emulator on an event loop in its own thread, for blocking callers.

        Args:
            **options: As for the class.

        Yields:
            The running emulator.
        """
        with (
            from_thread.start_blocking_portal("asyncio") as portal,
            portal.wrap_async_context_manager(cls(**options)) as emulator,
        ):
            yield emulator

    # --- what a test inspects -------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Its URL, such as `http://127.0.0.1:49152`.

        Raises:
            RuntimeError: It is not running.
        """
        if self._server is None:
            raise RuntimeError("the emulator is not running; use `async with` or `in_thread`")
        return self._server.url

    @property
    def api_key(self) -> str:
        """The first key accepted."""
        return self.api_keys[0]

    @property
    def task_path(self) -> str:
        """The path to poll a task. It is specific to this emulator; the gateway documents none."""
        return TASKS + "{task_id}"

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted since the start or the last `reset`."""
        current = 0 if self._server is None else self._server.connections
        return self._earlier_connections + current

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request, in the order in which they arrived."""
        return tuple(self._gateway.requests)

    @property
    def billed(self) -> dict[str, int]:
        """How many images were billed, by the SHA-256 (hex) of the photograph."""
        return dict(self._gateway.billed)

    @property
    def billed_calls(self) -> dict[str, int]:
        """How many calls were billed, by the SHA-256 (hex) of the photograph."""
        return dict(self._gateway.billed_calls)

    @property
    def leaked_authorization(self) -> tuple[str, ...]:
        """The paths of results requested with an API key; should always be empty."""
        return tuple(self._gateway.leaks())

    def reset(self) -> None:
        """Remove all requests, billing, tasks and results. Options, including `balance`, stay."""
        self._gateway.forget()
        self._earlier_connections -= self.connections
