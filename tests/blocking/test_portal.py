"""The thread behind a blocking client: one, shared, ended in time, and never waiting for itself."""

from __future__ import annotations

import contextvars
import gc
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from chainhub_async import (
    AuthenticationError,
    Billed,
    CallCancelledError,
    ChainHub,
    ChainHubError,
    ClosedError,
    Outcome,
    ReplaceBackground,
    ReplaceBackgroundResult,
    RequestQueued,
    Timeout,
)
from chainhub_async import latch as latch_module
from chainhub_async import loop as loop_module
from chainhub_async import pending as pending_module
from chainhub_async import portal as portal_module
from chainhub_async import process as process_module
from chainhub_async import waits as waits_module
from chainhub_async import waking as waking_module
from chainhub_async.pending import PortalCall
from chainhub_async.portal import Portal
from chainhub_async.testing import Emulator
from chainhub_async.testing.placeholder import flat_png

PHOTO = flat_png((8, 8), "portal")
Threads = Callable[[], list[threading.Thread]]
Eventually = Callable[..., bool]


async def nothing() -> None:
    """Has nothing to clear away."""


def drop(box: list[Portal]) -> None:
    box.clear()


def hold_up(busy: threading.Event) -> None:
    busy.wait(0.2)


def client(emulator: Emulator, **options: Any) -> ChainHub:
    return ChainHub(emulator.api_key, base_url=emulator.base_url, **options)


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[Any]]:
    """Makes a call in another thread; returns it and the list that will hold what came of it."""
    came: list[Any] = []

    def run() -> None:
        try:
            came.append(call())
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, came


# --- one thread for each client ---------------------------------------------------------------


def test_no_thread_before_the_first_call(emulator: Emulator, loop_threads: Threads) -> None:
    """Building, deriving, entering and closing start nothing."""
    with client(emulator) as hub:
        hub.with_options(timeout=Timeout(total=9))
        assert loop_threads() == []
    assert emulator.connections == 0


def test_one_thread_for_all_callers(
    hub: ChainHub, emulator: Emulator, loop_threads: Threads
) -> None:
    """Sixteen threads that begin at once share one loop, and each gets its own answer."""
    together = threading.Barrier(16)

    def calls(number: int) -> list[int | None]:
        together.wait()
        derived = hub.with_options(timeout=Timeout(total=60))
        return [
            client.ideogram.replace_background(PHOTO, seed=100 * number + turn).images[0].seed
            for turn, client in enumerate([hub, derived, hub])
        ]

    with ThreadPoolExecutor(16) as threads:
        seeds = list(threads.map(calls, range(16)))
    assert seeds == [[100 * n, 100 * n + 1, 100 * n + 2] for n in range(16)]
    assert len(loop_threads()) == 1
    assert sum(emulator.billed.values()) == 48


def test_two_clients_have_two_threads(emulator: Emulator, loop_threads: Threads) -> None:
    """Clients share nothing unless one was derived from the other."""
    with client(emulator) as one, client(emulator) as other:
        one.request("GET", "/v1/models")
        other.request("GET", "/v1/models")
        assert len(loop_threads()) == 2


# --- where it is called -----------------------------------------------------------------------


def test_inside_a_running_loop(hub: ChainHub) -> None:
    """As in a notebook: it works, and blocks that loop meanwhile."""
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await anyio.sleep(0.001)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            await anyio.sleep(0.01)
            before = len(ticks)
            assert hub.ideogram.replace_background(PHOTO).images
            assert len(ticks) == before
            group.cancel_scope.cancel()

    anyio.run(main)


def test_in_worker_threads(hub: ChainHub) -> None:
    """A worker thread of anyio, and a thread of an anyio portal, are threads as any other."""

    def ask() -> int:
        return hub.request("GET", "/v1/models").status

    async def main() -> None:
        assert await anyio.to_thread.run_sync(ask) == 200

    anyio.run(main)
    with anyio.from_thread.start_blocking_portal("asyncio") as portal:
        assert portal.call(ask) == 200


def test_context_variables_of_the_caller(emulator: Emulator) -> None:
    """The callback sees the context variables of the thread that made the call."""
    who = contextvars.ContextVar("who", default="nobody")
    seen: set[str] = set()

    def note(_: object) -> None:
        seen.add(who.get())

    with client(emulator, on_event=note) as hub:

        def call(name: str) -> None:
            who.set(name)
            hub.request("GET", "/v1/models")

        for name in ("first", "second"):
            contextvars.copy_context().run(call, name)
    assert seen == {"first", "second"}
    assert who.get() == "nobody"


