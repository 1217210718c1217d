"""One pass over a batch's inputs: reads ahead a little, and hands out what becomes of each."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup

from chainhub_async.batch.engine import Engine
from chainhub_async.batch.identity import Reader
from chainhub_async.batch.intake import (
    CallLimits,
    as_input,
    examine,
    known_files,
    ready,
)
from chainhub_async.batch.item import Decision, Input, Refused
from chainhub_async.batch.jobs import Outcome, Requests
from chainhub_async.batch.outcomes import at_once, unexpected
from chainhub_async.errors import (
    BatchStoppedError,
    Billed,
    ChainHubError,
    SpendLimitError,
)
from chainhub_async.images import IMAGE_LIMIT, ImageSource
from chainhub_async.models import ReplaceBackground
from chainhub_async.transport.http import Transport

_log = logging.getLogger("chainhub_async")

# Inputs read and not yet handed out: enough that no call has to wait for its input.
_LEAST_AHEAD = 32
_AHEAD_WITHOUT_LIMIT = 256
# Of images in memory, so many more than are in flight may be waiting.
_LARGE_AHEAD = 4


class Run(AsyncIterator[Outcome]):
    """The outcomes of a batch's inputs, each as soon as it is known.

    Args:
        engine: does the work.
        group: where its tasks are started.
        ordered: whether outcomes are handed out in the order of the inputs.
    """

    def __init__(self, engine: Engine, group: TaskGroup, *, ordered: bool) -> None:
        self._engine = engine
        self._group = group
        self._ordered = ordered
        in_flight = engine.transport.pool.limits.in_flight
        self._ahead = (
            _AHEAD_WITHOUT_LIMIT if in_flight is None else max(_LEAST_AHEAD, 2 * in_flight)
        )
        self._most_held = IMAGE_LIMIT * (_LARGE_AHEAD + (in_flight or _AHEAD_WITHOUT_LIMIT))
        self._indexes = itertools.count()
        self._inputs: deque[Input] = deque()
        self._held: dict[int, int] = {}
        self._ready: dict[int, Outcome] = {}
        self._next = 0
        self._undelivered = 0
        self._ended = False
        self._problem: Exception | None = None
        self._changed = anyio.Event()
        self._scope = anyio.CancelScope(shield=True)
        self._reading: anyio.CancelScope | None = None

    def start(self, requests: Requests | None) -> None:
        """Starts working; None if inputs are going to be fed."""
        self._group.start_soon(self._take_in)
        if requests is not None:
            self._group.start_soon(self._read, requests)

    def stop(self) -> None:
        """Reads no further inputs."""
        self.end_of_input()
        self._scope.cancel()
        self.stop_waiting()

    def stop_waiting(self) -> None:
        """Does not wait any longer for an input that is a file object."""
        if self._reading is not None:
            self._reading.cancel()

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> Outcome:
        while (outcome := self._take()) is None:
            if self.is_over:
                raise self._end()
            await self._changed.wait()
        return outcome

    # --- for callers that hand in the inputs themselves -------------------------------------------

    @property
    def wanted(self) -> int:
        """How many more inputs may be fed now."""
        if self._ended or sum(self._held.values()) > self._most_held:
            return 0
        return max(0, self._ahead - self._undelivered)

    @property
    def is_over(self) -> bool:
        """Whether every input was fed and its outcome handed out."""
        return self._ended and not self._undelivered

    def feed(self, requests: Iterable[Any]) -> None:
        """Takes inputs, not more than are wanted."""
        for request in requests:
            if self._ended:
                return
            given = as_input(next(self._indexes), request)
            self._held[given.index] = _size(request)
            self._inputs.append(given)
            self._undelivered += 1
        self._notify()

    def end_of_input(self, problem: Exception | None = None) -> None:
        """No more inputs come; `problem` is raised when all outcomes are handed out."""
        self._ended, self._problem = True, self._problem or problem
        self._notify()

    async def turn(self, requests: Sequence[Any], *, ended: bool) -> tuple[Outcome | None, int]:
        """Takes inputs, and waits until there is an outcome, or more inputs are wanted."""
        self.feed(requests)
        if ended:
            self.end_of_input()
        while (outcome := self._take()) is None and not self.wanted and not self.is_over:
            await self._changed.wait()
        return outcome, self.wanted

    # --- inside -----------------------------------------------------------------------------------

    async def _read(self, requests: Requests) -> None:
        problem: Exception | None = None
        with self._scope:
            try:
                await self._read_on(requests)
            except Exception as found:
                problem = found
            except anyio.get_cancelled_exc_class():
                if self._scope.cancel_called:
                    raise
                # Not from here: what the iterable awaited was cancelled.
                problem = BatchStoppedError("The iterable of requests was cancelled.")
        self.end_of_input(problem)
        await self._close(requests)

    async def _read_on(self, requests: Requests) -> None:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                await self._feed_one(request)
        else:
            for request in requests:
                await self._feed_one(request)

    async def _close(self, requests: Requests) -> None:
        """Closes a generator that was not read to its end; that may fail, or take its time."""
        if not isinstance(requests, AsyncGenerator):
            return
        with anyio.move_on_after(self._engine.settings.grace, shield=True):
            try:
                await requests.aclose()
            except Exception:
                _log.warning("the iterable of requests failed when it was closed", exc_info=True)

    async def _feed_one(self, request: ReplaceBackground) -> None:
        while not self.wanted and not self._ended:
            await self._changed.wait()
        await anyio.lowlevel.checkpoint()
        self.feed([request])

    async def _take_in(self) -> None:
        with anyio.CancelScope(shield=True):
            while self._inputs or not self._ended:
                if not self._inputs:
                    await self._changed.wait()
                    continue
                stopped = self._engine.guard.stopped
                if stopped is not None and not isinstance(stopped, SpendLimitError):
                    self._deliver(self._engine.not_started(self._inputs.popleft()))
                    continue
                try:
                    await self._take_chunk()
                except ChainHubError as problem:
                    self._engine.guard.stop(problem)  # the ledger cannot be used
                except Exception as bug:
                    self._engine.guard.stop(unexpected(bug, Billed.NO))

    async def _take_chunk(self) -> None:
        """Takes as many inputs as can be examined at once."""
        readable: list[Input] = []
        for given in self._inputs:
            if not isinstance(given.request, ReplaceBackground) or _has_files(given.request):
                break
            readable.append(given)
        if not readable:
            await self._take_file_object()
            return
        ledger, clerk = self._engine.ledger, self._engine.clerk
        known = await ledger.write(partial(known_files, inputs=readable))
        reader = Reader(known, self._engine.settings.ledger)
        limits = call_limits(self._engine.transport)
        found = await anyio.to_thread.run_sync(examine, readable, reader, limits)
        decisions = await ledger.write(partial(clerk.register, found=found, learned=reader.learned))
        for decision in decisions:
            self._inputs.popleft()
            self._dispatch(decision)

    async def _take_file_object(self) -> None:
        given, read = self._inputs[0], None
        with anyio.CancelScope(shield=True) as self._reading:
            read = await ready(given)
        if isinstance(read, Input):
            self._held[given.index] = _size(read.request)
            self._inputs[0] = read
            return
        self._inputs.popleft()
        if read is None:  # it was not waited for any longer
            self._deliver(self._engine.not_started(given))
        else:
            self._dispatch(read)

    def _dispatch(self, decision: Decision | Refused) -> None:
        outcome = at_once(decision)
        if outcome is not None:
            self._deliver(outcome)
        elif isinstance(decision, Decision):
            self._group.start_soon(self._process, decision)

    async def _process(self, decision: Decision) -> None:
        self._deliver(await self._engine.process(decision))

    def _deliver(self, outcome: Outcome) -> None:
        self._ready[outcome.index] = outcome
        self._notify()

    def _take(self) -> Outcome | None:
        index = self._next if self._ordered else next(iter(self._ready), self._next)
        outcome = self._ready.pop(index, None)
        if outcome is not None:
            self._next += 1
            self._undelivered -= 1
            self._held.pop(index, None)
            self._notify()
        return outcome

    def _end(self) -> Exception:
        problem, self._problem = self._problem, None
        return problem or StopAsyncIteration()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _has_files(call: ReplaceBackground) -> bool:
    references = call.style_reference_images
    images = [call.image, *(references if isinstance(references, list | tuple) else [])]
    return any(callable(getattr(image, "read", None)) for image in images)


def _size(request: Any) -> int:
    """Returns how many bytes of images the request holds in memory."""
    references = getattr(request, "style_reference_images", None)
    images = [
        getattr(request, "image", None),
        *(references if isinstance(references, list | tuple) else []),
    ]
    held = [image.data if isinstance(image, ImageSource) else image for image in images]
    return sum(len(data) for data in held if isinstance(data, bytes | bytearray | memoryview))


def call_limits(transport: Transport) -> CallLimits:
    """Returns what the calls of a client are made with."""
    return CallLimits(transport.config.timeout, transport.pool.limits.in_flight)
