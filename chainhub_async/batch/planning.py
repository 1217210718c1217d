"""A dry run: what would be done with each input. Nothing is sent or written."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterable, AsyncIterator, Sequence

import anyio.to_thread

from chainhub_async.batch import schema
from chainhub_async.batch.identity import Reader
from chainhub_async.batch.intake import (
    CallLimits,
    Clerk,
    as_input,
    examine,
    known_files,
    ready,
)
from chainhub_async.batch.item import Decision, Input, Item, Refused
from chainhub_async.batch.jobs import PlanAction, PlannedJob, Requests
from chainhub_async.batch.outcomes import why_held
from chainhub_async.batch.settings import BatchSettings
from chainhub_async.models import ReplaceBackground

_CHUNK = 64


async def plan(
    requests: Requests, settings: BatchSettings, limits: CallLimits
) -> AsyncIterator[PlannedJob]:
    """Yields the plan of each input, in order; see `AsyncBatch.plan`."""
    planner = _Planner(settings, limits)
    try:
        await anyio.to_thread.run_sync(planner.open)
        chunk: list[Input | Refused] = []
        index = 0
        async for request in _each(requests):
            chunk.append(await ready(as_input(index, request)))
            index += 1
            if len(chunk) == _CHUNK:
                for planned in await anyio.to_thread.run_sync(planner.look, chunk):
                    yield planned
                chunk = []
        for planned in await anyio.to_thread.run_sync(planner.look, chunk):
            yield planned
    finally:
        planner.close()


class _Planner:
    """Looks inputs up. Its methods block."""

    def __init__(self, settings: BatchSettings, limits: CallLimits) -> None:
        self._settings = settings
        self._limits = limits
        self._connection: sqlite3.Connection | None = None
        self._seen: set[bytes] = set()

    def open(self) -> None:
        """Opens the ledger, if there is one."""
        path = self._settings.ledger
        if path is None or not path.exists():
            self._connection = schema.open_for_nobody_else()
            return
        with schema.reading(path):
            self._connection = schema.open_for_reading(path)

    def close(self) -> None:
        """Closes it."""
        if self._connection is not None:
            self._connection.close()

    def look(self, chunk: Sequence[Input | Refused]) -> list[PlannedJob]:
        """Returns the plans of some inputs."""
        connection = self._connection
        assert connection is not None  # noqa: S101 - `open` came first
        with schema.reading(self._settings.ledger):
            return self._look(connection, chunk)

    def _look(
        self, connection: sqlite3.Connection, chunk: Sequence[Input | Refused]
    ) -> list[PlannedJob]:
        inputs = [one for one in chunk if isinstance(one, Input)]
        reader = Reader(known_files(connection, inputs), self._settings.ledger)
        found: dict[int, Item | Refused] = {
            one.input.index: one for one in chunk if isinstance(one, Refused)
        }
        while inputs:
            examined = examine(inputs, reader, self._limits)
            found |= {one.input.index: one for one in examined}
            inputs = inputs[len(examined) :]
        clerk = Clerk(settings=self._settings, run=0)
        plans: list[PlannedJob] = []
        for index in sorted(found):
            one = found[index]
            plans.append(
                _refused(one)
                if isinstance(one, Refused)
                else self._planned(clerk.decide(connection, one))
            )
        return plans

    def _planned(self, decision: Decision) -> PlannedJob:
        item, action, key = decision.item, decision.action, bytes.fromhex(decision.item.key)
        if key in self._seen and action in {PlanAction.SEND, PlanAction.DOWNLOAD}:
            action = PlanAction.DUPLICATE
        self._seen.add(key)
        held = action in {PlanAction.HOLD, PlanAction.REFUSE}
        return PlannedJob(
            request=item.input.request,
            index=item.input.index,
            key=item.key,
            action=action,
            images=item.http.images if action is PlanAction.SEND else 0,
            billed=decision.job.billed,
            error=(decision.job.error or why_held(decision)) if held else None,
        )


def _refused(one: Refused) -> PlannedJob:
    return PlannedJob(
        request=one.input.request,
        index=one.input.index,
        action=PlanAction.REFUSE,
        error=one.error,
    )


async def _each(requests: Requests) -> AsyncIterator[ReplaceBackground]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request