def test_the_mark_of_another_loop_is_taken_off(emulator: Emulator) -> None:
    """A caller's context may say that it runs under trio; the client's loop is asyncio's."""
    mark: contextvars.ContextVar[str | None] = contextvars.ContextVar("current_async_library_cvar")

    def call() -> None:
        mark.set("trio")
        seen: list[str | None] = []

        def note(_: object) -> None:
            seen.append(mark.get())

        with client(emulator, on_event=note) as hub:
            hub.request("GET", "/v1/models")
        assert set(seen) == {None}
        assert mark.get() == "trio"

    contextvars.copy_context().run(call)


def test_a_call_from_its_own_callback(emulator: Emulator) -> None:
    """It would wait for itself, so it is refused; the call under way goes on."""
    refused: list[ChainHubError] = []
    box: list[ChainHub] = []

    def again(_: object) -> None:
        try:
            box[0].request("GET", "/v1/models")
        except ChainHubError as error:
            refused.append(error)

    with client(emulator, on_event=again) as hub:
        box.append(hub)
        assert hub.ideogram.replace_background(PHOTO).images
        box.clear()
    assert refused
    assert all(isinstance(error, ClosedError) for error in refused)
    assert "would deadlock" in str(refused[0])
    assert "of an AsyncChainHub" in str(refused[0])


def test_two_clients_in_each_others_callbacks(emulator: Emulator) -> None:
    """Another client may well be called from a callback."""
    with client(emulator) as inner:

        def ask(_: object) -> None:
            inner.request("GET", "/v1/models")

        with client(emulator, on_event=ask) as outer:
            outer.request("GET", "/v1/models")
    assert len(emulator.requests) >= 2


@pytest.mark.parametrize("length", [2, 3])
def test_clients_that_call_each_other_in_a_circle(emulator: Emulator, length: int) -> None:
    """All would wait for ever, so the call that closes the circle is refused."""
    hubs: list[ChainHub] = []
    refused: list[str] = []

    def replace(hub: ChainHub) -> ReplaceBackgroundResult:
        return hub.ideogram.replace_background(PHOTO)

    def calls(number: int) -> Callable[[object], None]:
        def on_event(event: object) -> None:
            try:
                replace(hubs[(number + 1) % length])
            except ClosedError as error:
                refused.append(str(error))

        return on_event

    hubs += [client(emulator, on_event=calls(number)) for number in range(length)]
    with ThreadPoolExecutor(length) as threads:
        results = list(threads.map(replace, hubs))
    assert all(result.images for result in results)
    assert refused
    assert "would deadlock" in refused[0]
    for hub in hubs:
        hub.close()


def test_closing_a_client_that_waits_for_this_one(emulator: Emulator) -> None:
    """It is closed without being waited for."""
    hubs: list[ChainHub] = []

    def call_other(event: object) -> None:
        if isinstance(event, RequestQueued):
            hubs[1].request("GET", "/v1/models")

    def close_other(_: object) -> None:
        hubs[0].close()

    with (
        client(emulator, on_event=call_other) as first,
        client(emulator, on_event=close_other) as second,
    ):
        hubs += [first, second]
        with pytest.raises(ClosedError):
            first.request("GET", "/v1/models")


def test_a_batch_left_on_its_own_loop(emulator: Emulator) -> None:
    """As by a generator that is collected there: it winds down by itself, and nothing hangs."""
    left: list[Any] = []

    def leave(_: object) -> None:
        if left:
            left.pop().close()

    with client(emulator, on_event=leave) as hub:

        def outcomes() -> Iterator[Outcome]:
            with hub.batch() as batch:
                yield from batch.run(ReplaceBackground(PHOTO, seed=n) for n in range(5))

        running = outcomes()
        assert next(running).state == "ACCEPTED"
        left.append(running)
        del running
        assert hub.request("GET", "/v1/models").status == 200
        assert hub.request("GET", "/v1/models").status == 200


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_callback_that_wants_to_exit(emulator: Emulator, kind: type[BaseException]) -> None:
    """What is no Exception reaches the caller, and the client works on."""
    wishes = [kind(3)]

    def on_event(_: object) -> None:
        if wishes:
            raise wishes.pop()

    with client(emulator, on_event=on_event) as hub:
        with pytest.raises(kind):
            hub.ideogram.replace_background(PHOTO)
        assert hub.ideogram.replace_background(PHOTO).images


