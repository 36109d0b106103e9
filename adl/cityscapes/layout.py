"""The folders: which frames are there, and, where something is missing, which folder was meant."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from adl.cityscapes import IMAGE_SUFFIX, IMAGES, LABEL_SUFFIX, LABELLED, SPLIT_SIZES, Frame, image_path, label_path
from adl.cityscapes.faults import ZIPS, DataError, Fault, is_broken_link, is_folder, unreadable

_SUFFIXES = {IMAGES: IMAGE_SUFFIX, LABELLED: LABEL_SUFFIX}
_OTHER_LABELS = {
    "_gtFine_labelTrainIds.png": "train ids, which others made",
    "_gtFine_color.png": "the coloured picture for people",
    "_gtFine_instanceIds.png": "the instances, 16-bit",
    "_gtFine_polygons.json": "the outlines",
}
SIBLINGS = {
    "leftImg8bit_foggy": "the images with fog added",
    "leftImg8bit_foggyDBF": "the images with fog added",
    "leftImg8bit_rain": "the images with rain added",
    "leftImg8bit_sequence": "the frames before and after the labelled ones",
    "leftImg8bit_blurred": "the images with faces and number plates blurred",
    "leftImg16bit": "the images with 16 bits",
    "rightImg8bit": "the images of the right camera",
    "gtCoarse": "the coarse labels",
    "gtBbox3d": "3D boxes",
    "gtBboxCityPersons": "boxes of persons",
    "disparity": "depth",
    "camera": "the cameras' calibration",
    "vehicle": "the vehicle's speed and position",
    "timestamp": "the time of each image",
}
"""What Cityscapes publishes in folders of other names."""
_DEEPEST = 2


@dataclasses.dataclass(frozen=True)
class Found:
    """A split's complete frames, sorted by city and name; the file of each frame; what is wrong with the layout.

    labels: None where they do not matter. hidden: files and folders whose names begin with a dot, which are left out.
    """

    frames: list[Frame]
    images: dict[str, Path]
    labels: dict[str, Path] | None
    faults: list[Fault]
    hidden: int


def frames(root: str | Path, split: str) -> list[Frame]:
    """Every image of a split with its label, sorted by city and name. Raises DataError with every fault."""
    found = pairs(Path(root), split)
    if faults := missing_folders(Path(root)) or found.faults:
        raise DataError(faults)
    return found.frames


def pairs(root: Path, split: str) -> Found:
    """The frames of a split. What `missing_folders` finds is not among the faults."""
    images, image_faults = _files(root, IMAGES, split)
    labels, label_faults = _files(root, LABELLED, split)
    faults = image_faults + label_faults
    hidden = sum(_hidden(root / folder / split) for folder in (IMAGES, LABELLED))
    if images and labels:
        unseen = {fault.file.name for fault in faults if fault.kind in ("unreadable", "broken link")}
        alone = [image for name, image in images.items() if name not in labels]
        faults += [_without_label(root, split, image) for image in alone if image.parent.name not in unseen]
        alone = [label for name, label in labels.items() if name not in images]
        faults += [_without_image(root, split, label) for label in alone if label.parent.name not in unseen]
    complete = [Frame(name, image, labels[name]) for name, image in images.items() if name in labels]
    return Found(complete, images, labels, faults, hidden)


def unlabelled(root: Path, split: str) -> Found:
    """`pairs` for the test split."""
    images, faults = _files(root, IMAGES, split)
    complete = [Frame(name, image, label_path(root, split, image.parent.name, name)) for name, image in images.items()]
    return Found(complete, images, None, faults, _hidden(root / IMAGES / split))


def missing_folders(root: Path, wanted: Collection[str] = tuple(ZIPS)) -> list[Fault]:
    """Why leftImg8bit/ or gtFine/ cannot be reached in `root`; empty where both can. wanted: only these of the two."""
    if barred := _barred(root) or [fault for folder in wanted for fault in _barred(root / folder)]:
        return barred
    if str(root).startswith("~"):
        return [Fault("data_path", root, "does not exist", "~ is not expanded here", "Write the whole path")]
    if not root.exists():
        close = difflib.get_close_matches(root.name, [p.name for p in _folders(root.absolute().parent)], n=1)
        meant = f"Did you mean {root.parent / close[0]}?" if close else "Name the folder that holds both"
        return [Fault("data_path", root, "does not exist", "a misspelt or moved folder", meant.rstrip("?"))]
    if not root.is_dir():
        return [Fault("data_path", root, "is a file", "the zip is not unpacked", "Unpack it, and name the folder")]
    missing = [folder for folder in wanted if not is_folder(root / folder)]
    faults = [_missing_folder(root, folder) for folder in missing]
    faults += [_nested_folder(root / folder) for folder in wanted if _is_nested(root / folder)]
    # Where one sentence explains both, it is said once.
    return list({(f.problem if "holds neither" in f.problem else f.cause, f.remedy): f for f in faults}.values())


def _missing_folder(root: Path, folder: str) -> Fault:
    def fault(cause: str, remedy: str) -> Fault:
        neither = not any(is_folder(root / name) for name in ZIPS)
        problem = f"holds neither {IMAGES}/ nor {LABELLED}/" if neither else f"holds no {folder}/"
        return Fault("layout", root, problem, cause, remedy)

    for above in list(root.resolve().parents)[:3]:
        if is_folder(above / IMAGES) and is_folder(above / LABELLED):
            return fault("data_path lies inside the data set", f"Set data_path to {above}")
    if below := next(_below(root, folder), None):
        other = next(name for name in ZIPS if name != folder)
        if is_folder(below.parent / other):
            return fault("data_path lies above the data set", f"Set data_path to {below.parent}")
        return fault(f"the zip was unpacked in a folder of its own, {below.parent}", f"Move {below} to {root / folder}")
    siblings = [path for path in _folders(root) if path.name in SIBLINGS]
    if meant := _misspelt(folder, _folders(root)):
        return fault(f"{meant.name} is misspelt", f"Rename {meant} to {root / folder}")
    if packed := sorted(root.glob(f"{folder}*.zip")):
        return fault(f"{packed[0].name} is still packed", f"Unpack it there: unzip {packed[0]} -d {root}")
    if related := [path for path in siblings if path.name.startswith(folder[:2])]:
        cause = f"{related[0].name} holds {SIBLINGS[related[0].name]}, which are not used"
        return fault(cause, f"Unpack {ZIPS[folder]} in {root}{_instead(related[0].name, folder)}")
    if len(present := [name for name in ZIPS if is_folder(root / name)]) == 1:
        return fault(f"only {ZIPS[present[0]].split()[0]} is unpacked here", f"Unpack {ZIPS[folder]} in {root} too")
    return fault(
        "this is not the folder of Cityscapes",
        f"Unpack {' and '.join(ZIPS.values())} in one folder, and set data_path to it",
    )


def _instead(sibling: str, folder: str) -> str:
    """How to use a variant of the images in place of them."""
    if not sibling.startswith(f"{IMAGES}_"):
        return ""
    return (
        f". To use {sibling} instead, make a folder with {folder}/ and {LABELLED}/ in which its images have the usual "
        f"names, <city>_<sequence>_<frame>{IMAGE_SUFFIX}"
    )


def _is_nested(place: Path) -> bool:
    """Is it `leftImg8bit/leftImg8bit/train`, or the same of the labels?"""
    return is_folder(place / place.name) and not any(is_folder(place / split) for split in SPLIT_SIZES)


def _nested_folder(place: Path) -> Fault:
    again = place / place.name
    return Fault(
        "layout",
        place,
        f"holds another {place.name}/ instead of train/ and val/",
        "the zip was unpacked in a folder of its own",
        f"Move what is in {again} to {place}",
    )


def _files(root: Path, folder: str, split: str) -> tuple[dict[str, Path], list[Fault]]:
    """Frame → file of one split of leftImg8bit or gtFine, sorted by city and name, and what is wrong there."""
    place, suffix = root / folder / split, _SUFFIXES[folder]
    if _barred(root / folder) or not is_folder(root / folder) or _is_nested(root / folder):
        return {}, []
    if barred := _barred(place):
        return {}, barred
    if not is_folder(place):
        meant = _misspelt(split, _folders(root / folder))
        fault = Fault(
            "layout",
            place,
            "does not exist",
            f"{meant.name} is misspelt" if meant else "the zip was not unpacked to its end",
            f"Rename {meant} to {place}" if meant else f"Unpack {ZIPS[folder]} again",
        )
        return {}, [fault]
    in_place, faults = _entries(place)
    others = [path for path in in_place if path.suffix and not is_folder(path)]
    found: dict[str, Path] = {}
    for city in (path for path in in_place if is_folder(path) or is_broken_link(path)):
        in_city, barred = _entries(city)
        faults += barred
        for path in in_city:
            name = path.name.removesuffix(suffix)
            if name != path.name and not _is_utf_8(name):
                problem = "its name is not UTF-8, as a record stores it"
                faults.append(Fault("name", path, problem, "it was made on another system", "Rename it"))
            elif name == path.name:
                others += [path] if path.suffix and not is_folder(path) else []
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
        faults.append(_none_found(place, folder, others))
    return found, faults


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _none_found(place: Path, folder: str, others: list[Path]) -> Fault:
    problem = f"no file {folder}/{place.name}/<city>/*{_SUFFIXES[folder]} was found"
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


def _barred(folder: Path) -> list[Fault]:
    """Why a folder that is there cannot be entered; empty where it can, or is missing."""
    try:
        (folder / "..").stat()  # its parent, seen through it
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError) and not is_broken_link(folder)
        return [] if missing else [unreadable(folder, error, "listed")]
    return []


def _entries(folder: Path) -> tuple[list[Path], list[Fault]]:
    """What is in a folder, sorted, without what is hidden, and why it cannot be listed."""
    if barred := _barred(folder):
        return [], barred
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith(".")), []
    except OSError as error:
        return [], [unreadable(folder, error, "listed")]


def _hidden(split: Path) -> int:
    """Hidden files and folders in a split and in its cities, as macOS and Jupyter leave them."""
    places = [split, *_folders(split)]
    return sum(name.startswith(".") for place in places for name in _names(place))


def _names(place: Path) -> list[str]:
    try:
        return [path.name for path in place.iterdir()]
    except OSError:
        return []


def _folders(place: Path) -> list[Path]:
    """Folders in a folder, sorted; none where it cannot be listed."""
    return [path for path in _entries(place)[0] if is_folder(path)]


def _misspelt(name: str, candidates: list[Path]) -> Path | None:
    by_name = {path.name.lower(): path for path in candidates if path.name not in (*ZIPS, *SIBLINGS, *SPLIT_SIZES)}
    close = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=0.75)
    close = close or [candidate for candidate in by_name if candidate.startswith(name.lower())]
    return by_name[close[0]] if close else None


def _below(root: Path, folder: str, depth: int = 1) -> Iterator[Path]:
    """Folders of this name somewhat below root, the higher ones first."""
    children = _folders(root)
    yield from (child / folder for child in children if is_folder(child / folder))
    if depth < _DEEPEST:
        for child in children:
            yield from _below(child, folder, depth + 1)
