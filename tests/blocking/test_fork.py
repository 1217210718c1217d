"""Forked processes: a client works in each, and none reaches the connections of another."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

Start = Callable[..., Any]

# Runs a function in a child and ends the child as an ordinary process ends.
IN_CHILD = """
def in_child(what):
    pid = os.fork()
    if not pid:
        what()
        gc.collect()
        sys.exit(0)
    until = time.monotonic() + 8
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return say("child ended", status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    say("child hangs")

def ask():
    say(hub.request("GET", "/v1/models").status)
"""


def test_unused_before_the_fork(start: Start, emulator: Emulator) -> None:
    """Parent and child each begin with a loop of their own."""
    program = start(
        IN_CHILD
        + """
hub = ChainHub()
in_child(ask)
ask()
""",
        emulator.base_url,
    )
    assert program.end() == ["200", "child ended 0", "200"]


def test_used_before_the_fork(start: Start, emulator: Emulator) -> None:
    """Children use, drop, close and derive from the client, or leave it alone; the parent goes on.

    The parent's connection is used again after the children: nothing of it was touched there.
    """
    program = start(
        IN_CHILD
        + """
hub = ChainHub()
ask()

def untouched(): ...

def dropped():
    global hub
    hub = None

def used_and_dropped():
    ask()
    dropped()

def closed():
    hub.close()
    hub.close()
    try:
        ask()
    except ClosedError as error:
        say(error)

def derived():
    say(hub.with_options(timeout=Timeout(total=9)).request("GET", "/v1/models").status)

def left():
    with hub:
        ask()

def grandchild():
    ask()
    in_child(ask)
    ask()

for what in [untouched, dropped, used_and_dropped, closed, derived, left, grandchild]:
    in_child(what)
    ask()  # soon enough for its connection to be kept alive
hub.close()
""",
        emulator.base_url,
    )
    ended = ["child ended 0", "200"]
    assert program.end(within=25) == [
        "200",
        *ended,
        *ended,
        *("200", *ended),
        *("The client is closed; create a new one.", *ended),
        *("200", *ended),
        *("200", *ended),
        *("200", "200", "child ended 0", "200", *ended),
    ]
    # The parent's first connection, and one of each process that made a call.
    assert emulator.connections == 6


def test_calls_under_way_at_the_fork(start: Start, emulator: Emulator) -> None:
    """Forked in the middle of calls, the child has a gate of its own, and theirs come to an end."""
    emulator.latency = 0.5
    program = start(
        IN_CHILD
        + """
hub = ChainHub(limits=Limits(in_flight=1))
box = []
paid = lambda: box.append(hub.ideogram.replace_background(PHOTO))
threads = [threading.Thread(target=paid) for _ in range(2)]
for thread in threads:
    thread.start()
time.sleep(0.25)

def pay():
    box.clear()
    paid()
    say("child", len(box[0].images))

in_child(pay)
for thread in threads:
    thread.join()
say(len(box))
hub.close()
""",
        emulator.base_url,
    )
    assert program.end() == ["child 1", "child ended 0", "2"]
    assert sum(emulator.billed.values()) == 3


def test_a_lock_held_at_the_fork(start: Start, emulator: Emulator) -> None:
    """A fork while the loop is being started leaves no child that waits for ever."""
    program = start(
        IN_CHILD
        + """
from chainhub_async import loop as module
hub, opening = ChainHub(), threading.Event()
begin = module.Loop.start

def slow(self):
    opening.set()
    time.sleep(1)
    begin(self)

module.Loop.start = slow
thread = threading.Thread(target=ask)
thread.start()
opening.wait()

def both():
    module.Loop.start = begin
    ask()
    hub.close()

in_child(both)
thread.join()
hub.close()
""",
        emulator.base_url,
    )
    assert sorted(program.end()) == ["200", "200", "child ended 0"]


def test_forks_while_threads_call(start: Start, emulator: Emulator) -> None:
    """Whatever the parent's threads are doing at the moment of a fork, the child works."""
    program = start(
        IN_CHILD
        + """
hub, ended = ChainHub(), threading.Event()

def work():
    while not ended.is_set():
        assert hub.ideogram.replace_background(PHOTO).images

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
# The first of them while the others import what a first call needs.
for _ in range(15):
    in_child(ask)
ended.set()
for thread in threads:
    thread.join()
""",
        emulator.base_url,
    )
    assert program.end(within=60) == ["200", "child ended 0"] * 15


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[MisbehavingServer, str]]:
    """A server with TLS, and the certificate that it is trusted by."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with MisbehavingServer.in_thread(ssl_context=context) as server:
        server.gets.always(Answer(body=b"{}"))
        yield server, str(tmp_path / "ca.pem")


def test_tls(start: Start, tls: tuple[MisbehavingServer, str]) -> None:
    """No child ends the parent's TLS session: one connection serves the parent throughout."""
    server, certificate = tls
    program = start(
        IN_CHILD
        + """
import ssl
hub = ChainHub(ssl_context=ssl.create_default_context(cafile=os.environ["CA"]))
ask()

def dropped():
    global hub
    ask()
    hub = None

def closed():
    hub.close()

for what in [ask, dropped, closed]:
    in_child(what)
ask()
""",
        server.base_url,
        CA=certificate,
    )
    expected = ["200", "200", "child ended 0", "200", "child ended 0", "child ended 0", "200"]
    assert program.end() == expected
    assert server.connections == 3


