"""Uploads with the loop of libcurl itself, which is C.

Its own `select` overlooks sockets from number 1024 on, so epoll tells it what is ready.
"""

from __future__ import annotations

import json
import select
import time
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from target import KEY, PATH, PROMPT, Target


class PycurlMulti:
    """One multi handle, and as many easy ones as there are uploads at once."""

    def __init__(self, to: Target) -> None:
        import pycurl

        self._curl: Any = pycurl
        self._to = to
        self._poller = select.epoll()
        self._timer = -1.0
        self._multi: Any = pycurl.CurlMulti()
        self._multi.setopt(self._curl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(self._curl.M_TIMERFUNCTION, self._remind)
        self._multi.setopt(self._curl.M_MAXCONNECTS, to.parallel)
        self._idle = [self._handle() for _ in range(to.parallel)]

    def run(self, numbers: Iterable[int], times: list[float]) -> None:
        left, going, more = iter(numbers), 0, True
        while more or going:
            while more and self._idle:
                number = next(left, None)
                if number is None:
                    more = False
                else:
                    self._start(self._idle.pop(), number)
                    going += 1
            if going:
                self._step()
                going -= self._finished(times)

    def _handle(self) -> Any:
        handle = self._curl.Curl()
        handle.setopt(self._curl.URL, self._to.url + PATH)
        handle.setopt(self._curl.HTTPHEADER, [f"Authorization: Bearer {KEY}", "Expect:"])
        handle.setopt(self._curl.PROXY, "")
        if self._to.ca:
            handle.setopt(self._curl.CAINFO, self._to.ca)
        return handle

    def _start(self, handle: Any, number: int) -> None:
        handle.reply = BytesIO()
        handle.started = time.perf_counter()
        file = (
            self._curl.FORM_FILE,
            str(self._to.file(number)),
            self._curl.FORM_FILENAME,
            "image.png",
            self._curl.FORM_CONTENTTYPE,
            "image/png",
        )
        handle.setopt(self._curl.HTTPPOST, [("prompt", PROMPT), ("image", file)])
        handle.setopt(self._curl.WRITEDATA, handle.reply)
        self._multi.add_handle(handle)

    def _step(self) -> None:
        ready = self._poller.poll(self._timer if self._timer >= 0 else 1.0)
        if not ready:
            self._timer = -1.0
            self._multi.socket_action(self._curl.SOCKET_TIMEOUT, 0)
        for number, event in ready:
            flags = 0
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                flags |= self._curl.CSELECT_IN
            if event & select.EPOLLOUT:
                flags |= self._curl.CSELECT_OUT
            self._multi.socket_action(number, flags)

    def _finished(self, times: list[float]) -> int:
        _, ended, failed = self._multi.info_read()
        if failed:
            raise OSError(failed[0][2])
        for handle in ended:
            self._multi.remove_handle(handle)
            if handle.getinfo(self._curl.RESPONSE_CODE) != 200:
                raise OSError(handle.getinfo(self._curl.RESPONSE_CODE))
            json.loads(handle.reply.getvalue())
            times.append(time.perf_counter() - handle.started)
            self._idle.append(handle)
        return len(ended)

    def _watch(self, what: int, number: int, *_: Any) -> None:
        if what == self._curl.POLL_REMOVE:
            self._poller.unregister(number)
            return
        events = select.EPOLLIN if what & self._curl.POLL_IN else 0
        events |= select.EPOLLOUT if what & self._curl.POLL_OUT else 0
        try:
            self._poller.modify(number, events)
        except FileNotFoundError:
            self._poller.register(number, events)

    def _remind(self, milliseconds: int) -> None:
        self._timer = milliseconds / 1000
