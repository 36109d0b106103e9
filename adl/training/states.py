"""All states of a workspace: which there are, which a run may use, which are no longer needed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adl.artifacts import remove, write_json
from adl.errors import AdlError
from adl.training.key import differences, state_of
from adl.training.state import State


def found(root: Path) -> list[State]:
    """Every state, by name; a folder of another kind is not one, whatever it holds."""
    candidates = [State(path.parent) for path in sorted(root.glob("*/about.json"))]
    return [state for state in candidates if _is_named_by_its_key(state)]


def _is_named_by_its_key(state: State) -> bool:
    try:
        return state_of(state.root, state.about["key"]).name == state.name
    except (KeyError, TypeError, ValueError):
        return False


def nearest_unfinished(state: State, key: Mapping[str, Any]) -> tuple[State, list[str]] | None:
    """The unfinished run that differs least from the one that begins, and what it differs in."""
    others = [other for other in found(state.root) if other.name != state.name]
    unfinished = [other for other in others if not other.finished and other.positions()]
    differing = [(other, differences(other.about["key"], key)) for other in unfinished]
    return min(differing, key=lambda pair: len(pair[1]), default=None)


def prepare(state: State, key: Mapping[str, Any], code: str, options: Mapping[str, Any]) -> None:
    """Make the state fit for a run with this code; call it with the lock held.

    options: what the run reads besides its key. A run that was finished with other code is dropped: this one starts at
    step 0. Raises AdlError if one is unfinished under other code.
    """
    state.drop_leftovers()
    if (state.folder / "about.json").exists():
        damaged = state.damaged_result() if state.finished else None
        if damaged is not None:
            print(f"warning: {damaged} is damaged; training starts over", flush=True)
            remove(state.result)
        if state.about["code"] != code:
            _drop_result_of_other_code(state)
        elif state.finished:
            return
    about = {"key": dict(key), "code": code, "options": dict(options)}
    write_json(state.folder / "about.json", about)


def _drop_result_of_other_code(state: State) -> None:
    """Raises AdlError if the run is unfinished: to give up its work is for a person to decide."""
    if not state.finished and (state.positions() or state.damaged_positions()):
        raise AdlError(
            f"an unfinished training run is in {state.folder}, but the code that it depends on has changed since. "
            f"Resume it with the new code: `adl state adopt {state.name}`. Start over: "
            f"`adl state drop {state.name}`."
        )
    state.drop_positions()
    for path in (state.result, state.intermediate):
        remove(path)


def without_effect(state: State, options: Mapping[str, Any]) -> list[str]:
    """The options that differ from those with which a finished run was trained, with both values."""
    trained = state.about.get("options", options)
    return [
        f"{name} {value} (trained with {trained.get(name)})"
        for name, value in options.items()
        if value != trained.get(name)
    ]


def adopt(state: State, code: str) -> None:
    """Let a run resume with the current code."""
    write_json(state.folder / "about.json", {**state.about, "code": code})


def drop_other_finished(kept: State) -> None:
    """A finished state is kept until a run with another key finishes; with models of its own, until it is pruned."""
    for state in found(kept.root):
        is_spent = state.finished and not state.kept_models()
        if state.folder != kept.folder and is_spent and state.holder() is None:
            with contextlib.suppress(AdlError), state.held():  # one that was just taken is in use
                remove(state.folder)