@pytest.mark.parametrize("used", ["True", "False"])
def test_multiprocessing(start: Start, emulator: Emulator, used: str) -> None:
    """Processes and pools of the standard library, started by fork."""
    program = start(
        f"USED = {used}"
        """
from concurrent.futures import ProcessPoolExecutor
hub = ChainHub()

def ask(_):
    return hub.request("GET", "/v1/models").status

def pay(number):
    return hub.ideogram.replace_background(PHOTO, seed=number)

def refuse(_):
    return hub.ideogram.replace_background(PHOTO, num_images=9)

def main():
    if USED:
        ask(0)
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=ask, args=[0])
    process.start()
    process.join(10)
    say(process.exitcode)
    with ProcessPoolExecutor(2, mp_context=fork) as pool:
        say(*set(pool.map(ask, range(4))))
        # Results and exceptions come back whole.
        say(*[result.images[0].seed for result in pool.map(pay, range(3))])
        error = pool.submit(refuse, 0).exception()
        say(type(error).__name__, error.billed)
    with fork.Pool(2) as pool:
        say(*set(pool.map(ask, range(4))))
    say(ask(0))

main()
""",
        emulator.base_url,
    )
    assert program.end() == ["0", "200", "0 1 2", "InvalidOptionError Billed.NO", "200", "200"]


def test_spawn(tmp_path: Path, start: Start, emulator: Emulator) -> None:
    """Spawned processes build their own client; sent to one, it is refused in a sentence."""
    (tmp_path / "shop.py").write_text(
        """
import logging
from chainhub_async import ChainHub
from chainhub_async.testing.placeholder import flat_png

logging.getLogger("asyncio").setLevel(logging.ERROR)
hub = ChainHub()

def pay(number):
    return hub.ideogram.replace_background(flat_png((8, 8), "blocking"), seed=number)

def given(hub): ...
"""
    )
    program = start(
        """
        sys.path.insert(0, os.environ["SHOP"])
        import shop
        from concurrent.futures import ProcessPoolExecutor
        shop.pay(5)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=spawn) as pool:
            say(*[result.images[0].seed for result in pool.map(shop.pay, range(3))])
            say(pool.submit(shop.given, shop.hub).exception())
        """,
        emulator.base_url,
        SHOP=str(tmp_path),
        PYTHONPATH=str(tmp_path),
    )
    seeds, refused = program.end(within=30)
    assert seeds == "0 1 2"
    assert "create the client where it is used" in refused


def test_an_open_batch(start: Start, emulator: Emulator, tmp_path: Path) -> None:
    """A batch stays with the process that opened it; a child is told to open one of its own."""
    program = start(
        IN_CHILD
        + """
hub = ChainHub()
requests = [ReplaceBackground(PHOTO, seed=n) for n in range(3)]
batch = hub.batch(ledger=os.environ["LEDGER"])

def child():
    for use in [lambda: next(batch.run(requests)), batch.stop]:
        try:
            use()
        except ClosedError as error:
            say(str(error).partition(" before")[0])
    try:
        hub.batch(ledger=os.environ["LEDGER"]).__enter__()
    except LedgerLockedError:
        say("locked")
    with hub.batch() as mine:
        say(len(list(mine.run(requests[:1]))))

with batch:
    outcomes = batch.run(requests)
    next(outcomes)
    in_child(child)
    say(1 + len(list(outcomes)), batch.spent)
""",
        emulator.base_url,
        LEDGER=str(tmp_path / "ledger.db"),
    )
    said = ["The batch was begun", "The batch was begun", "locked", "1", "child ended 0"]
    assert program.end() == [*said, "3 3"]


def test_a_borrowed_session(start: Start, emulator: Emulator) -> None:
    """A caller's own session has connections of the parent, and is not used in a child."""
    program = start(
        IN_CHILD
        + """
import aiohttp, anyio

async def main():
    async with aiohttp.ClientSession() as session:
        hub = AsyncChainHub(session=session)
        assert (await hub.request("GET", "/v1/models")).status == 200
        if not os.fork():
            def call():
                try:
                    anyio.run(hub.request, "GET", "/v1/models")
                except ClosedError as error:
                    say(error)
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
            os._exit(0)
        os.wait()
        say((await hub.request("GET", "/v1/models")).status)

anyio.run(main)
""",
        emulator.base_url,
    )
    refused, status = program.end()
    assert "Create a session and a client in each process" in refused
    assert status == "200"
    assert emulator.connections == 1
