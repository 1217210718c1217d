"""The entry point: quick, and clear about what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chainhub_async import __version__
from chainhub_async.cli import exits, main
from chainhub_async.cli.app import chainhub

from .conftest import call, command


@pytest.mark.parametrize("arguments", [["--help"], ["replace-background", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    """Help comes at once: neither client nor rich is imported for it."""
    code = (
        "import sys\n"
        "from chainhub_async.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'aiohttp', 'anyio', 'rich'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, b"[]\n")


def test_help_names_commands_and_codes() -> None:
    """Every command and every exit code is in the help."""
    text = call("--help").stdout
    for word in ("replace-background", "emulator", "doctor", "CHAINHUB_API_KEY"):
        assert word in text
    for code in ("129, 130, 143", *"012345"):
        assert f"\n    {code} " in text
    known = call("replace-background", "--help").stdout
    for word in ("WATERCOLOR", "TURBO", "AUTO"):
        assert word in known


def test_version() -> None:
    """--version names the package's version."""
    assert call("--version").stdout == f"chainhub {__version__}\n"


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(missing: str) -> None:
    """One sentence names what to install, with the code for "not set up"."""
    before = f"import sys; sys.modules['{missing}'] = None\n"
    done = subprocess.run(
        command("--help", before=before), capture_output=True, check=False, timeout=30
    )
    assert done.returncode == exits.NOT_SET_UP
    assert done.stderr.decode() == (
        f'The command line needs {missing}: run pip install "chainhub-async[cli]".\n'
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["nonsense"], 2),
        (["replace-background"], 2),
        (["replace-background", "x.png", "--prompt", "y"], 3),
    ],
)
def test_codes_of_the_process(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    """What the commands end with is what the process ends with."""
    monkeypatch.setattr(sys, "argv", ["chainhub", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code


@pytest.mark.parametrize("inside", [True, False])
def test_interrupted_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, inside: bool
) -> None:
    """Ctrl-C outside of the work, too, is code 130 without a traceback."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["chainhub", "doctor"])
    monkeypatch.setattr(chainhub, "invoke" if inside else "main", interrupt)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == exits.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("codes", "together"),
    [
        (set[int](), 0),
        ({0}, 0),
        ({2}, 2),
        ({0, 2}, 1),
        ({1, 2}, 1),
        ({0, 1, 3}, 3),
        ({1, 3, 4}, 4),
        ({0, 1, 2, 3, 4, 5}, 5),
    ],
)
def test_precedence(codes: set[int], together: int) -> None:
    """What may be billed outranks all; a mistake counts only if it is in every photo."""
    assert exits.of_many(codes) == together
