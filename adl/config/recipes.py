"""Recipes: whole parameter files, as differences from the shipped one. Comments are kept."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from tabulate import tabulate

from adl.config import params
from adl.config.params import Entry, Params
from adl.errors import AdlError, unknown
from adl.workspace import PARAMS, RECIPES, SYNTHETIC

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

_SECTIONS = {
    "dataset": "Data",
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


def about(name: str) -> str:
    """The sentence at the head of a recipe."""
    return " ".join(_read(name)[0].replace("# ", "").split())


def present() -> dict[str, Any]:
    """What stands in params.yaml, each value unchecked: it may be what a recipe is wanted for. Empty without one."""
    return params.content(PARAMS) if PARAMS.exists() else {}


def text(name: str, present: Mapping[str, Any]) -> str:
    """The parameter file of a recipe: the shipped one, with what the recipe changes.

    present: the values of the file that it replaces, whose machine keys are kept. Raises AdlError if there is no such
    recipe.
    """
    head, changes = _read(name)
    return f"{head}\n{edited(shipped_text(), changes | machine_keys(present))}"


def updated() -> str:
    """params.yaml of another version as this one has it: with every parameter that there is, and no other."""
    present = params.content(PARAMS)
    head, heading, _ = PARAMS.read_text(encoding="utf-8-sig").partition("# Data\n")
    known = {entry.name for entry in params.schema()}
    values = {name: value for name, value in present.items() if name in known}
    if str(values.get("data_path", SYNTHETIC)) != str(SYNTHETIC):
        # Before it was a parameter, every other data set was Cityscapes.
        values = {"dataset": "datasets/cityscapes.yaml"} | values
    return (head if heading else "") + edited(shipped_text(), values)


def machine_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some parameters that describe the machine."""
    return {key: values[key] for key in MACHINE if key in values}


def stated(name: str) -> dict[str, Any]:
    """The values that a recipe states; that of the shipped parameters states them all."""
    _, changes = _read(name)
    return changes or YAML(typ="safe").load(shipped_text())


def _read(name: str) -> tuple[str, dict[str, Any]]:
    """The comment at the head of a recipe, and what it changes in the shipped parameters."""
    if name not in names():
        raise unknown("recipe", name, names())
    source = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
    head = itertools.takewhile(lambda line: line[0] == "#", source.splitlines(keepends=True))
    return "".join(head), YAML(typ="safe").load(source) or {}


def shipped_text() -> str:
    """params.yaml as it is shipped, without the sentence at its head."""
    text = ""
    for heading, entries in sections().items():
        rows = [(f"{e.name}: {e.shipped}", f"# {e.meaning}") for e in entries]
        text += f"# {heading}\n{tabulate(rows, tablefmt='plain', disable_numparse=True)}\n"
    return text


def sections() -> dict[str, list[Entry]]:
    """Heading → its parameters, in the order of the file."""
    found: dict[str, list[Entry]] = {}
    for entry in params.schema():
        if entry.name in _SECTIONS:
            section = found[_SECTIONS[entry.name]] = []
        section.append(entry)
    return found


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """The text of a YAML file with other values, those of its inner mappings too. All else stays byte for byte."""
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(text)
    _update(content, changes)
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def _update(content: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            _update(content[key], value)
        elif content.get(key) != value:  # equal values keep the way in which they are written
            content[key] = value


def load(name: str, present: Mapping[str, Any]) -> Params:
    """A recipe with the machine keys of the present file, or with its own if those do not fit."""
    try:
        return params.parse(text(name, present), f"recipe {name}")
    except AdlError:
        return params.parse(text(name, {}), f"recipe {name}")


def changes(before: Mapping[str, Any], after: str, heading: str) -> str:
    """A table of all parameters that change; empty if none does. after: text of a parameter file, named by heading."""
    values = YAML(typ="safe").load(after)
    rows = [(key, shown(before, key), shown(values, key)) for key in {**values, **before}]
    changed = [row for row in rows if row[1] != row[2]]
    if not changed:
        return ""
    return tabulate(changed, headers=("parameter", "now", heading), disable_numparse=True)


def shown(values: Mapping[str, Any], key: str) -> str:
    """A parameter's value in a table."""
    return json.dumps(values[key], default=str) if key in values else "–"
