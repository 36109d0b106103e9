"""The folders: which frames are there, and, where something is missing, which folder was meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from adl.cityscapes import IMAGE_SUFFIX, IMAGES, LABEL_SUFFIX, LABELLED, Frame, image_path, label_path
from adl.cityscapes.faults import ZIPS, DataError, Fault

_SUFFIXES = {IMAGES: IMAGE_SUFFIX, LABELLED: LABEL_SUFFIX}
_OTHER_LABELS = {
    "_gtFine_labelTrainIds.png": "train ids, which others made",
    "_gtFine_color.png": "the coloured picture for people",
    "_gtFine_instanceIds.png": "the instances, 16-bit",
    "_gtFine_polygons.json": "the outlines",
}
_DEEPEST = 2


def frames(root: str | Path, split: str) -> list[Frame]:
    """Every image of a split with its label, sorted by city and name. Raises DataError with every fault."""
    found, faults = pairs(Path(root), split)
    if faults:
        raise DataError(faults)
    return found


def pairs(root: Path, split: str) -> tuple[list[Frame], list[Fault]]:
    """The complete frames of a split, sorted by city and name, and what is wrong with the layout."""
    missing = missing_folders(root)
    if missing:
        return [], missing
    images, image_faults = _files(root, IMAGES, split)
    labels, label_faults = _files(root, LABELLED, split)
    faults = image_faults + label_faults
    if not images or not labels:
        return [], faults
    faults += [_without_label(root, split, path) for name, path in images.items() if name not in labels]
    faults += [_without_image(root, split, path) for name, path in labels.items() if name not in images]
    return [Frame(name, path, labels[name]) for name, path in images.items() if name in labels], faults


def unlabelled(root: Path, split: str) -> tuple[list[Frame], list[Fault]]:
    """The frames of a split whose labels do not matter (the test split), and what is wrong with the layout."""
    found, faults = _files(root, IMAGES, split)
    return [Frame(name, path, label_path(root, split, path.parent.name, name)) for name, path in found.items()], faults


def missing_folders(root: Path) -> list[Fault]:
    """Why leftImg8bit/ or gtFine/ is not in `root`; empty where both are."""
    if not root.exists():
        close = difflib.get_close_matches(root.name, [p.name for p in _folders(root.absolute().parent)], n=1)
        meant = f"Did you mean {root.parent / close[0]}?" if close else "Name the folder that holds both"
        return [Fault("data_path", root, "does not exist", "a misspelt or moved folder", meant.rstrip("?"))]
    if not root.is_dir():
        return [Fault("data_path", root, "is a file", "the zip is not unpacked", "Unpack it, and name the folder")]
    missing = [folder for folder in ZIPS if not (root / folder).is_dir()]
    faults = [_missing_folder(root, folder) for folder in missing]
    # Where one sentence explains both, it is said once.
    return list({(f.problem if "holds neither" in f.problem else f.cause, f.remedy): f for f in faults}.values())


def _missing_folder(root: Path, folder: str) -> Fault:
    def fault(cause: str, remedy: str) -> Fault:
        neither = all(not (root / name).is_dir() for name in ZIPS)
        problem = f"holds neither {IMAGES}/ nor {LABELLED}/" if neither else f"holds no {folder}/"
        return Fault("layout", root, problem, cause, remedy)

    for above in list(root.absolute().parents)[:3]:
        if (above / IMAGES).is_dir() and (above / LABELLED).is_dir():
            return fault("data_path lies inside the data set", f"Set data_path to {above}")
    if below := next(_below(root, folder), None):
        other = next(name for name in ZIPS if name != folder)
        if (below.parent / other).is_dir():
            return fault("data_path lies above the data set", f"Set data_path to {below.parent}")
        return fault(f"the zip was unpacked in a folder of its own, {below.parent}", f"Move {below} to {root / folder}")
    if meant := _misspelt(folder, _folders(root)):
        return fault(f"{meant.name} is misspelt", f"Rename {meant} to {root / folder}")
    if packed := sorted(root.glob(f"{folder}*.zip")):
        return fault(f"{packed[0].name} is still packed", f"Unpack it there: unzip {packed[0]} -d {root}")
    if folder == LABELLED and (root / "gtCoarse").is_dir():
        return fault("gtCoarse are the coarse labels, which are not used", f"Unpack {ZIPS[LABELLED]} in {root}")
    if len(present := [name for name in ZIPS if (root / name).is_dir()]) == 1:
        return fault(f"only {ZIPS[present[0]].split()[0]} is unpacked here", f"Unpack {ZIPS[folder]} in {root} too")
    return fault(
        "this is not the folder of Cityscapes",
        f"Unpack {' and '.join(ZIPS.values())} in one folder, and set data_path to it",
    )


def _files(root: Path, folder: str, split: str) -> tuple[dict[str, Path], list[Fault]]:
    """Frame → file of one split of leftImg8bit or gtFine, sorted by city and name, and what is wrong there."""
    place, suffix = root / folder / split, _SUFFIXES[folder]
    expected = f"{folder}/{split}/<city>/*{suffix}"
    if not place.is_dir():
        meant = _misspelt(split, _folders(root / folder))
        fault = Fault(
            "layout",
            place,
            "does not exist",
            f"{meant.name} is misspelt" if meant else "the zip was not unpacked to its end",
            f"Rename {meant} to {place}" if meant else f"Unpack {ZIPS[folder]} again",
        )
        return {}, [fault]
    faults: list[Fault] = []
    found: dict[str, Path] = {}
    others: list[Path] = []
    for city in [place, *_folders(place)]:
        try:
            entries = sorted(Path(entry.path) for entry in os.scandir(city))
        except OSError as error:
            faults.append(
                Fault(
                    "unreadable",
                    city,
                    f"cannot be listed ({error.strerror})",
                    "it belongs to another user",
                    "Give yourself the right to read it (chmod -R u+rX)",
                )
            )
            continue
        for path in entries:
            name = path.name.removesuffix(suffix)
            if name == path.name or city == place:
                others += [path] if path.suffix and not path.is_dir() else []
            elif name in found:
                faults.append(
                    Fault(
                        "duplicate frame",
                        path,
                        f"this frame is also in another city: {found[name]}",
                        "a folder was copied or unpacked into another",
                        f"Keep the one in the folder {name.split('_', maxsplit=1)[0]}",
                    )
                )
            else:
                found[name] = path
    if not found and not faults:
        faults.append(_none_found(place, folder, expected, others))
    return found, faults


def _none_found(place: Path, folder: str, expected: str, others: list[Path]) -> Fault:
    problem = f"no file {expected} was found"
    if not others:
        return Fault("layout", place, problem, "the zip was not unpacked to its end", f"Unpack {ZIPS[folder]} again")
    example = others[0]
    kind = next((what for suffix, what in _OTHER_LABELS.items() if example.name.endswith(suffix)), None)
    if kind:
        cause = f"there are only other kinds of labels, as {example.name}: {kind}"
        return Fault("label encoding", place, problem, cause, f"Unpack {ZIPS[LABELLED]} again: it holds _labelIds.png")
    if example.parent == place:
        cause, remedy = f"files lie directly in it, as {example.name}", "Put each in the folder of its city"
    else:
        cause = f"the files there have other names, as {example.name}"
        remedy = f"Name them <city>_<sequence>_<frame>{_SUFFIXES[folder]}"
    return Fault("layout", place, problem, cause, remedy)


def _without_label(root: Path, split: str, image: Path) -> Fault:
    name = image.name.removesuffix(IMAGE_SUFFIX)
    label = label_path(root, split, image.parent.name, name)
    kinds = [(suffix, what) for suffix, what in _OTHER_LABELS.items() if label.with_name(f"{name}{suffix}").exists()]
    if kinds:
        cause = f"only {name}{kinds[0][0]} is there: {kinds[0][1]}"
    else:
        cause = "gtFine was not unpacked to its end, or the image was added"
    remedy = f"Unpack {ZIPS[LABELLED]} again, or remove the image"
    return Fault("image without label", image, f"this image has no label {label}", cause, remedy)


def _without_image(root: Path, split: str, label: Path) -> Fault:
    image = image_path(root, split, label.parent.name, label.name.removesuffix(LABEL_SUFFIX))
    cause = "leftImg8bit was not unpacked to its end, or only a part of it was copied"
    remedy = f"Unpack {ZIPS[IMAGES]} again, or remove the label"
    return Fault("label without image", label, f"this label has no image {image}", cause, remedy)


def _folders(place: Path) -> list[Path]:
    """Folders in a folder, sorted; none where it cannot be listed."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(place) if entry.is_dir())
    except OSError:
        return []


def _misspelt(name: str, candidates: list[Path]) -> Path | None:
    by_name = {path.name.lower(): path for path in candidates if path.name not in (*ZIPS, "train", "val", "test")}
    close = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=0.75)
    close = close or [candidate for candidate in by_name if candidate.startswith(name.lower())]
    return by_name[close[0]] if close else None


def _below(root: Path, folder: str, depth: int = 1) -> Iterator[Path]:
    """Folders of this name somewhat below root, the higher ones first."""
    children = _folders(root)
    yield from (child / folder for child in children if (child / folder).is_dir())
    if depth < _DEEPEST:
        for child in children:
            yield from _below(child, folder, depth + 1)
