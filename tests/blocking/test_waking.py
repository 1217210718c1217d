"""Threads are woken one after another, and none is left asleep by one that does not go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from chainhub_async.loop import Loop
from chainhub_async.pending import PortalCall
from chainhub_async.portal import Portal
from chainhub_async.waking import Waker


class Asleep:
    """A thread that waits, and tells who else has been woken before it runs."""

    def __init__(self, woken: list[Asleep], *, goes_on: bool = True) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.once = threading.Lock()
        self.woken = woken
        self.goes_on = goes_on
        self.then: Callable[[], None] | None = None
        self.seen: list[Asleep] = []
        self.thread = threading.Thread(target=self.sleep)
        self.thread.start()

    def wake(self, then: Callable[[], None] | None) -> bool:
        with self.once:
            if self not in self.woken:
                self.woken.append(self)
                self.then = then
                self.lock.release()
        return True

    def sleep(self) -> None:
        self.lock.acquire()
        self.seen = [*self.woken]
        if self.goes_on and self.then is not None:
            self.then()


def asleep(count: int, *, stuck: int | None = None) -> tuple[list[Asleep], list[Asleep]]:
    woken: list[Asleep] = []
    return [Asleep(woken, goes_on=number != stuck) for number in range(count)], woken


def test_one_after_another() -> None:
    """Nobody is woken before the one ahead has run, and all have when it returns."""
    for _ in range(20):
        sleepers, woken = asleep(9)
        Waker().wake(sleepers)
        assert woken == sleepers
        for sleeper in sleepers:
            sleeper.thread.join(10)
        if [len(sleeper.seen) for sleeper in sleepers] == [*range(1, 10)]:
            return  # not for certain: a machine may stand still longer than one is waited for
    pytest.fail("they were woken together")


@pytest.mark.parametrize("stuck", [0, 4, 8])
def test_one_that_does_not_go_on(stuck: int) -> None:
    """The others are not left asleep, and it may go on later."""
    sleepers, woken = asleep(9, stuck=stuck)
    Waker().wake(sleepers)
    for sleeper in sleepers:
        sleeper.thread.join(10)
    assert sorted(map(id, woken)) == sorted(map(id, sleepers))
    for sleeper in sleepers:
        if sleeper.then is not None:
            sleeper.then()


class Prompt:
    """Runs as soon as it is woken, or never if it is stuck."""

    def __init__(self, *, waits: bool = True, stuck: bool = False) -> None:
        self.waits, self.stuck = waits, stuck
        self.in_chain: list[bool] = []

    def wake(self, then: Callable[[], None] | None) -> bool:
        self.in_chain.append(then is not None)
        if then is not None and self.waits and not self.stuck:
            then()
        return self.waits


def test_those_who_do_not_wait_yet_are_passed_over() -> None:
    """The next is woken at once, and nobody a second time, as after a chain that broke."""
    sleepers = [Prompt(waits=number not in {0, 4, 8}) for number in range(9)]
    Waker().wake(sleepers)
    assert [sleeper.in_chain for sleeper in sleepers] == [[True]] * 9


def test_one_that_was_taken_out_and_not_woken() -> None:
    """Who wakes it is interrupted, while another thread comes to the end of the chain."""

    class Taken:
        def __init__(self) -> None:
            self.woken = 0

        def wake(self, then: Callable[[], None] | None) -> bool:
            if then is not None:
                raise KeyboardInterrupt
            self.woken += 1
            return True

    class Interrupted(Prompt):
        """Wakes by itself, as the chain goes on to the next."""

        def wake(self, then: Callable[[], None] | None) -> bool:
            if then is not None:
                with suppress(KeyboardInterrupt):
                    then()
                threading.Thread(target=then).start()
            return True

    taken = Taken()
    Waker().wake([Interrupted(), taken])
    assert taken.woken == 1


def test_a_chain_that_broke_is_not_tried_again_at_once() -> None:
    """Where it is no use, the loop soon stands still no more; and does again when it is."""
    waker, stuck = Waker(), Prompt(stuck=True)
    tried: list[int] = []
    for turn in range(1600):
        stuck.in_chain.clear()
        waker.wake([stuck, Prompt()])
        if stuck.in_chain[0]:
            tried.append(turn)
    assert tried == [0, 9, 26, 59, 124, 253, 510, 1023, 1536]
    prompt = Prompt()
    while not any(prompt.in_chain):
        waker.wake([prompt, Prompt()])
    waker.wake([prompt, Prompt()])
    assert prompt.in_chain[-2:] == [True, True]


def test_one_alone_is_not_waited_for() -> None:
    """It has nobody to wake."""
    sleeper = Prompt(stuck=True)
    Waker().wake([sleeper])
    assert sleeper.in_chain == [False]


class Call:
    """A call that ends at once, and whose thread posts a step when it is woken."""

    def __init__(self, loop: Loop, step: Callable[[], None]) -> None:
        self.loop, self.step = loop, step

    async def run(self, loop: Loop) -> None:
        loop.ended(self)

    def cancel(self) -> None:
        raise NotImplementedError

    def wake(self, then: Callable[[], None] | None) -> bool:
        thread = threading.Thread(target=self.loop.post, args=[self.step])
        thread.start()
        thread.join()
        if then is not None:
            then()
        return True


def test_what_is_posted_while_the_loop_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not announced then, for the price of a system call, but done all the same."""
    portal, done = Portal(nothing_at_all), [threading.Event() for _ in range(12)]
    portal.run(nothing_at_all)
    loop = portal._home.loop
    assert loop
    announce, announced = loop._native.call_soon_threadsafe, list[object]()

    def counted(step: Callable[[], None]) -> object:
        announced.append(step)
        return announce(step)

    monkeypatch.setattr(loop._native, "call_soon_threadsafe", counted)
    calls = [Call(loop, event.set) for event in done]

    def begin_all() -> None:
        for call in calls:
            loop.begin(call)

    loop.post(begin_all)
    for event in done:
        assert event.wait(10)
    assert len(announced) == 1  # the first step, which begins them all
    portal.close()


def test_woken_twice() -> None:
    """As when its turn comes late: the second time, nobody is told anything."""
    call = PortalCall(nothing_at_all)
    call.wake(None)
    call.wake(None)
    assert call.has_ended


async def nothing_at_all() -> None:
    """Does nothing."""
