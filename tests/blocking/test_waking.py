"""Threads are woken one after another, and none is left asleep by one that does not go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

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
        self.woken = woken
        self.goes_on = goes_on
        self.waits = True
        self.then: Callable[[], None] | None = None
        self.seen: list[Asleep] = []
        self.thread = threading.Thread(target=self.sleep)
        self.thread.start()

    def wake(self, then: Callable[[], None] | None) -> bool:
        if self not in self.woken:
            self.woken.append(self)
            self.then = then
            self.lock.release()
        return self.waits

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


def test_those_who_do_not_wait_yet_are_passed_over() -> None:
    """The next is woken at once, and the loop does not wait for them."""
    waker, (sleepers, woken) = Waker(), asleep(9, stuck=4)
    sleepers[4].waits = False
    waker.wake(sleepers)
    assert woken == sleepers
    assert not waker._at_once
    for sleeper in sleepers:
        sleeper.thread.join(10)


def test_a_chain_that_broke_is_not_tried_again_at_once() -> None:
    """Where it is no use, the loop soon stands still no more; and does again when it is."""
    waker = Waker()
    chained = 0
    for _ in range(1000):
        sleepers, _ = asleep(2, stuck=0)
        waker.wake(sleepers)
        chained += sleepers[0].then is not None
        for sleeper in sleepers:
            sleeper.thread.join(10)
    assert 2 <= chained <= 8
    for _ in range(1000):
        sleepers, _ = asleep(2)
        waker.wake(sleepers)
        for sleeper in sleepers:
            sleeper.thread.join(10)
    assert waker._pause == 0


def test_one_alone_is_not_waited_for() -> None:
    """Nor is nobody."""
    waker = Waker()
    waker.wake([])
    [sleeper], woken = asleep(1, stuck=0)
    waker.wake([sleeper])
    assert woken == [sleeper]
    assert sleeper.then is None
    sleeper.thread.join(10)


class Call:
    """A call that ends at once, and whose thread has a step posted when it is woken."""

    def __init__(self, when_woken: Callable[[], None]) -> None:
        self.when_woken = when_woken

    async def run(self, loop: Loop) -> None:
        loop.ended(self)

    def cancel(self) -> None:
        raise NotImplementedError

    def wake(self, then: Callable[[], None] | None) -> bool:
        thread = threading.Thread(target=self.when_woken)
        thread.start()
        thread.join()
        if then is not None:
            then()
        return True


def test_what_is_posted_while_the_loop_stands_still() -> None:
    """It is not announced then, for the price of a system call, but done all the same."""
    portal, done = Portal(nothing_at_all), [threading.Event() for _ in range(12)]
    portal.run(nothing_at_all)
    loop = portal._home.loop
    assert loop
    calls = [Call(partial(loop.post, event.set)) for event in done]

    def begin_all() -> None:
        for call in calls:
            loop.begin(call)

    loop.post(begin_all)
    for event in done:
        assert event.wait(10)
    portal.close()


def test_woken_twice() -> None:
    """As when its turn comes late: the second time, nobody is told anything."""
    call = PortalCall(nothing_at_all)
    call.wake(None)
    call.wake(None)
    assert call.has_ended


async def nothing_at_all() -> None:
    """Does nothing."""
