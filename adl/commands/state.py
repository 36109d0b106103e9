"""list, adopt, drop or prune the states of training runs

reads:  .adl/state, or the folder that ADL_STATE_DIR names; dvc.yaml
writes: adopt lets a run resume with the current code; drop removes a state; prune removes every finished one, and
        all but the newest save of the others

example: adl state list
"""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Collection

from tabulate import tabulate

from adl import workspace
from adl.console.text import MISSING
from adl.errors import AdlError, unknown
from adl.files import remove
from adl.training import runs
from adl.training.state import State

USUAL = ("epochs", "batch_size", "bn_momentum", "seed")
"""Parameters that the list shows of every state, besides those in which the states differ."""


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", choices=("list", "adopt", "drop", "prune"), help="what to do: see above")
    command.add_argument("names", nargs="*", metavar="STATE", help="as `adl state list` names them")
    command.add_argument("--all", action="store_true", help="every state")


def run(arguments: argparse.Namespace) -> None:
    found = {state.name: state for state in runs.found(workspace.state_folder())}
    action = arguments.action
    if action == "list":
        _list(found.values())
        return
    names = arguments.names
    if arguments.all or action == "prune":
        names = list(found)
    elif not names:
        raise AdlError(f"name a state (`adl state list`), or --all: adl state {action} STATE")
    for name in names:
        if name not in found:
            raise unknown("state", name, found)
        try:
            with found[name].held():
                _act(action, found[name])
        except AdlError as error:
            if action != "prune":
                raise
            print(f"{name}: left as it is: {error}")


def _act(action: str, chosen: State) -> None:
    if action == "adopt":
        runs.adopt(chosen)
        print(f"{chosen.name}: `dvc repro` resumes it with the current code")
    elif action == "drop" or chosen.finished:
        remove(chosen.folder)
        print(f"{chosen.name}: removed")
    else:
        chosen.drop_leftovers()
        chosen.latest()  # sets aside what is damaged, so that the newest is one that can be read
        for old in [*chosen.damaged_positions(), *chosen.positions()[:-1]]:
            old.unlink()
            print(f"{old}: removed")


def _list(found: Collection[State]) -> None:
    """A row per state; then the models that runs kept beside the final one, and how to use them."""
    if not found:
        print("no state")
        return
    parts = [runs.parts(state.about["key"]) for state in found]
    shown = [
        name
        for name in dict.fromkeys(itertools.chain(USUAL, *parts))
        if name in USUAL or len({str(values.get(name)) for values in parts}) > 1
    ]
    rows = []
    for state, values in zip(found, parts, strict=True):
        # Twelve characters are enough of a digest to tell it from another.
        parameters = ", ".join(f"{name} {str(values.get(name))[:12]}" for name in shown)
        positions = state.positions()
        at = MISSING
        if positions:
            at = f"step {int(positions[-1].stem.removeprefix('position_')):,}"
        holder = state.holder()
        status = "unfinished" if holder is None else f"trained by process {holder}"
        if state.finished:
            status = "finished"
        size = sum(path.stat().st_size for path in state.folder.rglob("*") if path.is_file())
        rows.append((state.name, status, at, len(positions), f"{size / 1e6:.0f}", parameters))
    print(tabulate(rows, headers=("state", "is", "at", "saves", "MB", "parameters")))
    models = [path for state in found for path in state.kept_models()]
    if models:
        print("\nearlier models (keep_checkpoints), for `python -m pipeline.evaluate` or `.export`:")
    for path in models:
        print(f"  {shlex.join(['--checkpoint', str(path), '--output', path.stem])}")
