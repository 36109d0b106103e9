"""git, DVC, parameters and data of the workspace in the current folder."""

from __future__ import annotations

from pathlib import Path

from adl import preflight
from adl.architecture import Architecture, cost
from adl.console import estimate
from adl.console.text import byte_size, counted, rough_duration
from adl.doctor import Case, Skipped, valid_params
from adl.doctor.machine import dvc_cache
from adl.errors import AdlError, Caution
from adl.prepare.layout import Split
from adl.training.plan import Plan
from adl.workspace import PARAMS, RECORDS, SYNTHETIC, record


def git(case: Case) -> str:
    """A repository with its history, and somebody to commit as."""
    try:
        answer = preflight.git(*preflight.IS_SHALLOW)
    except FileNotFoundError:
        raise AdlError("git is not installed", "Install it: DVC needs it.") from None
    if answer.returncode:
        raise AdlError(
            answer.stderr.removeprefix("fatal: "),
            "DVC needs a clone of the project that git can read, not an unpacked archive.",
            where=Path.cwd(),
        )
    if answer.stdout.strip() == "true":
        raise Caution(
            "a shallow clone, in which DVC loses experiments that run in a copy (--temp, --queue)",
            "`git fetch --unshallow`",
        )
    for name in ("name", "email"):
        # DVC takes the variable first.
        identity = case.environment.get(f"GIT_COMMITTER_{name.upper()}")
        identity = identity or preflight.git("config", f"user.{name}").stdout.strip()
        if not identity:
            raise Caution(
                f"no identity (user.{name} not set): `dvc exp run` needs a name and an email",
                f"`git config user.{name} VALUE`",
            )
    return f"a repository; you are {identity}"


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
        preflight.check_parameters(valid_params())
    except AdlError as error:
        raise AdlError(
            str(error),
            f"`adl explain` says what {PARAMS} takes; `adl recipe NAME --all` writes a whole one.",
        ) from None
    return f"{PARAMS} and its architecture are valid"


def data(case: Case) -> str:
    """Folders and file names; `adl dataset check` reads the files."""
    p = case.params
    root = Path(p.data_path)
    if root != SYNTHETIC:
        problems = []
        for split in p.descriptor.labelled_splits:
            problems += Split(root, split, p.descriptor).problems
        if problems:
            # A folder that is missing is missing for every split.
            raise AdlError(
                str(problems[0]),
                f"`adl dataset check {root}` lists all: {counted(len(set(problems)), 'problem')}.",
            )
    counts = preflight.check_counts(p)
    images = " and ".join(f"{count} {split} images" for split, count in counts.items())
    drawn = "" if root.exists() else ", not drawn yet; `dvc repro` does it"
    return f"{root}: {images}{drawn}"


def records(case: Case) -> str:
    """Whether they are made, or there is room for them."""
    splits = ("train", "val")
    if all(record(split).exists() for split in splits):
        return f"{RECORDS}: {' and '.join(splits)} are made"
    needed = 0
    for split in splits:
        for frame in Split(Path(case.params.data_path), split, case.params.descriptor).frames:
            needed += frame.image.stat().st_size + frame.label.stat().st_size
    preflight.check_room(needed)
    return f"not made yet; `dvc repro` makes them of the images, {byte_size(needed)} at present"


def start_weights(case: Case) -> None:
    preflight.start_weights(case.params)


def training(case: Case) -> str:
    """What the present parameters cost."""
    p = case.params
    try:
        images = preflight.train_images(p)
    except AdlError:
        raise Skipped from None  # the check `data` says that there are none
    plan = Plan.of(p, images)
    steps = plan.steps - plan.first_step
    seconds = estimate.training_seconds(p, steps=steps, device_target=p.device_target)
    return (
        f"{cost.parameters(Architecture.from_params(p)):,} parameters; {steps:,} steps take about "
        f"{rough_duration(seconds)}, {estimate.basis(p.device_target)}"
    )
