"""Recipes: whole parameter files, as differences from the shipped one. Comments are kept."""

from __future__ import annotations

import difflib
import io
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl import params
from adl.errors import AdlError
from adl.params import Params

FOLDER = Path("pipeline/recipes")
SHIPPED = "synthetic"
"""The recipe that is a whole file; the others state what they change in it."""
SYNTHETIC = Path("data/synthetic")
"""Its data_path: the embedded scenes."""
MACHINE = ("data_path", "device_target", "device_num", "workers")
"""What describes the machine, not the run: kept from the present file."""


def names() -> list[str]:
    found = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if not found:
        raise AdlError(f"{FOLDER}: holds no recipe. Run this in the project's folder.")
    return found


def check_name(name: str) -> None:
    """Raises AdlError where there is no such recipe."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(names())}."
        raise AdlError(f"{name}: no such recipe; {meant}")


def about(name: str) -> str:
    """The sentence at the head of a recipe."""
    return " ".join(line.removeprefix("#").strip() for line in _head(_read(name)))


def present(path: Path) -> dict[str, Any]:
    """What stands in a parameter file, unchecked: it may be what a recipe is wanted for. Empty where it is no YAML."""
    try:
        content = YAML(typ="safe").load(path)
    except (OSError, UnicodeDecodeError, YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def text(name: str, present: Mapping[str, Any], *, machine: bool = False, data_path: str | None = None) -> str:
    """The parameter file of a recipe.

    present: the values of the file that it replaces. machine: take the machine keys from the recipe too.
    """
    yaml = YAML()
    yaml.width = 200
    content = yaml.load(_read(SHIPPED))
    recipe = {} if name == SHIPPED else YAML(typ="safe").load(_read(name))
    kept = {} if machine else {key: present[key] for key in MACHINE if key in present}
    given = {"data_path": data_path} if data_path else {}
    for key, value in {**recipe, **kept, **given}.items():
        if not _equal(content.get(key), value):  # equal values keep the way in which they are written
            content[key] = value
    stream = io.StringIO()
    yaml.dump(content, stream)
    whole = stream.getvalue()
    return "".join(_head(_read(name))) + whole.removeprefix("".join(_head(whole)))


def load(name: str, present: Mapping[str, Any]) -> Params:
    """A recipe with the machine keys of the present file, or with its own where those do not fit."""
    try:
        return params.parse(text(name, present), f"recipe {name}")
    except AdlError:
        return params.parse(text(name, {}), f"recipe {name}")


def kept(name: str, present: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Machine key → (value of the present file, value of the recipe), where the recipe states another."""
    own = YAML(typ="safe").load(_read(name))
    keys = [key for key in MACHINE if key in present and key in own and not _equal(present[key], own[key])]
    return {key: (present[key], own[key]) for key in keys}


def changes(before: Mapping[str, Any], after: str) -> list[tuple[str, str, str]]:
    """(parameter, value before, value after) of all that differ."""
    values = YAML(typ="safe").load(after)
    return [
        (key, *(json.dumps(v[key], default=str) if key in v else "–" for v in (before, values)))
        for key in dict.fromkeys([*values, *before])
        if (key in before) != (key in values) or not _equal(before[key], values[key])
    ]


def _equal(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _read(name: str) -> str:
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def _head(text: str) -> list[str]:
    return list(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
