"""Splits that a list file states: a line for each frame, its name or the paths of its image and its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from adl.dataset.descriptor import DatasetDescriptor
from adl.prepare import DataError, Problem, unreadable

Pair = tuple[Path, Path]
"""Image and label."""


def read(path: Path) -> list[tuple[int, list[str]]]:
    """Number and words of each line of a list that is neither blank nor a comment. Raises DataError if there is none.

    Words are parted by tabs, else by spaces.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(unreadable(path, error)) from None
    except UnicodeDecodeError as error:
        raise DataError(
            Problem("list", path, f"not UTF-8 text ({error})", "it is no list", "Save it as UTF-8.")
        ) from None
    lines = [
        (number, line.strip().split("\t") if "\t" in line.strip() else line.split())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        remedy = "Write a line for each frame: its name, or the paths of its image and its label."
        raise DataError(Problem("list", path, "lists nothing", "it was not filled in", remedy))
    return lines


def files(
    lines: Sequence[tuple[int, list[str]]], path: Path, root: Path, dataset: DatasetDescriptor, split: str
) -> tuple[dict[str, Pair], list[Problem]]:
    """Name of each listed frame → its files, which exist; and what is wrong with the others."""
    found: dict[str, Pair] = {}
    problems: list[Problem] = []
    prefix = dataset.splits[split].prefix
    withheld = split in dataset.withheld
    for number, words in lines:
        place = f"line {number}"
        if len(words) == 1 and not withheld and PurePosixPath(words[0]).suffix.lower() in _SUFFIXES:
            problems.append(_with_suffix(path, place, words[0]))
            continue
        if len(words) > 2:
            remedy = "Part them by a tab if they contain spaces."
            problems.append(Problem("list", path, f"{place} has {len(words)} words", "paths contain spaces", remedy))
            continue
        name, pair = _frame(words, root, dataset, split, prefix)
        missing = [file for file in pair[: 1 if withheld else 2] if not file.exists()]
        if name in found:
            remedy = "Rename one of the two: results bear the name of the image."
            problem = f"{place} lists {name} once more: {found[name][0]} and {pair[0]}"
            problems.append(Problem("list", path, problem, "two folders hold images of one name", remedy))
        elif missing:
            problems.append(_missing(path, place, words, missing[0], root, dataset))
        else:
            found[name] = pair
    if not found and problems and problems[0].kind == "list prefix":
        # The same is wrong with every line.
        problems = problems[:1]
    return found, problems


def folders(path: Path, root: Path, dataset: DatasetDescriptor, split: str) -> list[Path]:
    """Those in which the files lie that a list names, whether they exist or not. Raises DataError if it lists none."""
    prefix = dataset.splits[split].prefix
    found = {file.parent for _, words in read(path) for file in _frame(words, root, dataset, split, prefix)[1]}
    return sorted(found)


_SUFFIXES = {".png", ".jpg", ".jpeg", ".json", ".txt", ".tif", ".tiff", ".bmp"}


def _frame(words: Sequence[str], root: Path, dataset: DatasetDescriptor, split: str, prefix: str) -> tuple[str, Pair]:
    """Name and files of a line's frame."""
    if len(words) == 2 or PurePosixPath(words[0]).suffix.lower() in _SUFFIXES:
        image, label = (root / word.removeprefix(prefix).lstrip("/") for word in (words[0], words[-1]))
        return image.stem, (image, label)
    group, _, name = words[0].rpartition("/")
    folder = dataset.splits[split].folder
    image = dataset.images.path(root, folder, group, name)
    others = (image.with_suffix(suffix) for suffix in dataset.images.suffixes)
    image = next((other for other in (image, *others) if other.exists()), image)
    return name, (image, dataset.labels.path(root, folder, group, name))


def _with_suffix(path: Path, place: str, word: str) -> Problem:
    return Problem(
        kind="list",
        file=path,
        problem=f"{place} lists {word}, with a suffix and without a label",
        cause="it was made by listing the folder of the images",
        remedy=f"Write the name alone ({PurePosixPath(word).stem}), or the paths of the image and of its label.",
    )


def _missing(
    path: Path, place: str, words: Sequence[str], file: Path, root: Path, dataset: DatasetDescriptor
) -> Problem:
    if len(words) == 2:
        for prefix in _prefixes(words[0]):
            if (root / words[0].removeprefix(prefix)).exists():
                return Problem(
                    kind="list prefix",
                    file=path,
                    problem=f"its paths begin with {prefix}, which exists nowhere",
                    cause="it was made on another machine",
                    remedy=f'Write `prefix: "{prefix}"` below its `list:`.',
                )
    cause = "it was moved or renamed, or the list is of another version"
    if not file.parent.is_dir():
        cause = f"there is no folder {file.parent}"
    remedy = f"Add the file, remove the line, or correct the patterns in the data set's file ({dataset.name})."
    return Problem("list", path, f"{place}: {file} does not exist", cause, remedy)


def _prefixes(word: str) -> Iterator[str]:
    """What a path may begin with that is no folder here: the shortest first."""
    parts = word.split("/")
    for length in range(1, len(parts)):
        yield "/".join(parts[:length]) + "/"