# --- errors -----------------------------------------------------------------------------------


def test_errors_keep_type_and_pickle(emulator: Emulator) -> None:
    """What the coroutine raised is what the caller gets, and it can be sent elsewhere."""
    with (
        ChainHub("wrong", base_url=emulator.base_url) as hub,
        pytest.raises(AuthenticationError) as caught,
    ):
        hub.ideogram.replace_background(PHOTO)
    assert caught.value.status == 401
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is AuthenticationError
    assert vars(again) == vars(caught.value)


def test_an_error_makes_no_cycle() -> None:
    """What a failed call held is free as soon as the error is, without garbage collection."""

    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)

    async def fail(held: object) -> None:
        raise ValueError(str(held))

    portal = Portal(nothing)
    portal.run(nothing)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="Thing"):
            portal.run(fail, thing)
        del thing
        # The loop's thread lets go of it a moment later.
        until = time.monotonic() + 5
        while gone() is not None and time.monotonic() < until:
            time.sleep(0.01)
        assert gone() is None
    finally:
        gc.enable()
        portal.close()


def test_the_client_does_not_pickle() -> None:
    """Sent to another process it is refused in a sentence, not in the words of a lock."""
    with pytest.raises(TypeError, match="create the client where it is used"):
        pickle.dumps(ChainHub("key"))


# --- closing ----------------------------------------------------------------------------------


def test_after_close(emulator: Emulator, loop_threads: Threads) -> None:
    """A closed client refuses every call, and so do those derived from it; twice is once."""
    hub = client(emulator)
    derived = hub.with_options(timeout=Timeout(total=9))
    hub.request("GET", "/v1/models")
    hub.close()
    assert loop_threads() == []
    hub.close()
    for each in (hub, derived):
        with pytest.raises(ClosedError, match="closed; create a new one"):
            each.request("GET", "/v1/models")
        with pytest.raises(ClosedError):
            each.ideogram.replace_background(PHOTO)


def test_closed_before_it_was_used(emulator: Emulator) -> None:
    """Closing is final, used or not."""
    hub = client(emulator)
    hub.close()
    with pytest.raises(ClosedError):
        hub.request("GET", "/v1/models")


def test_a_reused_thread_id_is_no_loop(emulator: Emulator) -> None:
    """Threads started after the end of the client's are not taken for it, whatever their id."""
    hub = client(emulator)
    hub.request("GET", "/v1/models")
    hub.close()
    for _ in range(20):
        thread, came = in_thread(lambda: hub.request("GET", "/v1/models"))
        thread.join()
        assert "closed" in str(came[0])


def test_nested_with(emulator: Emulator) -> None:
    """The inner `with` closes; leaving the outer one is no error."""
    with client(emulator) as hub:
        with hub as same:
            assert same is hub
            assert hub.request("GET", "/v1/models").status == 200
        with pytest.raises(ClosedError):
            hub.request("GET", "/v1/models")


@pytest.mark.parametrize("what", ["post", "wait", "queue"])
def test_close_while_another_thread_calls(
    emulator: Emulator, what: str, eventually: Eventually
) -> None:
    """The other call fails at once and clearly, however long it would have taken."""
    emulator.reply = "task"
    emulator.task_polls = 10**6
    hub = client(emulator)
    task = hub.ideogram.replace_background(PHOTO).task
    assert task
    emulator.latency = 60
    calls: dict[str, Callable[[], object]] = {
        "post": lambda: hub.ideogram.replace_background(PHOTO),
        "wait": lambda: hub.wait(task, path=emulator.task_path, interval=500),
        "queue": lambda: hub.request("POST", "/v1/models", json=1, images=10),
    }
    busy = []
    if what == "queue":
        busy.append(in_thread(calls["post"]))
        assert eventually(lambda: len(emulator.requests) == 2)
    thread, came = in_thread(calls[what])
    if what == "queue":
        time.sleep(0.1)
    else:
        assert eventually(lambda: len(emulator.requests) == 2)
    began = time.monotonic()
    hub.close()
    thread.join(10)
    for other, _ in busy:
        other.join(10)
    assert time.monotonic() - began < 5
    assert isinstance(came[0], ChainHubError)
    expected = {"post": {Billed.MAYBE}, "queue": {Billed.NO, Billed.MAYBE}}
    assert came[0].billed in expected.get(what, set(Billed))


