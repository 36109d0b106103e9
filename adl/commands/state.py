"""adl state, adl stop: the states of trainings that were not finished, and the running one."""

from __future__ import annotations

import argparse
from typing import Any

from tabulate import tabulate

from adl import runtime, state
from adl.artifacts import remove
from adl.commands import add_command
from adl.errors import AdlError
from adl.state import State

DESCRIPTION = """list, adopt, drop or prune the states that trainings go on from

reads:  .adl/state, or the folder that ADL_STATE_DIR names; dvc.yaml
writes: adopt lets a training go on under the present code; drop removes a state; prune removes every finished one, and
        all but the newest save of the others"""
STOP_DESCRIPTION = """ask the running training to stop after its epoch

reads:  .adl/state, or the folder that ADL_STATE_DIR names
writes: a request; the training saves its state and ends with a code other than 0, and `dvc repro` goes on later"""


USUAL = ("epochs", "batch_size", "bn_momentum", "seed")
"""Parameters that the list shows of every state, beside those in which the states differ."""
MOST_SHOWN = 12
"""Characters of a value: enough of a digest to tell it from another."""


def add(subcommands: Any) -> None:
    command = add_command(subcommands, "state", run, description=DESCRIPTION, example="adl state list")
    command.add_argument("action", choices=("list", "adopt", "drop", "prune"), help="what to do, as said above")
    command.add_argument("names", nargs="*", metavar="STATE", help="as `adl state list` names them")
    command.add_argument("--all", action="store_true", help="every state")
    add_command(subcommands, "stop", stop, description=STOP_DESCRIPTION, example="adl stop")


def run(arguments: argparse.Namespace) -> None:
    found = {s.name: s for s in state.states(runtime.state_folder())}
    if arguments.action == "list":
        keys = {name: state.parts(s.about["key"]) for name, s in found.items()}
        shown = [*USUAL, *_differing(list(keys.values()))]
        rows = [_row(s, {part: keys[name].get(part) for part in dict.fromkeys(shown)}) for name, s in found.items()]
        print(tabulate(rows, headers=("state", "is", "at", "saves", "MB", "parameters")) if rows else "no state")
        return
    names = list(found) if arguments.all or arguments.action == "prune" else arguments.names
    if not names and arguments.action != "prune":
        raise AdlError(f"name a state (`adl state list`), or --all: adl state {arguments.action} STATE")
    for name in names:
        if name not in found:
            raise AdlError(f"{name}: no such state; there are {', '.join(found) or 'none'}.")
        if (holder := found[name].holder()) is not None:
            if arguments.action == "prune":
                print(f"{name}: process {holder} trains there; left as it is")
                continue
            raise AdlError(f"{name}: process {holder} trains there. Stop it first (`adl stop`).")
        with found[name].held():
            _act(arguments.action, found[name])


def _act(action: str, chosen: State) -> None:
    if action == "adopt":
        state.adopt(chosen, state.code_digest(state.train_code()))
        print(f"{chosen.name}: `dvc repro` goes on with the present code")
    elif action == "drop" or chosen.finished:
        remove(chosen.folder)
        print(f"{chosen.name}: removed")
    else:
        chosen.drop_leftovers()
        try:
            chosen.latest()  # puts aside what is damaged, so that the newest is one that can be read
        except AdlError as error:
            print(f"{chosen.name}: left as it is: {error}")
            return
        for old in [*chosen.damaged_positions(), *chosen.positions()[:-1]]:
            old.unlink()
            print(f"{old}: removed")


def _differing(keys: list[dict[str, Any]]) -> list[str]:
    """What the states do not all have in common."""
    names = dict.fromkeys(part for key in keys for part in key)
    return [name for name in names if any(key.get(name) != keys[0].get(name) for key in keys)]


def _row(chosen: State, parts: dict[str, Any]) -> tuple[str, str, str, int, str, str]:
    holder = chosen.holder()
    what = "finished" if chosen.finished else f"trained by process {holder}" if holder is not None else "unfinished"
    positions = chosen.positions()
    at = f"step {int(positions[-1].stem.removeprefix('position_')):,}" if positions else "–"
    size = sum(p.stat().st_size for p in chosen.folder.rglob("*") if p.is_file())
    described = ", ".join(f"{name} {str(value)[:MOST_SHOWN]}" for name, value in parts.items())
    return chosen.name, what, at, len(positions), f"{size / 1e6:.0f}", described


def stop(arguments: argparse.Namespace) -> None:
    running = [s for s in state.states(runtime.state_folder()) if s.holder() is not None]
    if not running:
        raise AdlError(f"no training runs ({runtime.state_folder()} holds no locked state).")
    for chosen in running:
        chosen.stop_request.touch()
        print(f"{chosen.name}: process {chosen.holder()} stops after its epoch; `dvc repro` goes on later")
