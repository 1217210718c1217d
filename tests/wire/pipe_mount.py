"""A mount whose files are served through a pipe (FUSE), by this module run as a program.

Needs Linux, root and /dev/fuse, and no library. The server is a process of its own, since whoever
looks at a file may hold the interpreter meanwhile. What it speaks is <linux/fuse.h>.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import select
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

# The server leaves by itself after this many seconds, should it be forgotten.
_LIFETIME = 30.0

_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _STATFS = 1, 2, 3, 14, 15, 17
_RELEASE, _FLUSH, _INIT, _ACCESS, _INTERRUPT, _FORGET_SOME = 18, 25, 26, 34, 36, 42
_UNANSWERED = {_FORGET, _INTERRUPT, _FORGET_SOME}

_HEAD, _ANSWER = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
_VERSION, _ROOT = (7, 31), 1
_READ_ONLY, _NO_SUID, _NO_DEVICES, _DETACH = 1, 2, 4, 2


class RefusedError(Exception):
    """This system does not let the mount come about; says why."""


class PipeMount:
    """A mount and the process that serves it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def heard(self, within: float = 20) -> str:
        """Waits for the next line of the server. Blocks."""
        output = _there(self._process.stdout)
        if not select.select([output], [], [], within)[0]:
            raise TimeoutError("the server of the mount says nothing")
        return output.readline().decode().strip()

    def start(self, *what: Any) -> None:
        given = _there(self._process.stdin)
        pickle.dump(what, given)
        given.flush()

    def kill(self) -> None:
        """Ends the server without a word: the kernel fails whatever waits for it."""
        self._process.kill()
        self._process.wait(20)


@contextmanager
def mounted(
    place: Path, files: dict[str, bytes], *, silent_from: int | None = None
) -> Generator[PipeMount]:
    """Mounts a directory with these files, to be read only, at a place that does not exist yet.

    Args:
        place: where.
        files: what it contains.
        silent_from: a read that reaches this position of a file is never answered; the server says
            "silent" when it gets the first.

    Raises:
        RefusedError: this system does not allow it.
    """
    place.mkdir()
    # Without site-packages: it starts sooner, and is not measured. In a session of its own, so that
    # Ctrl-C does not reach it: it unmounts when its input ends, however its parent did.
    with subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        mount = PipeMount(process)
        try:
            mount.start(os.fspath(place), files, silent_from)
            if (heard := mount.heard()) != "mounted":
                raise RefusedError(heard or "the server of the mount ended")
            yield mount
        finally:
            # Nothing of this waits for an answer: not even a mount that has gone silent stays.
            mount.kill()
            _unmount(os.fspath(place))


def _there(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(pipe: int, place: str) -> None:
    options = f"fd={pipe},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    flags = ctypes.c_ulong(_READ_ONLY | _NO_SUID | _NO_DEVICES)
    if _libc().mount(b"pipe", os.fsencode(place), b"fuse", flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount(2): {os.strerror(number)}")


def _unmount(place: str) -> None:
    # Fails where it is no longer mounted, or never was.
    _libc().umount2(os.fsencode(place), _DETACH)


class _Directory:
    """Answers the requests of the kernel; files have the numbers after the root's."""

    def __init__(self, files: dict[str, bytes], silent_from: int | None) -> None:
        self._numbers = {os.fsencode(name): _ROOT + at for at, name in enumerate(files, 1)}
        self._contents = dict(zip(self._numbers.values(), files.values(), strict=True))
        self._silent_from = silent_from
        self._changed = time.time_ns()

    def answer(self, operation: int, node: int, body: bytes) -> bytes | None:
        """Returns what to answer, or None for nothing at all."""
        if operation == _INIT:
            return struct.pack("=IIIIHHII32x", *_VERSION, 1 << 17, 0, 12, 9, 4096, 1)
        if operation == _LOOKUP:
            return self._found(body.rstrip(b"\0"))
        if operation == _GETATTR:
            return struct.pack("=QII", 0, 0, 0) + self._attributes(node)
        if operation == _READ:
            return self._read(node, *struct.unpack_from("=QI", body, 8))
        if operation == _STATFS:
            return struct.pack("=5Q3I28x", 0, 0, 0, len(self._contents), 0, 4096, 255, 4096)
        if operation == _OPEN:
            return bytes(16)
        if operation in {_RELEASE, _FLUSH, _ACCESS}:
            return b""
        raise OSError(errno.ENOSYS, "not needed here")

    def _found(self, name: bytes) -> bytes:
        if name not in self._numbers:
            raise OSError(errno.ENOENT, "no such file")
        number = self._numbers[name]
        # Nothing is remembered by the kernel, so that every look at a file comes through the pipe.
        return struct.pack("=QQQQII", number, 0, 0, 0, 0, 0) + self._attributes(number)

    def _attributes(self, node: int) -> bytes:
        mode = stat.S_IFREG | 0o444 if node != _ROOT else stat.S_IFDIR | 0o555
        size = len(self._contents.get(node, b""))
        seconds, rest = divmod(self._changed, 10**9)
        return struct.pack(
            "=6Q10I",
            *(node, size, -(-size // 512), seconds, seconds, seconds),
            *(rest, rest, rest, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0),
        )

    def _read(self, node: int, at: int, size: int) -> bytes | None:
        if self._silent_from is not None and at + size > self._silent_from:
            _say("silent")
            return None
        return self._contents[node][at : at + size]


def _say(line: str) -> None:
    # Nobody may be there to hear it any more.
    with suppress(BrokenPipeError):
        os.write(1, f"{line}\n".encode())


def _serve(pipe: int, directory: _Directory) -> None:
    """Answers until the input ends, the mount is gone, or too much time has passed."""
    end = time.monotonic() + _LIFETIME
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([0, pipe], [], [], left)
        if 0 in ready:
            return
        if not ready:
            continue
        try:
            request = os.read(pipe, 1 << 18)
        except OSError as problem:
            if problem.errno == errno.ENODEV:
                return
            continue  # the request was withdrawn before it was read
        _, operation, unique, node, *_ = _HEAD.unpack_from(request)
        if operation in _UNANSWERED:
            continue
        failure, answer = 0, None
        try:
            answer = directory.answer(operation, node, request[_HEAD.size :])
        except OSError as problem:
            failure, answer = problem.errno or errno.EIO, b""
        if answer is not None:
            # Fails where whoever asked was killed meanwhile.
            with suppress(OSError):
                size = _ANSWER.size + len(answer)
                os.write(pipe, _ANSWER.pack(size, -failure, unique) + answer)


def main() -> None:
    # Nothing comes after it, so what select sees of the input from here on is its end.
    place, files, silent_from = pickle.load(sys.stdin.buffer)
    try:
        pipe = os.open("/dev/fuse", os.O_RDWR)
        _mount(pipe, place)
    except OSError as problem:
        _say(f"no mount: {problem}")
        return
    try:
        _say("mounted")
        _serve(pipe, _Directory(files, silent_from))
    finally:
        _unmount(place)


if __name__ == "__main__":
    main()
