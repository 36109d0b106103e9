"""Looking into folders that may be missing, forbidden, or links to nowhere."""

from __future__ import annotations

import os
from pathlib import Path

from adl.errors import nearest
from adl.prepare.faults import Fault, is_broken_link, is_folder, unreadable


def barred(folder: Path) -> list[Fault]:
    """Why a folder that is there cannot be entered; empty if it can, or if it is missing."""
    try:
        (folder / "..").stat()  # its parent, seen through it
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError) and not is_broken_link(
            folder
        )
        return [] if missing else [unreadable(folder, error, "listed")]
    return []


def entries(folder: Path) -> tuple[list[Path], list[Fault]]:
    """What is in a folder, sorted, without what is hidden, and why it cannot be listed."""
    faults = barred(folder)
    if faults:
        return [], faults
    try:
        return sorted(
            Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith(".")
        ), []
    except OSError as error:
        return [], [unreadable(folder, error, "listed")]


def subfolders(place: Path) -> list[Path]:
    """Folders in a folder, sorted; none if it cannot be listed."""
    return [path for path in entries(place)[0] if is_folder(path)]


def hidden(place: Path) -> int:
    """Hidden files and folders in a folder and in the folders below it, as macOS and Jupyter leave them."""
    count = 0
    for folder in (place, *subfolders(place)):
        try:
            count += sum(path.name.startswith(".") for path in folder.iterdir())
        except OSError:
            continue
    return count


def misspelt(name: str, candidates: list[Path]) -> Path | None:
    """The folder that was probably meant by a name."""
    by_name = {path.name.lower(): path for path in candidates}
    meant = nearest(name.lower(), by_name, cutoff=0.75)
    if meant is None:
        meant = next(
            (candidate for candidate in by_name if candidate.startswith(name.lower())), None
        )
    return by_name[meant] if meant else None
