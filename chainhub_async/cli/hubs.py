"""The client that a command uses: of the gateway, or of an emulator that it starts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

from chainhub_async.cli import output
from chainhub_async.client import AsyncChainHub


@asynccontextmanager
async def hub_for(
    *, emulated: bool, base_url: str | None, task_path: str | None, **settings: Any
) -> AsyncGenerator[tuple[AsyncChainHub, str | None], None]:
    """Yields a client, and the path at which it polls tasks; closes it in the end.

    Args:
        emulated: use an emulator instead of the gateway.
        base_url: the gateway's URL, or None for the environment's.
        task_path: as the user gave it; an emulator has its own.
        settings: of the client.

    Raises:
        ConfigurationError: the client cannot be created; nothing was sent.
    """
    if not emulated:
        async with AsyncChainHub(base_url=base_url, **settings) as hub:
            yield hub, task_path
        return
    from chainhub_async.testing import Emulator

    async with Emulator() as emulator:
        output.stderr().line(
            f"Emulator at {emulator.base_url}: results are made on this machine, not by the "
            "gateway; nothing is billed."
        )
        if find_spec("PIL") is None:
            output.stderr().line(
                'They are plain colours; pip install "chainhub-async[emulator]" makes them '
                "composites of the photo."
            )
        place, key = emulator.base_url, emulator.api_key
        async with AsyncChainHub(key, base_url=place, proxy="", **settings) as hub:
            yield hub, task_path or emulator.task_path