def test_close_while_saving(hub: ChainHub, emulator: Emulator, tmp_path: Path) -> None:
    """A download that is cut off by closing leaves nothing behind."""
    result = hub.ideogram.replace_background(PHOTO)
    came: list[Any] = []
    thread = None

    def slow(_: object) -> None:
        time.sleep(0.05)

    saving = hub.with_options(on_event=slow)
    thread, came = in_thread(lambda: saving.save(result, tmp_path))
    time.sleep(0.02)
    hub.close()
    thread.join(10)
    assert came
    names = [path.name for path in tmp_path.iterdir()]
    assert not [name for name in names if ".part" in name]
    assert isinstance(came[0], ChainHubError) or names


def test_close_in_many_threads_at_once(emulator: Emulator, loop_threads: Threads) -> None:
    """Whoever closes, everyone returns after the end, and every call ends one way or another."""
    for _ in range(5):
        hub = client(emulator)
        hub.request("GET", "/v1/models")
        together = threading.Barrier(12)

        def close(hub: ChainHub = hub, together: threading.Barrier = together) -> bool:
            together.wait()
            hub.close()
            return loop_threads() == []

        def call(hub: ChainHub = hub, together: threading.Barrier = together) -> bool:
            together.wait()
            try:
                return hub.request("GET", "/v1/models").status == 200
            except ChainHubError:
                return True

        with ThreadPoolExecutor(12) as threads:
            ended = [threads.submit(call if n % 2 else close) for n in range(12)]
            assert all(each.result(10) for each in ended)


def test_close_in_its_own_callback(emulator: Emulator) -> None:
    """It cannot wait for itself there: the call under way ends, and so does the loop."""
    box: list[ChainHub] = []

    def close(_: object) -> None:
        box[0].close()

    hub = client(emulator, on_event=close)
    box.append(hub)
    with pytest.raises(ChainHubError):
        hub.ideogram.replace_background(PHOTO)
    with pytest.raises(ClosedError):
        hub.request("GET", "/v1/models")
    box.clear()


