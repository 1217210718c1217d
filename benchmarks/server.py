"""The servers that clients are measured against, and one that reads what it gets.

`sink.c` throws uploads away and `source.c` serves one file; where there is no C compiler, the
modules of the same names do. The reader only runs before the clock does: it makes sure that every
contender sends the right thing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from email import message_from_bytes, policy
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
from machine import pinned
from target import KEY, PROMPT

HERE = Path(__file__).parent
RESULTS = HERE / "results"

ANSWER = (
    b'{"created":"2026-01-05T10:11:12Z","data":[{"url":"http://127.0.0.1/a.png","prompt":"p",'
    b'"resolution":"1x1","is_image_safe":true,"seed":1}]}'
)


@attrs.frozen
class Running:
    """A server in a process of its own."""

    url: str
    process: int


@cache
def built(name: str, *, tls: bool = False) -> Path | None:
    """Returns a compiled server, or None where there is no compiler.

    It has TLS if OpenSSL's headers are there; with `tls` there is none without.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    RESULTS.mkdir(exist_ok=True)
    program = RESULTS / name
    command = [compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c")]
    for more in [["-DWITH_TLS", "-lssl", "-lcrypto"], *([] if tls else [[]])]:
        if subprocess.run([*command, *more], capture_output=True, check=False).returncode == 0:
            return program
    return None


def certificate(folder: Path) -> tuple[str, str, str]:
    """Returns files with a CA, a certificate of 127.0.0.1, and its key."""
    import trustme

    ca, names = trustme.CA(), ("ca.pem", "server.pem", "server.key")
    issued = ca.issue_cert("127.0.0.1", "localhost")
    found = [folder / name for name in names]
    ca.cert_pem.write_to_path(str(found[0]))
    found[1].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(found[2]))
    return str(found[0]), str(found[1]), str(found[2])


@contextmanager
def sink(
    *, delay_ms: int = 0, slow: bool = False, tls: tuple[str, str] | None = None
) -> Generator[Running, None, None]:
    """Runs a server that takes any upload.

    Args:
        delay_ms: how long it waits before each answer.
        slow: whether it reads slowly.
        tls: its certificate and key.
    """
    program = built("sink", tls=tls is not None)
    if program is None and (delay_ms or slow or tls):
        raise SystemExit("This cell needs a C compiler (and OpenSSL's headers for TLS).")
    options = [str(delay_ms), str(int(slow)), *(tls or ())] if program else []
    with _running("sink", options, "https" if tls else "http") as running:
        yield running


@contextmanager
def source(image: Path) -> Generator[Running, None, None]:
    """Runs a server that answers everything with one file."""
    with _running("source", [str(image)], "http") as running:
        yield running


@contextmanager
def _running(name: str, options: list[str], scheme: str) -> Generator[Running, None, None]:
    program = built(name)
    command = [str(program)] if program else [sys.executable, str(HERE / f"{name}.py")]
    with subprocess.Popen(
        [*pinned(0), *command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield Running(f"{scheme}://127.0.0.1:{server.stdout.readline().strip()}", server.pid)
        finally:
            server.kill()


_counting = threading.Lock()


class _Reader(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    image = b""
    seen = 0
    wrong = 0

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self._chunks()
        kind = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = message_from_bytes(kind + body, policy=policy.HTTP)
        fields = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in form.iter_parts()
        }
        right = fields.get("image") == self.image and fields.get("prompt") == PROMPT.encode()
        right = right and self.headers["Authorization"] == f"Bearer {KEY}"
        with _counting:
            type(self).seen += right
            type(self).wrong += not right
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@contextmanager
def reader(image: bytes) -> Generator[tuple[str, type[_Reader]], None, None]:
    """Runs a server that counts right uploads of `image`; yields its URL and what has counted."""
    handler = type("_ReaderOfOne", (_Reader,), {"image": image})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
