"""Every parameter as an option of a command line, with the spellings and the values of 2021."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl.config import params
from adl.config.params import Params


def add_parameters(command: argparse.ArgumentParser) -> None:
    """Add --name (and --name with hyphens) VALUE for every parameter; one that is not given leaves no trace.

    modelArts is left out: in 2021 its option was --modelArts_mode, which each command defines itself.
    """
    for entry in params.schema():
        if entry.name != "modelArts":
            command.add_argument(
                *dict.fromkeys([f"--{entry.name}", f"--{entry.name.replace('_', '-')}"]),
                type=functools.partial(value, entry.name),
                default=argparse.SUPPRESS,
                metavar="VALUE",
                help=entry.meaning,
            )


def given_parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parameters that were given, and their values."""
    return {name: found for name, found in vars(arguments).items() if name in Params.model_fields}


def device(text: str) -> str:
    """The type of an option that takes a kind of device."""
    if text.upper() in params.GPU:
        raise argparse.ArgumentTypeError(params.NO_GPU)
    return text


def value(name: str, text: str) -> Any:
    """The value of a parameter. Text is taken as it stands, all else as params.yaml would hold it.

    None, True and False are those of 2021's command lines.
    """
    if text in ("", "None", "null"):
        return None
    kind = Params.model_fields[name].annotation
    if get_origin(kind) is Literal or str in (kind, *get_args(kind)):
        return params.plain(name, text)
    try:
        return YAML(typ="safe").load(text)
    except (YAMLError, ValueError):  # a ValueError of a date that does not exist
        raise argparse.ArgumentTypeError(f"{text!r} is no value of YAML") from None


def positive(kind: type) -> Callable[[str], float]:
    """The type of an option that takes a number above 0. kind: int or float."""

    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    number.__name__ = "positive number"
    return number


def switch(text: str) -> bool:
    """True or False, as in 2021."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return text.lower() == "true"