def test_a_loop_that_broke() -> None:
    """Should the loop end by itself, those who wait and those who come are told."""
    portal = Portal(nothing)

    def fail() -> None:
        raise RuntimeError("a step that fails")

    portal.run(nothing)
    assert portal._home.loop
    thread, came = in_thread(lambda: portal.run(anyio.sleep, 30))
    time.sleep(0.05)
    portal._home.loop.post(fail)
    thread.join(10)
    assert isinstance(came[0], ClosedError)
    portal._home.loop.join()
    with pytest.raises(ClosedError, match="has ended"):
        portal.run(nothing)
    portal.close()


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
def test_all_who_wait_are_woken(ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred callers are woken together, none is forgotten, also if the loop ends."""
    monkeypatch.setattr("chainhub_async.pending.PIECE", 60)  # nobody looks by themselves meanwhile
    portal, come, go = Portal(nothing), list[int](), anyio.Event()

    async def wait_for_all() -> int:
        come.append(1)
        await go.wait()
        return len(come)

    async def let_them_go() -> None:
        go.set()
        if ends:
            assert portal._home.loop
            portal._home.loop.end()

    callers = [in_thread(partial(portal.run, wait_for_all)) for _ in range(100)]
    until = time.monotonic() + 10
    while len(come) < 100 and time.monotonic() < until:
        time.sleep(0.01)
    portal.run(let_them_go)
    for thread, came in callers:
        thread.join(10)
        assert came == [100]
    portal.close()


def test_a_call_whose_task_never_began() -> None:
    """Somebody else cancels its task before the first step: closing ends, and so does the wait."""
    portal = Portal(nothing)
    portal.run(nothing)
    loop, work = portal._home.loop, PortalCall(nothing)
    assert loop

    def begin_and_cancel() -> None:
        loop.begin(work)
        loop._calls[work].cancel()

    loop.post(begin_and_cancel)
    thread, _ = in_thread(portal.close)
    thread.join(10)
    assert not thread.is_alive()
    assert work.has_ended
    with pytest.raises(ClosedError):
        work.result()


def test_a_thread_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without room for a thread is told of in a sentence, and may be tried again."""

    def full(_: object) -> None:
        raise RuntimeError("can't start new thread")

    portal = Portal(nothing)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(ClosedError, match="can't start new thread"):
            portal.run(nothing)
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:  # what is being handled is not what happened
            with pytest.raises(ClosedError, match="can't start new thread"):
                portal.run(nothing)
    assert portal.run(anyio.sleep, 0) is None
    portal.close()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_interrupted_while_a_thread_starts(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a signal handler raises may break the wait in `Thread.start`, which raises another."""

    def broken(_: object) -> None:
        try:
            raise kind
        finally:
            threading.Lock().release()

    portal = Portal(nothing)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", broken)
        with pytest.raises(kind):
            portal.run(nothing)
    assert portal.run(anyio.sleep, 0) is None
    portal.close()


# --- dropping ---------------------------------------------------------------------------------


def test_dropped(emulator: Emulator, loop_threads: Threads, eventually: Eventually) -> None:
    """A client that nobody holds closes itself, and its thread ends."""
    hub = client(emulator)
    hub.request("GET", "/v1/models")
    assert len(loop_threads()) == 1
    del hub
    assert eventually(lambda: not loop_threads())


def test_dropped_in_a_cycle_with_its_callback(
    emulator: Emulator, loop_threads: Threads, eventually: Eventually
) -> None:
    """A client whose callback belongs to its owner goes with the owner."""

    class Owner:
        def __init__(self) -> None:
            self.hub = client(emulator, on_event=self.note)
            self.seen = 0

        def note(self, _: object) -> None:
            self.seen += 1

    owner = Owner()
    owner.hub.request("GET", "/v1/models")
    assert owner.seen
    del owner
    gc.collect()
    assert eventually(lambda: not loop_threads())


def test_a_derived_client_keeps_the_thread(
    emulator: Emulator, loop_threads: Threads, eventually: Eventually
) -> None:
    """The thread ends with the last of those that share it."""
    hub = client(emulator)
    derived = hub.with_options(timeout=Timeout(total=9))
    endpoints = hub.ideogram
    hub.request("GET", "/v1/models")
    del hub
    gc.collect()
    assert derived.request("GET", "/v1/models").status == 200
    del derived
    assert endpoints.replace_background(PHOTO).images
    del endpoints
    gc.collect()
    assert eventually(lambda: not loop_threads())


def test_dropped_on_the_loops_own_thread(loop_threads: Threads, eventually: Eventually) -> None:
    """Where the garbage collector finds it, it waits for nothing."""
    for own in (True, False):
        box = [Portal(nothing)]
        box[0].run(nothing)
        other = Portal(nothing)
        other.run(nothing)
        loop = box[0]._home.loop if own else other._home.loop
        assert loop
        loop.post(partial(drop, box))
        del loop
        assert eventually(lambda: len(loop_threads()) == 1)
        other.close()


def test_dropping_takes_no_lock(
    emulator: Emulator, loop_threads: Threads, eventually: Eventually
) -> None:
    """A collection may come while its thread holds a lock that the loop needs: it must not wait."""
    held = threading.Lock()

    async def last() -> None:
        def need() -> None:
            with held:
                pass

        await anyio.to_thread.run_sync(need)

    portal = Portal(last)
    portal.run(nothing)
    with held:
        del portal
        gc.collect()
        assert loop_threads()
    assert eventually(lambda: not loop_threads())


# --- interruptions ----------------------------------------------------------------------------


class Work:
    """A coroutine that says whether it runs."""

    def __init__(self) -> None:
        self.begun = self.running = self.finished = 0

    async def __call__(self) -> None:
        self.begun += 1
        self.running += 1
        try:
            await anyio.sleep(0.03)
            self.finished += 1
        finally:
            self.running -= 1


PORTAL_FILES = {
    module.__file__
    for module in (
        *(portal_module, pending_module, loop_module),
        *(latch_module, waits_module, waking_module),
    )
}


@pytest.fixture
def _a_lock_that_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing interrupts also where signals cannot: at the end of a `with`, before its exit."""
    monkeypatch.setattr(process_module, "_imports", [threading.RLock()])


def interrupt_at(step: int, call: Callable[[], object]) -> BaseException | None:
    """Makes a call, and an interruption at the so-manyth line of the portal; returns it."""
    left = step
    before = sys.gettrace()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in PORTAL_FILES:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt as interruption:
        return interruption
    finally:
        sys.settrace(before)
    return None


@pytest.mark.usefixtures("_a_lock_that_may_be_lost")
@pytest.mark.parametrize("used", [False, True])
def test_an_interruption_at_every_step(used: bool) -> None:
    """Wherever Ctrl-C strikes, no work goes on, and none begins, after it was raised."""
    interruptions = 0
    for step in range(1, 200):
        portal, work = Portal(nothing), Work()
        if used:
            portal.run(nothing)
        struck = interrupt_at(step, lambda: portal.run(work))  # noqa: B023 - called at once
        assert work.running == 0
        begun = work.begun
        assert portal.run(anyio.sleep, 0.001) is None
        assert (work.begun, work.running) == (begun, 0)
        portal.close()
        if struck is None:
            break
        interruptions += 1
        # Whoever does not get what a call came to must not believe that it cost nothing.
        told = struck.__context__
        assert not work.finished or (
            isinstance(told, CallCancelledError) and told.billed is Billed.MAYBE
        )
    assert 10 < interruptions < 199


def test_an_interruption_while_others_are_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever Ctrl-C strikes who is woken among many, those after it get what they wait for."""
    monkeypatch.setattr("chainhub_async.pending.PIECE", 60)  # nobody looks by themselves meanwhile
    interruptions = 0
    for step in range(1, 200):
        portal, go = Portal(nothing), threading.Event()
        ready = list[int]()

        async def wait_for_all(go: threading.Event = go, ready: list[int] = ready) -> int:
            ready.append(1)
            while not go.is_set():
                await anyio.sleep(0.001)
            return len(ready)

        portal.run(nothing)
        others = [in_thread(partial(portal.run, wait_for_all)) for _ in range(8)]
        while len(ready) < 8:
            time.sleep(0.001)
        threading.Timer(0.005, go.set).start()
        struck = interrupt_at(step, lambda: portal.run(wait_for_all))  # noqa: B023 - at once
        go.set()
        for thread, came in others:
            thread.join(10)
            assert came in ([8], [9])
        portal.close()
        if struck is None:
            break
        interruptions += 1
    assert 10 < interruptions < 199


def test_an_interruption_right_after_the_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is busy with something else: a call that nobody waits for any more never begins."""
    portal, work = Portal(nothing), Work()
    portal.run(nothing)
    assert portal._home.loop
    submit = PortalCall.submit

    def interrupted(self: Any, loop: Any) -> None:
        submit(self, loop)
        raise KeyboardInterrupt

    busy = threading.Event()
    portal._home.loop.post(partial(hold_up, busy))
    monkeypatch.setattr(PortalCall, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        portal.run(work)
    assert work.begun == 0
    portal.close()
    assert work.begun == 0


def test_an_interruption_when_the_lock_is_acquired(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may keep the lock for ever, and calls work all the same."""
    monkeypatch.setattr(portal_module, "_LONGEST_START", 0.1)
    portal = Portal(nothing)
    portal._home.opening.acquire()
    for _ in range(2):
        thread, came = in_thread(partial(portal.run, nothing))
        thread.join(10)
        assert came == [None]
    portal.close()


def test_closed_just_before_the_hand_over() -> None:
    """The caller is told so, and not of an interruption that there was not."""
    portal = Portal(nothing)
    portal.run(nothing)
    loop = portal._loop()
    portal.close()
    work = PortalCall(nothing)
    with pytest.raises(ClosedError) as caught:
        work.submit(loop)
    portal.abandon(work, caught.value)
    assert caught.value.billed is Billed.NO
    assert not isinstance(caught.value.__context__, CallCancelledError)


def test_clean_up_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted caller goes on when the coroutine has cleared away."""
    steps: list[str] = []

    async def careful() -> None:
        try:
            await anyio.sleep(30)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
            steps.append("cleared")

    def interrupted(self: Any) -> None:
        time.sleep(0.05)
        monkeypatch.undo()
        raise KeyboardInterrupt

    portal = Portal(nothing)
    portal.run(nothing)
    monkeypatch.setattr(PortalCall, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        portal.run(careful)
    assert steps == ["cleared"]
    portal.close()
