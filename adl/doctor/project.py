"""git, DVC, parameters and data of the workspace in the current folder."""

from __future__ import annotations

from pathlib import Path

from adl import preflight
from adl.architecture import Architecture, cost
from adl.config import params
from adl.config.params import Params
from adl.console import estimate
from adl.console.text import byte_size, counted, listing, rough_duration
from adl.doctor import Case
from adl.doctor.machine import dvc_cache
from adl.errors import AdlError, Caution
from adl.prepare import Problem
from adl.prepare.layout import Split, pairs
from adl.training.plan import Plan
from adl.workspace import PARAMS, RECORDS, SYNTHETIC, record

_EXAMPLES = {"user.name": "'Your Name'", "user.email": "you@example.org"}


def valid_params() -> Params:
    """Those of params.yaml, whose architecture can be read. Raises AdlError."""
    p = params.load(PARAMS)
    Architecture.from_params(p)
    return p


def git(case: Case) -> str:
    """A repository with its history, and somebody to commit as."""
    try:
        answer = preflight.git(*preflight.IS_SHALLOW)
    except FileNotFoundError:
        raise AdlError("git is not installed", "Install it: DVC needs it.") from None
    if answer.returncode != 0:
        remedy = "Run it in a clone of the project, which DVC needs, not in an unpacked archive."
        if "safe.directory" in answer.stderr:
            remedy = f"`git config --global --add safe.directory {Path.cwd()}`"
        reason = answer.stderr.split("\n")[0].removeprefix("fatal: ")
        raise AdlError(reason, remedy, where=Path.cwd())
    if answer.stdout.strip() == "true":
        raise Caution(
            "a shallow clone, in which DVC loses experiments that run in a copy (--temp, --queue)",
            "`git fetch --unshallow`",
        )
    lacking = [name for name in _EXAMPLES if not _identity(case, name)]
    if lacking:
        commands = " && ".join(f"git config {name} {_EXAMPLES[name]}" for name in lacking)
        raise Caution(
            f"no identity ({' and '.join(lacking)} not set), which `dvc exp run` needs",
            f"`{commands}`",
        )
    return f"a repository; you are {_identity(case, 'user.email')}"


def _identity(case: Case, name: str) -> str:
    """What DVC takes for it: a variable, or else git's setting."""
    variable = f"GIT_COMMITTER_{name.removeprefix('user.').upper()}"
    return case.environment.get(variable) or preflight.git("config", name).stdout.strip()


def dvc(case: Case) -> str:
    if not Path(".dvc").is_dir():
        raise AdlError(
            f"{Path.cwd()} is not the folder of the project: it has no .dvc",
            "Change to the folder that holds dvc.yaml.",
        )
    lock = Path(".dvc/tmp/rwlock")
    if lock.is_file() and lock.stat().st_size == 0:
        raise AdlError(
            f"{lock} is empty: DVC was killed while writing it, and every command fails at it",
            f"`rm {lock}`",
        )
    return f"ready; its copies are kept in {dvc_cache()}"


def parameters(case: Case) -> str:
    try:
        preflight.check_parameters(valid_params(), case.dataset)
    except AdlError as error:
        raise AdlError(
            str(error),
            f"`adl explain` says what {PARAMS} takes; `adl recipe NAME --all` writes a whole one.",
        ) from None
    return f"{PARAMS} and its architecture are valid"


def data(case: Case) -> str:
    """Folders and file names; `adl check-data` reads the files."""
    root = Path(case.params.data_path)
    if root == SYNTHETIC:
        preflight.check_drawn(case.params)
        drawn = "drawn" if root.exists() else "not drawn yet; `dvc repro` does it"
        return f"{root}, the embedded scenes: {drawn}"
    splits = _splits(case)
    # A folder that is missing is missing for every split.
    problems: dict[Problem, None] = {}
    for found in splits.values():
        problems |= dict.fromkeys(found.problems)
    if problems:
        first, *others = problems
        problem, remedy = first.problem, first.remedy
        if others:
            problem += f" (and {counted(len(others), 'more fault')})"
            remedy += f" `adl check-data {root}` lists the others."
        raise AdlError(problem, remedy, where=first.file)
    counts = []
    for split, expected in preflight.expected_images(case.params).items():
        images = len(splits[split].frames)
        if expected not in (None, images):
            raise AdlError(
                f"{split} has {images} images, but expected_{split}_images is {expected}",
                f"`adl check-data {root}` says what is missing.",
                where=root,
            )
        counts.append(counted(images, f"{split} image"))
    return f"{root}: {' and '.join(counts)} with labels"


def _splits(case: Case) -> dict[str, Split]:
    root = Path(case.params.data_path)
    return {split: pairs(root, split, case.dataset) for split in case.dataset.labelled_splits}


def records(case: Case) -> str:
    """Whether they are made, or there is room for them."""
    root = Path(case.params.data_path)
    splits = case.dataset.labelled_splits
    made = [split for split in splits if record(RECORDS, case.dataset.name, split).exists()]
    if len(made) == len(splits):
        return f"{RECORDS}: {listing(made, 3)} are made"
    needed = 0
    for found in _splits(case).values():
        for frame in found.frames:
            needed += frame.image.stat().st_size + frame.label.stat().st_size
    if root == SYNTHETIC or not needed:
        return "not made yet; `dvc repro` does it"
    preflight.check_room(needed, RECORDS)
    return f"not made yet; they take {byte_size(needed)}, for which there is room"


def start_weights(case: Case) -> None:
    preflight.start_weights(case.params)


def training(case: Case) -> str:
    """What the present parameters cost, with as many images as there are, or else as the data set has."""
    p = case.params
    images = preflight.train_images(p, case.dataset) or case.dataset.split_sizes["train"]
    plan = Plan.of(p, images)
    steps = plan.steps - plan.first_step
    seconds = estimate.training_seconds(p, steps=steps, device_target=p.device_target)
    size = cost.parameters(Architecture.from_params(p))
    basis = estimate.basis(p.device_target).rstrip(".")
    return f"{size:,} parameters; {steps:,} steps take about {rough_duration(seconds)}, {basis}"
