"""What a power cut leaves: the names and contents that were flushed to disk, and nothing else.

Harsher than most file systems are: a file that was created and written, but not flushed, is empty;
one whose directory was not flushed after that has no name.
"""

from __future__ import annotations

import shutil
from pathlib import Path


def cut_power(place: Path, disk: Path) -> None:
    """Puts the place into the state that a power cut would have left."""
    listings: dict[str, list[str]] = {}
    for listing in sorted(disk.glob("d*"), key=lambda path: int(path.name[1:])):
        name, *entries = listing.read_text().splitlines()
        listings[name] = entries
    for folder in (place, place / "out"):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_file():
                path.unlink()
        for entry in listings.get(str(folder), []):
            content, _, file = entry.partition(" ")
            _restore(folder / file, disk / content)


def _restore(file: Path, content: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    if content.exists():
        shutil.copy2(content, file)
    else:
        file.touch()
