"""list, adopt, drop or prune the states of training runs

reads:  .adl/state, or the folder that ADL_STATE_DIR names; dvc.yaml
writes: adopt lets a run resume with the current code; drop removes a state; prune removes every finished one, and
        all but the newest save of the others
"""

from __future__ import annotations

import argparse
import shlex

from tabulate import tabulate

from adl import workspace
from adl.console.text import MISSING
from adl.errors import AdlError
from adl.files import remove
from adl.training import runs
from adl.training.state import State

USUAL = ("epochs", "batch_size", "bn_momentum", "seed")
"""Parameters that the list shows of every state, besides those in which the states differ."""
MOST_SHOWN = 12
"""Characters of a value: enough of a digest to tell it from another."""


EXAMPLE = "adl state list"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "action", choices=("list", "adopt", "drop", "prune"), help="what to do, as said above"
    )
    command.add_argument("names", nargs="*", metavar="STATE", help="as `adl state list` names them")
    command.add_argument("--all", action="store_true", help="every state")


def run(arguments: argparse.Namespace) -> None:
    found = {state.name: state for state in runs.found(workspace.state_folder())}
    action = arguments.action
    if action == "list":
        _list(list(found.values()))
        return
    names = list(found) if arguments.all or action == "prune" else arguments.names
    if not names and action != "prune":
        raise AdlError(f"name a state (`adl state list`), or --all: adl state {action} STATE")
    for name in names:
        if name not in found:
            raise AdlError(f"{name}: no such state; existing states: {', '.join(found) or 'none'}.")
        holder = found[name].holder()
        if holder is None:
            with found[name].held():
                _act(action, found[name])
        elif action == "prune":
            print(f"{name}: in use by training process {holder}; left as it is")
        else:
            raise AdlError(
                f"{name}: in use by training process {holder}. Stop it first (`adl stop`)."
            )


def _act(action: str, chosen: State) -> None:
    if action == "adopt":
        runs.adopt(chosen)
        print(f"{chosen.name}: `dvc repro` resumes it with the current code")
    elif action == "drop" or chosen.finished:
        remove(chosen.folder)
        print(f"{chosen.name}: removed")
    else:
        _prune(chosen)


def _prune(chosen: State) -> None:
    """Remove all saves but the newest."""
    chosen.drop_leftovers()
    try:
        chosen.latest()  # sets aside what is damaged, so that the newest is one that can be read
    except AdlError as error:
        print(f"{chosen.name}: left as it is: {error}")
        return
    for old in [*chosen.damaged_positions(), *chosen.positions()[:-1]]:
        old.unlink()
        print(f"{old}: removed")


def _list(found: list[State]) -> None:
    """A row per state; then the models that runs kept beside the final one, and how to use them."""
    if not found:
        print("no state")
        return
    differing = _differing(found)
    rows = []
    models = []
    for state in found:
        parts = runs.parts(state.about["key"])
        described = [f"{name} {str(parts.get(name))[:MOST_SHOWN]}" for name in differing]
        positions = state.positions()
        at = MISSING
        if positions:
            at = f"step {int(positions[-1].stem.removeprefix('position_')):,}"
        size = sum(path.stat().st_size for path in state.folder.rglob("*") if path.is_file())
        megabytes = f"{size / 1e6:.0f}"
        rows.append(
            (state.name, _status(state), at, len(positions), megabytes, ", ".join(described))
        )
        models += state.kept_models()
    print(tabulate(rows, headers=("state", "is", "at", "saves", "MB", "parameters")))
    if models:
        print(
            "\nearlier models (keep_checkpoints), for `python -m pipeline.evaluate` or `.export`:"
        )
    for path in models:
        print(f"  {shlex.join(['--checkpoint', str(path), '--output', path.stem])}")


def _differing(found: list[State]) -> list[str]:
    """The usual parameters, and those in which states differ."""
    first, *others = [runs.parts(state.about["key"]) for state in found]
    names = list(USUAL)
    for parts in others:
        for name in (*first, *parts):
            if name not in names and parts.get(name) != first.get(name):
                names.append(name)
    return names


def _status(state: State) -> str:
    if state.finished:
        return "finished"
    holder = state.holder()
    return "unfinished" if holder is None else f"trained by process {holder}"
