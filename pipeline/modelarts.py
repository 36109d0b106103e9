"""Any stage as a job of Huawei Cloud's ModelArts: inputs come from object storage, results go back there.

reads:  params.yaml; from data_url and train_url what the stage reads
writes: to train_url what the stage writes, under its path in the workspace (data/, models/, metrics/, reports/), also
        if it fails; state/, while training runs; copied/STAGE.json, which says whether the copy is complete

Every parameter that the stage reads is an option as well. URLs are obs://BUCKET/PATH, s3://BUCKET/PATH or folders. Data
sets and records are looked for in data_url first, all else in train_url. A job that is started again resumes. The stage
runs in a folder of its own (--work), so that nothing of the workspace changes. Storage is reached through moxing where
that is installed, else as S3, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL (or ModelArts'
S3_ENDPOINT).

example: python -m pipeline.modelarts train --data_url obs://b/records --train_url obs://b/run1 --epochs 4000
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from adl import params
from adl.artifacts import check_output
from adl.commands.parameters import add_parameters, given_parameters, switch
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError, check
from adl.processes import address
from adl.processes.signals import take
from adl.storage import modelarts
from adl.storage.flow import Task, stages
from adl.storage.job import Job
from adl.storage.mirror import EVERY
from adl.workspace import CHECKPOINT, PRETRAINED, as_path
from pipeline import parser, run

STAGES = ("synthesize", "mindrecord", "baselines", "train", "evaluate", "export", "infer", "report")
OWN = {
    "split": ("mindrecord", "evaluate"),
    "master_port": ("train",),
    "state_seconds": ("train",),
}
"""Option that is no parameter → the stages that take it."""
OF_2021 = {"evaluate": {"ckpt_name", "batch_size"}, "export": {"ckpt_name"}}
"""Stage → parameters that mean something of its own there: see `task_of`."""


def main() -> None:
    arguments = parse()
    task, changes = task_of(arguments)
    # ModelArts ends a job with SIGTERM; until a stage runs, and takes it over, that is as good as Ctrl-C.
    take([signal.SIGTERM], signal.default_int_handler)
    job = Job(
        params.load(**changes),
        modelarts.place(port=arguments.master_port or modelarts.PORT),
        CITYSCAPES,
        endpoint=modelarts.endpoint(),
        code=Path.cwd(),
        work=arguments.work.absolute(),
        every=arguments.state_seconds or EVERY,
    )
    sys.exit(job.run(task))


def task_of(arguments: argparse.Namespace) -> tuple[Task, dict[str, Any]]:
    """The stage, and the parameters that differ from params.yaml.

    As in 2021, `evaluate` takes --ckpt_name for the file to score, and --batch_size for the images at a time.
    """
    changes = given_parameters(arguments) | {"modelArts": True}
    if arguments.stage == "mindrecord":
        return Task(f"mindrecord@{arguments.split}", ("--split", arguments.split)), changes
    options: list[str] = []
    checkpoint = output = None
    if arguments.stage == "evaluate":
        images = changes.pop("batch_size", 1)
        check((type(images) is int and images > 0, f"batch_size: {images} images at a time."))
        options += ["--eval-batch-size", str(images)]
        options += ["--split", arguments.split or "val"]
    if arguments.stage in ("evaluate", "export"):
        checkpoint = changes.pop("ckpt_name", None)
    if checkpoint is not None and Path(checkpoint).name != checkpoint:
        raise AdlError(f"ckpt_name: {checkpoint} must be the name of a file, without a folder.")
    if checkpoint == CHECKPOINT.name:
        checkpoint = None
    elif checkpoint is not None:
        options += ["--checkpoint", str(PRETRAINED / checkpoint)]
    if checkpoint is not None or "train" in options:
        scored = f"_{arguments.split or 'val'}" if arguments.stage == "evaluate" else ""
        output = f"{arguments.stage}_{Path(checkpoint or CHECKPOINT).stem}{scored}"
        options += ["--output", output]
    split = arguments.split or "val"
    return Task(arguments.stage, tuple(options), split, checkpoint, output), changes


def parse() -> argparse.Namespace:
    command = parser("modelarts", __doc__)
    command.add_argument("stage", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    command.add_argument("--split", choices=("train", "val"), help="of mindrecord and evaluate")
    command.add_argument(
        "--modelArts_mode", type=switch, default=True, metavar="BOOL", help="only True"
    )
    command.add_argument(
        "--work",
        type=as_path,
        default=Path(".adl/modelarts"),
        metavar="FOLDER",
        help="where the stage runs; default: %(default)s",
    )
    command.add_argument(
        "--master_port",
        type=address.port,
        metavar="PORT",
        help=f"of train: on the first of several nodes; default: {modelarts.PORT}",
    )
    command.add_argument(
        "--state_seconds",
        type=seconds,
        metavar="S",
        help=f"of train: between two copies of its state; default: {EVERY:g}",
    )
    add_parameters(command)
    # A flag that is not quite the name of a parameter must not become another one.
    command.allow_abbrev = False
    arguments = command.parse_args()
    if not arguments.modelArts_mode:
        raise AdlError(
            f"--modelArts_mode=False: without ModelArts, run `python -m pipeline.{arguments.stage}` or `dvc repro`."
        )
    if arguments.stage == "mindrecord" and arguments.split is None:
        command.error("mindrecord needs --split")
    check_read(arguments)
    check_output(arguments.work, folder=True, option="--work")
    return arguments


def check_read(arguments: argparse.Namespace) -> None:
    """Raises AdlError if an option was given that the stage does not read: it would change nothing."""
    given = list(given_parameters(arguments))
    given += [name for name in OWN if getattr(arguments, name) is not None]
    has_checkpoint = getattr(arguments, "ckpt_name", None) is not None
    read = read_by(arguments.stage, arguments.split, has_checkpoint=has_checkpoint)
    unread = [f"--{name}" for name in given if name not in read]
    check(
        (not unread, f"{', '.join(unread)}: the stage {arguments.stage} reads no such option."),
    )


def read_by(stage: str, split: str | None, *, has_checkpoint: bool) -> set[str]:
    """Names of the options that a stage reads. has_checkpoint: it is given a file to score or export."""
    known = stages("")
    declared = set().union(*(other.parameters for other in known.values()))
    of_stage = known.get(stage) or known[f"{stage}@{split}"]
    read = {"data_url", "train_url", *of_stage.parameters, *OF_2021.get(stage, ())}
    read |= {option for option, takers in OWN.items() if stage in takers}
    names = [entry.name for entry in params.schema()]
    if stage == "train":
        read |= {*names} - declared  # what changes no result is read by training alone
    elif has_checkpoint:  # one of 2021 has its architecture from the parameters
        read |= {"num_classes", *names[names.index("net_arch") : names.index("epochs")]}
    return read


def seconds(text: str) -> float:
    if not (number := float(text)) > 0:
        raise argparse.ArgumentTypeError("more than 0")
    return number


if __name__ == "__main__":
    run(main)
