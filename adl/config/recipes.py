"""Recipes: whole parameter files, as differences from the shipped one. Comments are kept."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from adl.config import params
from adl.config.params import Params
from adl.errors import AdlError, unknown
from adl.workspace import RECIPES

SHIPPED = "synthetic"
"""The recipe that changes nothing: the shipped parameters."""
MACHINE = (
    "data_path",
    "device_target",
    "device_num",
    "workers",
    "modelArts",
    "data_url",
    "train_url",
)
"""What describes the machine, not the run: kept from the present file."""

SECTIONS = {
    "data_path": "Data",
    "synthetic_seed": "Embedded data: drawn street scenes",
    "net_arch": "Network",
    "epochs": "Training",
    "ms_infer": "Evaluation and export",
    "device_target": "Machine",
}
"""First parameter of a section of the file → its heading."""


def names() -> list[str]:
    found = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    if not found:
        raise AdlError(f"{RECIPES}: holds no recipe. Run this in the project's folder.")
    return found


def check_name(name: str) -> None:
    """Raises AdlError if there is no such recipe."""
    if name not in names():
        raise unknown("recipe", name, names())


def about(name: str) -> str:
    """The sentence at the head of a recipe."""
    return " ".join(line.removeprefix("#").strip() for line in _head(_read(name)))


def text(
    name: str, present: Mapping[str, Any], *, machine: bool = False, data_path: str | None = None
) -> str:
    """The parameter file of a recipe: the shipped one, with what the recipe changes.

    present: the values of the file that it replaces. machine: take the machine keys from the recipe too.
    """
    changes = _values(name)
    if not machine:
        changes |= {key: present[key] for key in MACHINE if key in present}
    if data_path:
        changes["data_path"] = data_path
    return "".join(_head(_read(name))) + "\n" + edited(shipped_text(), changes)


def shipped_text() -> str:
    """params.yaml as it is shipped, without the sentence at its head."""
    sections: dict[str, list[params.Entry]] = {}
    for entry in params.schema():
        if entry.name in SECTIONS:
            section = sections.setdefault(SECTIONS[entry.name], [])
        section.append(entry)
    text = ""
    for heading, section in sections.items():
        text += f"# {heading}\n"
        lines = [f"{entry.name}: {as_yaml(entry.shipped)}".rstrip() for entry in section]
        width = max(map(len, lines))
        for entry, line in zip(section, lines, strict=True):
            text += f"{line:{width}}  # {entry.meaning}\n"
    return text


def as_yaml(value: Any) -> str:
    """A shipped value as the file holds it."""
    if value is None:
        return ""
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value < 1e-3:
        # PyYAML takes 1e-05 for a text, and 1.0e-5 for a number.
        return np.format_float_scientific(value, trim="0", exp_digits=1)
    return str(value)


def commented_yaml() -> YAML:
    """Reads and writes the project's YAML files so that what is not changed stays byte for byte."""
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """The text of a parameter file with other values. Comments stay."""
    yaml = commented_yaml()
    content = yaml.load(text)
    for key, value in changes.items():
        # Equal values keep the way in which they are written.
        if not _equal(content.get(key), value):
            content[key] = value
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def load(name: str, present: Mapping[str, Any]) -> Params:
    """A recipe with the machine keys of the present file, or with its own if those do not fit."""
    try:
        return params.parse(text(name, present), f"recipe {name}")
    except AdlError:
        return params.parse(text(name, {}), f"recipe {name}")


def kept(name: str, present: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Machine key → (value of the present file, value of the recipe), if the recipe states another."""
    stated = _values(name)
    if name == SHIPPED:
        stated = {entry.name: entry.shipped for entry in params.schema()}
    differing = {}
    for key in MACHINE:
        if key in present and key in stated and not _equal(present[key], stated[key]):
            differing[key] = (present[key], stated[key])
    return differing


def changes(before: Mapping[str, Any], after: str) -> list[tuple[str, str, str]]:
    """(parameter, value before, value after) of all that differ. after: text of a parameter file."""
    values = YAML(typ="safe").load(after)
    rows = []
    for key in dict.fromkeys([*values, *before]):
        is_equal = key in before and key in values and _equal(before[key], values[key])
        if not is_equal:
            rows.append((key, shown(before, key), shown(values, key)))
    return rows


def shown(values: Mapping[str, Any], key: str) -> str:
    """A parameter's value in a table."""
    return json.dumps(values[key], default=str) if key in values else "–"


def _values(name: str) -> dict[str, Any]:
    """What a recipe changes in the shipped parameters."""
    return YAML(typ="safe").load(_read(name)) or {}


def _equal(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _read(name: str) -> str:
    return (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")


def _head(text: str) -> list[str]:
    return list(
        itertools.takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True))
    )
