"""Where blocking programs live: a web server's threads, a session at the prompt, pytest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chainhub_async.testing import Emulator

Start = Callable[..., Any]


def where(emulator: Emulator) -> dict[str, str]:
    """The environment that leads to the emulator."""
    return {
        **os.environ,
        "CHAINHUB_API_KEY": emulator.api_key,
        "CHAINHUB_BASE_URL": emulator.base_url,
    }


# --- Django -------------------------------------------------------------------------------------

SITE = """
import sys, threading
import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import path
from chainhub_async import ChainHub, ChainHubError, Limits
from chainhub_async.testing.placeholder import flat_png

hub = ChainHub(limits=Limits(in_flight=4, connections=4))
PHOTO = flat_png((8, 8), "django")

def pay(request, seed):
    result = hub.ideogram.replace_background(PHOTO, seed=seed)
    return JsonResponse({"seed": result.images[0].seed})

def refuse(request):
    try:
        hub.ideogram.replace_background(PHOTO, num_images=9)
    except ChainHubError as error:
        return JsonResponse({"error": str(error), "billed": error.billed.value}, status=400)

async def from_a_loop(request):
    return JsonResponse({"status": hub.request("GET", "/v1/models").status})

urlpatterns = [path("pay/<int:seed>", pay), path("refuse", refuse), path("async", from_a_loop)]
settings.configure(
    DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", USE_TZ=True,
    LOGGING_CONFIG=None,
)
django.setup()
"""
SERVE = """
import signal
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from django.core.wsgi import get_wsgi_application

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

class Quiet(WSGIRequestHandler):
    def log_message(self, *_): ...

with make_server("127.0.0.1", 0, get_wsgi_application(), Server, Quiet) as server:
    print(server.server_port, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_django_under_threads(tmp_path: Path, emulator: Emulator) -> None:
    """A client at the top of a module serves all threads of a WSGI server, and ends with it."""
    (tmp_path / "site_of_one_file.py").write_text(SITE + SERVE)
    emulator.latency = 0.05
    with subprocess.Popen(
        [sys.executable, "-X", "dev", str(tmp_path / "site_of_one_file.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=where(emulator),
    ) as server:
        assert server.stdout is not None
        root = f"http://127.0.0.1:{server.stdout.readline().strip()}"

        def get(path: str) -> str:
            try:
                with urllib.request.urlopen(f"{root}/{path}", timeout=60) as reply:
                    return str(reply.read().decode())
            except urllib.error.HTTPError as error:
                with error:
                    return error.read().decode()

        try:
            with ThreadPoolExecutor(32) as threads:
                pages = list(threads.map(get, [f"pay/{seed}" for seed in range(64)]))
            assert pages == [f'{{"seed": {seed}}}' for seed in range(64)]
            assert '"billed": "no"' in get("refuse")
            assert get("async") == '{"status": 200}'
            # One client for all threads: no more connections than it may have.
            assert emulator.connections <= 4
        finally:
            server.send_signal(signal.SIGINT)
            _, err = server.communicate(timeout=20)
    assert server.returncode == 0
    for word in ("Unclosed", "Event loop", "never awaited", "Traceback", "ResourceWarning"):
        assert word not in err, err


# --- the prompt ---------------------------------------------------------------------------------


def test_at_the_prompt(emulator: Emulator) -> None:
    """Typed line by line, and left with Ctrl-D: no traceback, no warning."""
    typed = """
from chainhub_async import ChainHub
from chainhub_async.testing.placeholder import flat_png
hub = ChainHub()
result = hub.ideogram.replace_background(flat_png((8, 8), "prompt"), seed=3)
print(result.images[0].seed)
hub.ideogram.replace_background("no such file")
print(hub.request("GET", "/v1/models").status)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-i", "-q", "-c", ""],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**where(emulator), "PYTHON_BASIC_REPL": "1", "PYTHONASYNCIODEBUG": "0"},
    )
    assert done.returncode == 0
    assert done.stdout.split() == ["3", "200"]
    err = done.stderr.replace(">>> ", "")
    assert err.count("Traceback") == 1
    assert "InvalidImageError" in err
    assert "Warning" not in err


def test_help(emulator: Emulator) -> None:
    """`help` of a method shows every parameter and what it means."""
    program = (
        "from chainhub_async import ChainHub\nhub = ChainHub()\n"
        "help(hub.ideogram.replace_background)\nhelp(ChainHub.batch)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=where(emulator),
    )
    shown = done.stdout.replace("'", "")  # annotations are shown as text
    for words in (
        "prompt: str | None = None",
        "style_reference_images: Sequence[ImageInput] | None = None",
        "Replaces the background of a photograph",
        "ledger: str | os.PathLike[str] | None = None",
        "-> ReplaceBackgroundResult",
    ):
        assert words in shown


# --- pytest -------------------------------------------------------------------------------------

SUITE = """
import pytest
from chainhub_async import ChainHub
from chainhub_async.testing.placeholder import flat_png

hub = ChainHub()

@pytest.fixture(scope="session")
def shared():
    with ChainHub() as hub:
        yield hub

@pytest.mark.parametrize("number", range(6))
def test_calls(shared, number):
    for client in (hub, shared, ChainHub()):
        result = client.ideogram.replace_background(flat_png((4, 4), str(number)), seed=number)
        assert result.images[0].seed == number
"""


def test_in_a_suite(tmp_path: Path, emulator: Emulator) -> None:
    """Global, in a fixture or dropped: clients of a test suite leave nothing for pytest to find."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_suite.py").write_text(SUITE)
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "pytest", "-q", "-p", "no:asyncio", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**where(emulator), "PYTHONASYNCIODEBUG": "0"},
    )
    assert "6 passed" in run.stdout, run.stdout + run.stderr
    assert run.stderr == ""
