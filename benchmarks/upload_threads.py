"""The ways to upload a file with threads, and what runs without asyncio altogether."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from target import HEADERS, PATH, PROMPT, OwnLoop, Run, Target
from upload_contenders import raw_answer, raw_request
from upload_pycurl import PycurlMulti


def in_threads(to: Target, prepare: Callable[[], Callable[[int], Any]]) -> Run:
    """Returns a run with as many threads as there are calls at once; each prepares for itself."""
    prepared = [prepare() for _ in range(to.parallel)]

    def run(numbers: Iterable[int], times: list[float]) -> None:
        left, lock = iter(numbers), threading.Lock()
        problems: list[Exception] = []

        def taken() -> int | None:
            with lock:
                return next(left, None)

        def work(upload: Callable[[int], Any]) -> None:
            try:
                while (number := taken()) is not None:
                    began = time.perf_counter()
                    upload(number)
                    times.append(time.perf_counter() - began)
            except Exception as problem:
                problems.append(problem)

        threads = [threading.Thread(target=work, args=[upload]) for upload in prepared]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]

    return run


def requests_threads(to: Target) -> Run:
    """What most people use where nothing is awaited; it reads the whole file into memory."""
    import requests

    def prepare() -> Callable[[int], Any]:
        session = requests.Session()
        session.trust_env = False
        session.headers.update(HEADERS)
        session.verify = to.ca or True

        def upload(number: int) -> Any:
            with to.file(number).open("rb") as image:
                files = {"image": ("image.png", image, "image/png")}
                reply = session.post(to.url + PATH, data={"prompt": PROMPT}, files=files)
                reply.raise_for_status()
                return reply.json()

        return upload

    return in_threads(to, prepare)


def blocking_sendfile(to: Target) -> Run:
    """The other limit: threads with blocking sockets, and the kernel copies the file."""
    parts = urlsplit(to.url)

    def prepare() -> Callable[[int], Any]:
        connection = socket.create_connection((parts.hostname or "", parts.port or 80))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def upload(number: int) -> Any:
            file = to.file(number)
            head, after = raw_request(to, file)
            connection.sendall(head)
            with file.open("rb") as image:
                connection.sendfile(image)
            connection.sendall(after)
            reply = b""
            while (answer := raw_answer(reply)) is None:
                received = connection.recv(65536)
                if not received:
                    raise ConnectionResetError("closed by the server")
                reply += received
            return answer

        return upload

    return in_threads(to, prepare)


OWN_LOOP: dict[str, OwnLoop] = {
    "pycurl-multi": lambda to: PycurlMulti(to).run,
    "requests-threads": requests_threads,
    "blocking-sendfile": blocking_sendfile,
}
