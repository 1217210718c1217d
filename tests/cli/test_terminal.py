"""Progress on a terminal, a real one in a process of its own, and its parts here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chainhub_async.cli.bars import BarDisplay
from chainhub_async.cli.display import Display, PlainDisplay, display_for
from chainhub_async.cli.follower import Stage
from chainhub_async.cli.photos import Photo
from chainhub_async.testing import Emulator
from chainhub_async.testing.bad_answers import Answer
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import command, objects, until

Photos = Callable[[int], list[str]]
_REPLACE = ("replace-background", "--prompt", "x", "-o", "out")


class Terminal:
    """The command with standard error, and if wanted standard output, on a terminal."""

    def __init__(self, *arguments: str, stdout: int | None = subprocess.PIPE, **env: str) -> None:
        import pty

        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command(*_REPLACE, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            env={**os.environ, "COLUMNS": "80", **env},
        )
        os.close(theirs)
        self.shown = b""

    def read(self) -> bool:
        """Reads what is there; whether there can be more."""
        # At the end of a terminal Linux raises, others give nothing.
        with contextlib.suppress(OSError):
            piece = os.read(self.ours, 65536)
            self.shown += piece
            return bool(piece)
        return False

    def end(self) -> tuple[int, str, str]:
        """Waits for the end; returns the code, what was shown, and standard output."""
        while self.read():
            pass
        os.close(self.ours)
        stdout, _ = self.process.communicate(timeout=30)
        return self.process.returncode, self.shown.decode(), (stdout or b"").decode()


posix = pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")


@posix
def test_stages_are_shown(emulator: Emulator, photos: Photos) -> None:
    """Bars move on standard error, and paths go to standard output, wherever that is."""
    emulator.latency = 0.5
    code, shown, stdout = Terminal(*photos(3)).end()
    assert code == 0
    assert sorted(stdout.splitlines()) == ["out/p0.png", "out/p1.png", "out/p2.png"]
    assert "waiting for the gateway" in shown
    assert "3 photos" in shown
    assert "\x1b[" in shown
    assert shown.rstrip().endswith("3 photos: 3 saved.")
    assert "out/p0.png" not in shown


@posix
def test_both_streams_on_the_terminal(emulator: Emulator, photos: Photos) -> None:
    """Paths are written between the bars, one a line."""
    code, shown, _ = Terminal(*photos(1), stdout=None).end()
    assert code == 0
    assert "out/p0.png\r\n" in shown


@posix
def test_names_are_no_markup(emulator: Emulator, place: Path, photos: Photos) -> None:
    """Brackets are shown as they are, and control characters are not sent."""
    name = os.fsdecode(b"a[red]b\x1b]0;x\x07\xff.png")
    Path(photos(1)[0]).rename(place / name)
    code, shown, _ = Terminal(name, stdout=None).end()
    assert code == 0
    assert "a[red]b\\x1b]0;x" in shown
    assert "\x1b]0;" not in shown


@posix
@pytest.mark.parametrize("columns", ["1", "12", "30"])
def test_narrow_terminals(emulator: Emulator, photos: Photos, columns: str) -> None:
    """However narrow, it works."""
    code, shown, stdout = Terminal(*photos(2), COLUMNS=columns).end()
    assert code == 0
    assert len(stdout.splitlines()) == 2
    assert "Traceback" not in shown


@posix
def test_no_color(emulator: Emulator, photos: Photos) -> None:
    """With NO_COLOR nothing is coloured."""
    emulator.latency = 0.3
    _, shown, _ = Terminal(*photos(1), NO_COLOR="1").end()
    assert "\x1b[3" not in shown.replace("\x1b[39m", "")
    assert "\x1b[38" not in shown


@posix
def test_dumb_terminals_get_lines(emulator: Emulator, photos: Photos) -> None:
    """A terminal that cannot move its cursor is sent no sequences."""
    code, shown, _ = Terminal(*photos(1), TERM="dumb").end()
    assert code == 0
    assert "\x1b" not in shown
    assert "p0.png: waiting for the gateway\r\n" in shown


@posix
def test_failures_and_json(server: MisbehavingServer, photos: Photos) -> None:
    """Sentences stay on the terminal, JSON goes to standard output."""
    server.always(Answer.json({"error": {"message": "no [bold]forest[/]"}}, status=422))
    code, shown, stdout = Terminal(*photos(1), "--json", COLUMNS="200").end()
    assert code == 1
    assert "no [bold]forest[/]" in shown
    assert objects(stdout)[0]["state"] == "REFUSED"


@posix
def test_interrupted(emulator: Emulator, photos: Photos) -> None:
    """Ctrl-C takes the bars away, shows the cursor again, and leaves one sentence."""
    emulator.latency = 60.0
    terminal = Terminal(*photos(2))
    until(lambda: len(emulator.billed) == 2)
    os.kill(terminal.process.pid, signal.SIGINT)
    code, shown, _ = terminal.end()
    assert code == 130
    assert shown.rstrip().endswith("but not saved: p0.png, p1.png.")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "Traceback" not in shown


@posix
def test_standard_input_on_a_terminal() -> None:
    """A photo cannot be typed."""
    import pty

    ours, theirs = pty.openpty()
    done = subprocess.run(
        command(*_REPLACE, "-", "--emulator"),
        stdin=theirs,
        capture_output=True,
        check=False,
        timeout=30,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert b"is a terminal" in done.stderr


def test_bars_follow_the_work() -> None:
    """Bytes move a bar, a delay is named in it, and it goes with its photo."""
    photo = Photo(number=1, name="a[b].png", image="a[b].png", stem="a[b]")
    with BarDisplay(2) as display:
        assert isinstance(display, BarDisplay)
        display.begin(photo)
        row = display._progress.tasks[-1]
        display.advance(photo, Stage.UPLOAD, 5, 10)
        assert (row.completed, row.total, row.fields["stage"]) == (5, 10, "uploading")
        display.advance(photo, Stage.WAIT, 10, 10)
        assert row.total is None
        display.note(photo, "trying again")
        assert row.fields["stage"] == "trying again"
        with display.aside():
            assert not display._progress.live.is_started
        assert display._progress.live.is_started
        display.end(photo)
        assert [task.completed for task in display._progress.tasks] == [1]
        display.close()
        with display.aside():
            pass
        assert not display._progress.live.is_started


def test_what_suits_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars on a terminal, lines elsewhere, nothing if asked for quiet."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert type(display_for(1, quiet=True)) is Display
    assert type(display_for(1, quiet=False)) is BarDisplay
    monkeypatch.setenv("TERM", "dumb")
    assert type(display_for(1, quiet=False)) is PlainDisplay
