"""Any stage but `check` as a job of Huawei Cloud's ModelArts: inputs come from object storage, results go back there.

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

from adl.commands.parameters import add_parameters, given_parameters, positive, switch
from adl.config import params
from adl.errors import AdlError
from adl.files import check_output
from adl.launch import address
from adl.launch.signals import take
from adl.storage import environment
from adl.storage.job import Job
from adl.storage.stages import Stage, stages
from adl.storage.state_backup import EVERY
from adl.workspace import BASELINES, CHECKPOINT, PRETRAINED, as_path
from pipeline import parser, run

STAGES = ("synthesize", "mindrecord", "baselines", "train", "evaluate", "export", "infer", "report")
ALSO_READ = {
    "mindrecord": {"split", "data_path"},
    "train": {"master_port", "state_seconds"},
    "evaluate": {"split", "ckpt_name", "batch_size"},
    "export": {"ckpt_name"},
    "infer": {"data_path"},
}
"""Stage → options that it takes besides its parameters. Those of 2021 have a meaning of their own: see `stage_of`."""


def main() -> None:
    arguments = parse()
    stage, changes = stage_of(arguments)
    # ModelArts ends a job with SIGTERM; until a stage runs, and takes it over, that is as good as Ctrl-C.
    take([signal.SIGTERM], signal.default_int_handler)
    job = Job(
        params.load(**changes),
        environment.this_node(port=getattr(arguments, "master_port", environment.PORT)),
        work=arguments.work.absolute(),
        every=getattr(arguments, "state_seconds", EVERY),
    )
    sys.exit(job.run(stage))


def stage_of(arguments: argparse.Namespace) -> tuple[Stage, dict[str, Any]]:
    """The stage as it is to be run, and the parameters that differ from params.yaml.

    As in 2021, `evaluate` takes --ckpt_name for the file to score, and --batch_size for the images at a time.
    """
    changes = given_parameters(arguments) | {"modelArts": True}
    name, split = arguments.stage, getattr(arguments, "split", "val")
    stage = stages()[f"{name}@{split}" if name == "mindrecord" else name]
    check_read(arguments, stage)
    if name not in ("evaluate", "export"):
        return stage, changes
    checkpoint = changes.pop("ckpt_name", None) or CHECKPOINT.name
    if Path(checkpoint).name != checkpoint:
        raise AdlError(f"ckpt_name: {checkpoint} must be the name of a file, without a folder.")
    results = f"{name}_{Path(checkpoint).stem}"
    if name == "evaluate":
        images = changes.pop("batch_size", 1)
        if type(images) is not int or images < 1:
            raise AdlError(f"batch_size: {images} images at a time.")
        stage.command += ["--eval-batch-size", str(images), "--split", split]
        results += f"_{split}"
    if split == "train":
        stage.inputs = [path.replace("/val.", "/train.") for path in stage.inputs if path != str(BASELINES)]
    if checkpoint != CHECKPOINT.name:
        stage.checkpoint = checkpoint
        stage.inputs = [path for path in stage.inputs if not path.startswith(str(CHECKPOINT))]
        stage.command += ["--checkpoint", str(PRETRAINED / checkpoint)]
    if stage.checkpoint or split == "train":
        stage.results = results
        stage.outputs = [results]
        stage.command += ["--output", results]
    return stage, changes


def parse() -> argparse.Namespace:
    command = parser("modelarts", __doc__)
    # An option that is not given leaves no trace: see `check_read`.
    command.argument_default = argparse.SUPPRESS
    command.add_argument("stage", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    command.add_argument("--split", choices=("train", "val"), help="of mindrecord and evaluate")
    command.add_argument("--modelArts_mode", type=switch, default=True, metavar="BOOL", help="only True")
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
        help=f"of train: on the first of several nodes; default: {environment.PORT}",
    )
    command.add_argument(
        "--state_seconds",
        type=positive(float),
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
    if arguments.stage == "mindrecord" and "split" not in arguments:
        command.error("mindrecord needs --split")
    check_output(arguments.work, folder=True, option="--work")
    return arguments


def check_read(arguments: argparse.Namespace, stage: Stage) -> None:
    """Raises AdlError if an option was given that the stage does not read: it would change nothing."""
    name = arguments.stage
    read = {"stage", "modelArts_mode", "work", "data_url", "train_url"}
    read |= {*params.of_stage(stage.name), *ALSO_READ.get(name, ())}
    if name != "synthesize":
        read.add("dataset")
    if name == "train":
        # What changes no result is read by training alone.
        read |= {entry.name for entry in params.schema() if not entry.stages}
    elif getattr(arguments, "ckpt_name", None):
        # A file of 2021 has its architecture from the parameters.
        of_train = params.of_stage("train")
        read |= {*of_train[: of_train.index("epochs")]} - {"ignore_label"}
    unread = [f"--{option}" for option in vars(arguments) if option not in read]
    if unread:
        raise AdlError(f"{', '.join(unread)}: the stage {name} reads no such option.")


if __name__ == "__main__":
    run(main)
