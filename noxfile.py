"""Everything that is run on this project: `nox --list`."""

from __future__ import annotations

import csv
import platform
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False

ROOT = Path(__file__).parent
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
PYPROJECT = nox.project.load_toml("pyproject.toml")
WHEELS = ROOT / ".nox" / "wheel"
BUILT: list[Path] = []  # once for all sessions
# The coverage session tests the Python in use, so that it needs no session of its own.
NOW = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [f"tests-{python}" for python in PYTHONS if python != NOW]
nox.options.sessions = ["demo", "lint", "types", "layers", "browser", *OTHERS, "coverage"]
# What takes long is tested once, and without coverage, which makes most of it several times slower.
SHORT, SLOW = ["-m", "not slow"], ["-m", "slow and not sweep"]


def group(name: str) -> list[str]:
    return list(nox.project.dependency_groups(PYPROJECT, name))


def install_wheel(session: nox.Session, *extras: str) -> None:
    """Installs the built wheel, never the checkout: what is tested is what is shipped."""
    if not BUILT:
        shutil.rmtree(WHEELS, ignore_errors=True)
        session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(WHEELS), ".")
        BUILT.extend(WHEELS.glob("*.whl"))
    (wheel,) = BUILT
    wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    session.install(wanted)


def run_pytest(session: nox.Session, *options: str) -> None:
    # From an empty directory, so that no process that a test starts imports the checkout.
    with session.chdir(session.create_tmp()):
        session.run(
            "pytest",
            "-n",
            "4",
            "--dist=worksteal",
            f"--rootdir={ROOT}",
            "-c",
            str(ROOT / "pyproject.toml"),
            *options,
        )


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the built wheel, on every Python there is."""
    install_wheel(session, "cli", "emulator")
    session.install(*group("tests"))
    run_pytest(session, *SHORT, str(ROOT / "tests"), *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests once, those that take long first, and ask for 95 % of all branches."""
    install_wheel(session, "cli", "emulator")
    session.install(*group("tests"))
    run_pytest(session, *SLOW, str(ROOT / "tests"))
    run_pytest(
        session,
        *SHORT,
        "--cov",
        f"--cov-config={ROOT / 'pyproject.toml'}",
        "--cov-report=term",
        str(ROOT / "tests"),
        *session.posargs,
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright, and that the public ones are complete."""
    session.install("-e", ".[cli,emulator]", *group("types"))
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "chainhub_async", "--ignoreexternal")


@nox.session
def layers(session: nox.Session) -> None:
    """Check that imports go down only."""
    session.install("-e", ".[cli]", *group("layers"))
    session.run("lint-imports")


@nox.session
def browser(session: nox.Session) -> None:
    """Run the tests of the gallery in headless Chromium, as it comes from npm."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        session.skip("Chromium for x86-64 Linux; elsewhere the tests use the one on PATH")
    install_wheel(session, "cli", "emulator")
    session.install(*group("tests"), *group("browser"))
    home = Path(session.create_tmp()).resolve()
    with session.chdir(home):
        quiet = ("--silent", "--no-audit", "--no-fund")
        session.run("npm", "install", *quiet, "@sparticuz/chromium@147.0.0")
    packed = home / "node_modules" / "@sparticuz" / "chromium" / "bin"
    session.run("python", "-c", UNPACK, str(packed), str(home), silent=True)
    session.env.update(
        {
            "CHAINHUB_TEST_CHROMIUM": str(home / "chromium"),
            "LD_LIBRARY_PATH": str(home / "lib"),
            "FONTCONFIG_PATH": str(home),
        }
    )
    run_pytest(session, str(ROOT / "tests" / "cli" / "test_gallery_browser.py"), *session.posargs)


# With the libraries and fonts that it needs, and a renderer for machines without graphics.
UNPACK = """
import io, pathlib, sys, tarfile, brotli
packed, home = map(pathlib.Path, sys.argv[1:])
for name in ("al2023", "fonts", "swiftshader"):
    data = brotli.decompress((packed / f"{name}.tar.br").read_bytes())
    tarfile.open(fileobj=io.BytesIO(data)).extractall(home)
(home / "chromium").write_bytes(brotli.decompress((packed / "chromium.br").read_bytes()))
(home / "chromium").chmod(0o755)
"""


@nox.session
def bench(session: nox.Session) -> None:
    """Measure side by side with other clients; `-- --full` for the long run."""
    install_wheel(session, "cli")
    session.install(*group("bench"))
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def crash(session: nox.Session) -> None:
    """Kill a batch of a thousand photographs fifty times, and fail every file operation of one."""
    install_wheel(session, "emulator")
    session.install(*group("tests"))
    session.env.update(
        {
            "CRASH_SWEEP": "full",
            "CRASH_PHOTOS": "1000",
            "CRASH_KILLS": "50",
            "BATCH_INPUTS": "100000",
        }
    )
    run_pytest(session, "--timeout=1800", "-s", str(ROOT / "tests" / "batch"), *session.posargs)


@nox.session(python="3.10")
def floors(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that are allowed."""
    install_wheel(session)
    session.install(*group("tests"))
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    allowed = [*PYPROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)]
    session.install(*(one.replace(">=", "==") for one in allowed))
    run_pytest(session, *SHORT, str(ROOT / "tests"), *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Make ten thousand calls through faults of every kind, twice."""
    install_wheel(session)
    session.install(*group("tests"))
    session.env["SOAK_CALLS"] = "10000"
    soaked = ROOT / "tests" / "transport" / "test_soak.py"
    run_pytest(session, "--timeout=900", str(soaked), *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Show what each fault costs, this client and others side by side."""
    install_wheel(session)
    session.install(*group("faults"))
    session.run("python", "benchmarks/faults.py", *session.posargs)


PHOTOS = {
    "chelsea.png": "a pine forest at dawn",
    "coffee.png": "a marble table in the sun",
    "astronaut.png": "snowy mountains",
}


@nox.session
def demo(session: nox.Session) -> None:
    """Replace the background of real photographs on the emulator, and show them side by side."""
    session.install(".[cli,emulator]")
    # Free photographs; without its dependencies the package is only a source of files.
    session.install("--no-deps", "--only-binary", ":all:", "scikit-image")
    where = "from importlib.util import find_spec; print(find_spec('skimage').origin)"
    package = Path((session.run("python", "-c", where, silent=True) or "").strip()).parent
    out = ROOT / "demo"
    shutil.rmtree(out, ignore_errors=True)
    (out / "before").mkdir(parents=True)
    manifest = out / "photos.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "prompt"])
        for name, prompt in PHOTOS.items():
            shutil.copy(package / "data" / name, out / "before" / name)
            rows.writerow([f"before/{name}", prompt])
    ledger, page = out / "demo.db", out / "index.html"
    session.run(
        *("chainhub", "batch", str(manifest), "--emulator", "--yes"),
        *("--output", str(out / "after"), "--ledger", str(ledger)),
    )
    session.run("chainhub", "gallery", str(ledger), "--output", str(page))
    session.log(f"Before and after: {out}")
    session.log(f"Gallery:          {page.as_uri()}")
