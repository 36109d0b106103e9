"""Every parameter as an option of a command line, with the spellings and the values of 2021."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl import params


def add_parameters(command: argparse.ArgumentParser, *, but: Collection[str] = ()) -> None:
    """Add --name (and --name with hyphens) VALUE for every parameter; one that is not given leaves no trace."""
    for entry in params.schema():
        if entry.name not in but:
            names = dict.fromkeys([f"--{entry.name}", f"--{entry.name.replace('_', '-')}"])
            command.add_argument(
                *names,
                dest=entry.name,
                type=value,
                default=argparse.SUPPRESS,
                metavar="VALUE",
                help=entry.meaning,
            )


def given_parameters(arguments: argparse.Namespace, *, but: Collection[str] = ()) -> dict[str, Any]:
    """The parameters that were given, and their values."""
    names = [entry.name for entry in params.schema() if entry.name not in but]
    return {
        name: params.plain(name, getattr(arguments, name))
        for name in names
        if hasattr(arguments, name)
    }


def device(text: str) -> str:
    """The type of an option that takes a kind of device."""
    if text.upper() in params.GPU:
        raise argparse.ArgumentTypeError(params.NO_GPU)
    return text


def value(text: str) -> Any:
    """A value as params.yaml would hold it; True, False and None are those of 2021's command lines."""
    try:
        return YAML(typ="safe").load("null" if text == "None" else text)
    except YAMLError:
        raise argparse.ArgumentTypeError(f"{text!r} is no value of YAML") from None
