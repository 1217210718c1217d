"""A Celery worker that forks: one client at the top of a module, used before and after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chainhub_async.testing import Emulator

pytestmark = [
    pytest.mark.slow,  # many processes
    pytest.mark.skipif(sys.platform == "win32", reason="there is no fork"),
]

# The parent calls before, while and after its children do.
SHOP = """
import os, signal, threading
from celery import Celery
from celery.signals import worker_ready, worker_shutdown
from chainhub_async import ChainHub, ChainHubError
from chainhub_async.testing.placeholder import flat_png

PHOTO = flat_png((8, 8), "celery")
app = Celery("shop", broker="memory://", backend="file://" + os.environ["RESULTS"])
app.conf.update(
    accept_content=["pickle"], result_serializer="pickle", task_serializer="pickle",
    result_accept_content=["pickle"], worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=4, worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)
hub, parent, found = ChainHub(), os.getpid(), []

def say(*words):
    os.write(1, ("shop " + " ".join(map(str, words)) + "\\n").encode())

def ask():
    return hub.request("GET", "/v1/models").status

@app.task
def pay(seed):
    assert os.getpid() != parent
    return hub.ideogram.replace_background(PHOTO, seed=seed)

@app.task
def refuse():
    hub.ideogram.replace_background(PHOTO, num_images=9)

@worker_ready.connect
def begin(**_):
    threading.Thread(target=send).start()

def send():
    try:
        tasks = [pay.delay(seed) for seed in range(12)]
        say("during", *{ask() for _ in range(20)})
        say(*[task.get(timeout=30, disable_sync_subtasks=False).images[0].seed for task in tasks])
        try:
            refuse.delay().get(timeout=30, disable_sync_subtasks=False)
        except ChainHubError as error:
            say(type(error).__name__, error.billed.name)
        say("during", ask())
    finally:
        os.kill(parent, signal.SIGTERM)

@worker_shutdown.connect
def end(**_):
    say("after", ask())

if __name__ == "__main__":
    say("before", ask())
    app.worker_main(["worker", "--pool=prefork", "--concurrency=2", "--loglevel=CRITICAL",
                     "--without-gossip", "--without-mingle", "--without-heartbeat"])
"""


def test_prefork(tmp_path: Path, emulator: Emulator) -> None:
    """Tasks pay in their own processes, results and errors come back, the parent goes on."""
    pytest.importorskip("celery")
    (tmp_path / "results").mkdir()
    (tmp_path / "shop.py").write_text(SHOP)
    done = subprocess.run(
        [sys.executable, "-X", "dev", str(tmp_path / "shop.py")],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "CHAINHUB_API_KEY": emulator.api_key,
            "CHAINHUB_BASE_URL": emulator.base_url,
            "C_FORCE_ROOT": "1",
            "RESULTS": str(tmp_path / "results"),
        },
    )
    lines = done.stdout.splitlines()
    said = [line.removeprefix("shop ") for line in lines if line.startswith("shop ")]
    assert said == [
        "before 200",
        "during 200",
        " ".join(map(str, range(12))),
        "InvalidOptionError NO",
        "during 200",
        "after 200",
    ], done.stdout + done.stderr
    assert done.returncode == 0
    for word in ("Unclosed", "Event loop", "never awaited", "Traceback"):
        assert word not in done.stderr
    assert sum(emulator.billed.values()) == 12
