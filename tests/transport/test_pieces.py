"""Responses that come in many pieces, of many calls at once, on more than one loop."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from chainhub_async import ChainHub, Limits, RetryPolicy, Timeout

from .conftest import client_context, server_context

CALLS = 16


class Echo(BaseHTTPRequestHandler):
    """Answers with 700 KB that are made of the request's own path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = expected(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # Uneven pieces, some longer than what is read at a time, some shorter.
        for start in range(0, len(body), 90_001):
            self.wfile.write(body[start : start + 90_001])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Says nothing."""


def expected(path: str) -> bytes:
    return b'"%s"' % (path.encode() * (700_000 // len(path)))


class Server(ThreadingHTTPServer):
    """Takes the connections of all calls."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


@contextmanager
def served(context: ssl.SSLContext | None) -> Generator[str, None, None]:
    with Server(("127.0.0.1", 0), Echo) as server:
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_none_gets_anothers(authority: trustme.CA, secure: bool) -> None:
    """What two loops read at the same time, each for many calls, is never mixed up."""
    trust = client_context(authority) if secure else None
    context = server_context(authority, "127.0.0.1") if secure else None
    with ExitStack() as stack:
        address = stack.enter_context(served(context))
        hubs = [
            stack.enter_context(
                ChainHub(
                    "key",
                    base_url=address,
                    ssl_context=trust,
                    limits=Limits(in_flight=CALLS),
                    timeout=Timeout(total=20),
                    retry=RetryPolicy(max_attempts=1),
                )
            )
            for _ in range(2)
        ]

        def call(number: int) -> None:
            path = f"/{number:06}"
            reply = hubs[number % 2].request("POST", path, json={})
            assert reply.body == expected(path)

        with ThreadPoolExecutor(2 * CALLS) as threads:
            list(threads.map(call, range(200)))
