"""adl zoo: the scripts of the 2021 model zoo, under their names and with their arguments."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl import params, preflight, recipes, workspace
from adl.artifacts import check_output, replacing, write_text
from adl.commands import add_command
from adl.commands.parameters import add_parameters, given_parameters, switch
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import check
from adl.launch import foreground
from adl.workspace import PARAMS, PRETRAINED, RECORDS, as_path, at_home

DESCRIPTION = """run what a script of the 2021 model zoo did, with that script's arguments

reads:  as the commands that it runs, which it prints first
writes: params.yaml, where an argument is a parameter, and what those commands write"""
STAGE = (sys.executable, "-m")
SILENT = {"batch_size": 8, "affine": False, "parallel": False}
"""What run_train.sh set, whatever the user had chosen."""


@dataclasses.dataclass(frozen=True)
class Translation:
    """A script of 2021 in terms of this project.

    changes: parameter → value. commands: run one after the other, in the foreground. note: for the person.
    copies: file → place, once all commands are done. reads, folder: what must be there, and what may be written to.
    """

    commands: tuple[tuple[str, ...], ...]
    reads: Path | None = None
    folder: Path | None = None
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""
    copies: Mapping[Path, Path] = dataclasses.field(default_factory=dict)


def add(subcommands: Any) -> None:
    command = add_command(
        subcommands,
        "zoo",
        run,
        description=DESCRIPTION,
        example="adl zoo run_train 0 /data/cityscapes 100 --dry-run",
    )
    scripts = command.add_subparsers(dest="script", metavar="SCRIPT", required=True)
    add_script(scripts, run_train, DEVICE_ID, DATASET_PATH, EPOCHS)
    add_script(scripts, run_distribute_train, RANK_SIZE, RANK_TABLE_FILE, DATASET_PATH, EPOCHS)
    add_script(scripts, run_eval, DATASET_PATH, CKPT_FILE, OUTPUT_PATH)
    infer = add_script(scripts, run_infer_310, MINDIR, DATASET_PATH, DEVICE_ID)
    add_output(infer, "inferred")
    record = add_script(scripts, build_mindrecord)
    for spellings, words in (
        (("--data_path", "--data_url"), "folder that holds leftImg8bit/ and gtFine/"),
        (("--train_path", "--train_url"), "folder that receives the record"),
    ):
        record.add_argument(*spellings, type=at_home, required=True, metavar="FOLDER", help=words)
    record.add_argument("--split", choices=("train", "val"), required=True, help="which images")
    files = add_script(scripts, export)
    files.add_argument(
        "--ckpt_name",
        type=as_path,
        required=True,
        metavar="FILE",
        help=f"a path, or a file in {PRETRAINED}/",
    )
    add_output(files, "exported")
    add_parameters(files, but=("ckpt_name", "modelArts"))
    for script in (record, files):
        script.add_argument(
            "--modelArts_mode",
            type=switch,
            default=False,
            metavar="BOOL",
            help="True: the folders are URLs of ModelArts' storage"
            if script is record
            else "only False",
        )


Argument = tuple[str, dict[str, Any]]
DEVICE_ID: Argument = ("device_id", {"type": int, "help": "number of the device"})
DATASET_PATH: Argument = (
    "dataset_path",
    {"type": as_path, "help": "folder that holds leftImg8bit/ and gtFine/"},
)
EPOCHS: Argument = ("epochs", {"type": int, "help": "passes over the training images"})
RANK_SIZE: Argument = ("rank_size", {"type": int, "help": "devices"})
RANK_TABLE_FILE: Argument = ("rank_table_file", {"type": as_path, "help": "Ascend's rank table"})
CKPT_FILE: Argument = ("ckpt_file", {"type": as_path, "help": "a checkpoint, of 2021 or of now"})
OUTPUT_PATH: Argument = ("output_path", {"type": as_path, "help": "folder for the results"})
MINDIR: Argument = ("mindir", {"type": as_path, "help": "an exported file"})


def add_script(
    scripts: Any, translate: Callable[[argparse.Namespace], Translation], *arguments: Argument
) -> argparse.ArgumentParser:
    summary = (translate.__doc__ or "").split("\n", maxsplit=1)[0]
    script = scripts.add_parser(translate.__name__, help=summary, description=summary)
    for name, settings in arguments:
        script.add_argument(name, metavar=name.upper(), **settings)
    script.add_argument(
        "--dry-run", action="store_true", help="only print what would be changed and run"
    )
    script.set_defaults(translate=translate)
    return script


def add_output(script: argparse.ArgumentParser, default: str) -> None:
    script.add_argument(
        "--output",
        type=as_path,
        default=Path(default),
        metavar="FOLDER",
        help="default: %(default)s",
    )


def run(arguments: argparse.Namespace) -> None:
    translation: Translation = arguments.translate(arguments)
    if translation.note:
        print(translation.note)
    text = with_values(translation.changes)
    for command in translation.commands:
        print(f"+ {shlex.join(('python', *command[1:]) if command[0] == STAGE[0] else command)}")
    for place in translation.copies.values():
        print(f"+ copy to {place}")
    if arguments.dry_run:
        return
    _check_files(translation)
    if any(command[0] == "dvc" for command in translation.commands):
        # DVC's stage `check` would refuse it too, but only once params.yaml has been written.
        preflight.check_steps(params.parse(text, str(PARAMS)), CITYSCAPES)
    write_text(PARAMS, text)
    for command in translation.commands:
        _run_in_foreground(command)
    for file, place in translation.copies.items():
        with replacing(place) as temporary:
            shutil.copyfile(file, temporary)


def _check_files(translation: Translation) -> None:
    """A plan is shown without them."""
    if translation.reads is not None:
        check((translation.reads.is_file(), f"{translation.reads}: no such file."))
    if translation.folder is not None:
        check_output(translation.folder, folder=True)


def with_values(changes: Mapping[str, Any]) -> str:
    """The text of params.yaml with other values, which are shown. Raises AdlError if they are impossible."""
    params.load()
    text = recipes.edited(PARAMS.read_text(encoding="utf-8"), changes)
    params.parse(text, f"{PARAMS} with the arguments")
    if changed := recipes.changes(params.content(PARAMS), text):
        headers = ("parameter", "now", "then")
        print(tabulate(changed, headers=headers, disable_numparse=True))
    return text


def _run_in_foreground(command: tuple[str, ...]) -> None:
    sys.stdout.flush()
    if code := foreground.run(command):
        sys.exit(code)


def run_train(arguments: argparse.Namespace) -> Translation:
    """train on one device"""
    p = params.load()
    ours = ", ".join(f"{name} {getattr(p, name)}" for name in SILENT)
    theirs = ", ".join(f"{name} {setting}" for name, setting in SILENT.items())
    return Translation(
        commands=training("--device-id", str(arguments.device_id)),
        changes=data_of(arguments) | {"epochs": arguments.epochs, "device_num": 1},
        note=f"run_train.sh of 2021 also set {theirs}. Here {PARAMS} decides: {ours}.",
    )


def run_distribute_train(arguments: argparse.Namespace) -> Translation:
    """train on several Ascend devices that a rank table names"""
    return Translation(
        reads=arguments.rank_table_file,
        commands=training("--rank-table-file", str(arguments.rank_table_file)),
        changes=data_of(arguments)
        | {
            "epochs": arguments.epochs,
            "device_num": arguments.rank_size,
            "device_target": "Ascend",
        },
    )


def training(*arguments: str) -> tuple[tuple[str, ...], ...]:
    """The last command lets DVC take over the finished run."""
    return (
        ("dvc", "repro", "mindrecord"),
        (*STAGE, "pipeline.train", *arguments),
        ("dvc", "repro", "train"),
    )


def run_eval(arguments: argparse.Namespace) -> Translation:
    """score a checkpoint on the val images"""
    model, output = str(arguments.ckpt_file), str(arguments.output_path)
    return Translation(
        reads=arguments.ckpt_file,
        folder=arguments.output_path,
        commands=(
            ("dvc", "repro", "baselines"),
            (*STAGE, "pipeline.evaluate", "--checkpoint", model, "--output", output),
        ),
        changes=data_of(arguments),
    )


def export(arguments: argparse.Namespace) -> Translation:
    """export a checkpoint"""
    check(
        (
            not arguments.modelArts_mode,
            "--modelArts_mode=True: on ModelArts it is `python -m pipeline.modelarts export`.",
        )
    )
    given = arguments.ckpt_name
    model = given if given.exists() else PRETRAINED / given
    return Translation(
        reads=model,
        folder=arguments.output,
        commands=(
            ("dvc", "repro", "mindrecord"),
            (
                *(*STAGE, "pipeline.export"),
                *("--checkpoint", str(model), "--output", str(arguments.output)),
            ),
        ),
        changes=given_parameters(arguments, but=("ckpt_name",)),
    )


def run_infer_310(arguments: argparse.Namespace) -> Translation:
    """run an exported file on the val images, with MindSpore Lite where it is installed"""
    lite = ("--backend", "lite") if importlib.util.find_spec("mindspore_lite") else ()
    used = "MindSpore Lite" if lite else "MindSpore, because MindSpore Lite is not installed"
    return Translation(
        commands=(
            (
                *(*STAGE, "pipeline.infer", "--model", str(arguments.mindir)),
                *("--data-path", str(arguments.dataset_path)),
                *("--device-id", str(arguments.device_id), *lite),
                *("--output", str(arguments.output)),
            ),
        ),
        reads=arguments.mindir,
        folder=arguments.output,
        note=f"run by {used}",
    )


def build_mindrecord(arguments: argparse.Namespace) -> Translation:
    """convert a split to MindRecord"""
    if arguments.modelArts_mode:
        urls = ("--data_url", arguments.data_path, "--train_url", arguments.train_path)
        job = (*STAGE, "pipeline.modelarts", "mindrecord", "--split", arguments.split, *urls)
        return Translation(commands=(job,))
    folder = Path(arguments.train_path)
    record = workspace.record(RECORDS, CITYSCAPES.name, arguments.split)
    files = (record, record.with_name(f"{record.name}.db"), workspace.manifest(record))
    return Translation(
        commands=(("dvc", "repro", f"mindrecord@{arguments.split}"),),
        folder=folder,
        changes={"data_path": params.plain("data_path", arguments.data_path)},
        copies={file: folder / file.name for file in files},
    )


def data_of(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"data_path": params.plain("data_path", str(arguments.dataset_path))}
