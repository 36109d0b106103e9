"""git, DVC, parameters and data of the workspace in the current folder."""

from __future__ import annotations

import contextlib
import io
import subprocess
from pathlib import Path

from adl import params, preflight
from adl.architecture import Architecture, cost
from adl.console import estimate
from adl.console.text import byte_size, counted, listing, rough_duration
from adl.doctor.finding import Case, Finding, fault, ok, warning
from adl.doctor.machine import dvc_cache
from adl.errors import AdlError
from adl.params import Params
from adl.prepare import Problem
from adl.prepare.layout import Found, missing_folders, pairs
from adl.training.plan import Plan
from adl.workspace import PARAMS, RECORDS, SYNTHETIC, record

_EXAMPLES = {"user.name": "'Your Name'", "user.email": "you@example.org"}


def present_params() -> Params:
    """Those of params.yaml, whose architecture can be read. Raises AdlError."""
    p = params.load(PARAMS)
    Architecture.from_params(p)
    return p


def git(case: Case) -> Finding:
    """A repository with its history, and somebody to commit as."""
    try:
        answer = _git("rev-parse", "--is-shallow-repository")
    except FileNotFoundError:
        return fault("git", "git is not installed", "Install it: DVC needs it.")
    if answer.returncode != 0:
        reason = answer.stderr.split("\n")[0].removeprefix("fatal: ")
        advice = "Run it in a clone of the project, which DVC needs, not in an unpacked archive."
        if "safe.directory" in answer.stderr:
            advice = f"`git config --global --add safe.directory {Path.cwd()}`"
        return fault("git", f"{Path.cwd()}: {reason}", advice)
    if answer.stdout.strip() == "true":
        text = (
            "a shallow clone, in which DVC loses experiments that run in a copy (--temp, --queue)"
        )
        return warning("git", text, "`git fetch --unshallow`")
    lacking = [name for name in ("user.name", "user.email") if not _identity(case, name)]
    if lacking:
        text = f"no identity ({' and '.join(lacking)} not set), which `dvc exp run` needs"
        commands = " && ".join(f"git config {name} {_EXAMPLES[name]}" for name in lacking)
        return warning("git", text, f"`{commands}`")
    return ok("git", f"a repository; you are {_identity(case, 'user.email')}")


def _identity(case: Case, name: str) -> str:
    """What DVC takes for it: a variable, or else git's setting."""
    variable = f"GIT_COMMITTER_{name.removeprefix('user.').upper()}"
    return case.environment.get(variable) or _git("config", name).stdout.strip()


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
    )


def dvc(case: Case) -> Finding:
    if not Path(".dvc").is_dir():
        text = f"{Path.cwd()} is not the folder of the project: it has no .dvc"
        return fault("DVC", text, "Change to the folder that holds dvc.yaml.")
    lock = Path(".dvc/tmp/rwlock")
    if lock.is_file() and lock.stat().st_size == 0:
        text = f"{lock} is empty: DVC was killed while writing it, and every command fails at it"
        return fault("DVC", text, f"`rm {lock}`")
    return ok("DVC", f"ready; its copies are kept in {dvc_cache()}")


def parameters(case: Case) -> Finding:
    try:
        present_params()
    except AdlError as error:
        advice = (
            f"`adl explain` says what {PARAMS} takes; `adl recipe NAME --all` writes a whole one."
        )
        return fault("parameters", " ".join(str(error).split()), advice)
    return ok("parameters", f"{PARAMS} and its architecture are valid")


def data(case: Case) -> Finding | None:
    """Folders and file names; `adl check-data` reads the files."""
    if case.params is None:
        return None
    root = Path(case.params.data_path)
    if root == SYNTHETIC:
        drawn = "drawn" if root.exists() else "not drawn yet; `dvc repro` does it"
        return ok("data", f"{root}, the embedded scenes: {drawn}")
    problems = missing_folders(root, case.dataset)
    splits = {} if problems else _splits(case, root)
    for found in splits.values():
        problems += found.problems
    if problems:
        return _of_problems(root, problems)
    wanted = {
        "train": case.params.expected_train_images,
        "val": case.params.expected_val_images,
    }
    counts = {split: len(found.frames) for split, found in splits.items()}
    for split, expected in wanted.items():
        if expected not in (None, counts[split]):
            text = f"{root}: {split} has {counts[split]} images, but expected_{split}_images is {expected}"
            return fault("data", text, f"`adl check-data {root}` says what is missing.")
    shown = " and ".join(counted(n, f"{split} image") for split, n in counts.items())
    return ok("data", f"{root}: {shown} with labels")


def _splits(case: Case, root: Path) -> dict[str, Found]:
    return {split: pairs(root, split, case.dataset) for split in case.dataset.labelled_splits}


def _of_problems(root: Path, problems: list[Problem]) -> Finding:
    first = problems[0]
    more = f" (and {counted(len(problems) - 1, 'more fault')})" if len(problems) > 1 else ""
    advice = f"{first.remedy}{'' if first.remedy.endswith('?') else '.'}"
    if len(problems) > 1:
        advice += f" `adl check-data {root}` lists the others."
    return fault("data", f"{first.file}: {first.problem}{more}", advice)


def records(case: Case) -> Finding | None:
    """Whether they are made, or there is room for them."""
    if case.params is None:
        return None
    made = [
        split
        for split in case.dataset.labelled_splits
        if record(RECORDS, case.dataset.name, split).exists()
    ]
    root = Path(case.params.data_path)
    if len(made) == len(case.dataset.labelled_splits):
        return ok("records", f"{RECORDS}: {listing(made, 3)} are made")
    if root == SYNTHETIC or missing_folders(root, case.dataset):
        return ok("records", "not made yet; `dvc repro` does it")
    needed = 0
    for found in _splits(case, root).values():
        for frame in found.frames:
            needed += frame.image.stat().st_size + frame.label.stat().st_size
    return _room(needed)


def _room(needed: int) -> Finding:
    """What the stage `check` would say, which prints its warning."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            preflight.check_room(needed, RECORDS)
    except AdlError as error:
        return fault("records", str(error), "Make room, or clone the project to a larger disk.")
    if said.getvalue():
        text, advice = said.getvalue().strip().removeprefix("warning: ").split(". ", maxsplit=1)
        return warning("records", text, advice)
    return ok("records", f"not made yet; they take {byte_size(needed)}, for which there is room")


def training(case: Case) -> Finding | None:
    """What the present parameters cost."""
    if case.params is None:
        return None
    p = case.params
    plan = Plan.of(p, _train_images(case))
    steps = plan.steps - plan.first_step
    seconds = estimate.training_seconds(p, steps=steps, device_target=p.device_target)
    text = (
        f"{cost.parameters(Architecture.from_params(p)):,} parameters; {steps:,} steps take about "
        f"{rough_duration(seconds)}, {estimate.basis(p.device_target)}"
    )
    return ok("training", text.rstrip("."))


def _train_images(case: Case) -> int:
    """As many as there are, or else as the data set has."""
    assert case.params is not None
    return preflight.train_images(case.params, case.dataset) or case.dataset.split_sizes["train"]
