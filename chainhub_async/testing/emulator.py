"""The gateway's replace-background API on localhost, for tests and for trying things out."""

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
    """The replace-background API on localhost: strict about requests, honest about what it bills.

    Runs on the current event loop or on a thread of its own:

        async with Emulator() as emulator: ...
        with Emulator.in_thread() as emulator: ...

    Every option is also an attribute that may be set while it runs; a change holds for the
    requests that arrive after it. `host` and `port` are read when it starts. Whatever is refused
    is answered in the gateway's own form and billed nothing; whatever is billed is billed when the
    whole request has arrived and was found valid, before `latency` begins, whether or not the
    client is still there to read the reply.

    Result images are the photograph before another background, if Pillow is installed and can
    decode it, and a flat PNG otherwise. Their URLs are signed. A wrong signature is answered
    with 403, a URL whose time is over with 410 (object storages differ; some say 403), a result
    forgotten by `reset` with 404, all with a body of XML.

    Args:
        **options: See `Settings`, which lists them.

    Raises:
        ValueError: An option has a value that is not among its choices.
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
            RuntimeError: It runs already.
            OSError: The address cannot be bound.
        """
        if self._server is not None:
            raise RuntimeError(f"the emulator already runs at {self.base_url}")
        self._server = await LocalServer.start(self._gateway.handle, self.host, self.port)
        self._gateway.origin = self.base_url

    async def stop(self) -> None:
        """Close the socket and every connection. What was recorded stays; may be called twice."""
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
        """Run an emulator on an event loop in a thread of its own, for blocking callers.

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

    # --- what a test looks at -----------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:49152`.

        Raises:
            RuntimeError: It does not run.
        """
        if self._server is None:
            raise RuntimeError("the emulator does not run; use `async with` or `in_thread`")
        return self._server.url

    @property
    def api_key(self) -> str:
        """The first key accepted."""
        return self.api_keys[0]

    @property
    def task_path(self) -> str:
        """Where a task is asked about. Only this emulator has the path; no page documents one."""
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
        """The paths of results that were requested with the key; there must be none."""
        return tuple(self._gateway.leaks())

    def reset(self) -> None:
        """Forget every request, bill, task and result. Options stay, `balance` as it is by now."""
        self._gateway.forget()
        self._earlier_connections -= self.connections
