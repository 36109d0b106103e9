"""What the 2021 scripts share: every parameter is an option, and commands run in the project's folder."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Where ModelArts starts a script as its boot file, the project need not be installed.
sys.path.insert(0, str(ROOT))

from adl import preflight
from adl.commands.parameters import add_parameters, given_parameters, switch
from adl.config import params, recipes
from adl.errors import RETURNS, AdlError, reported
from adl.files import check_output, write_text
from adl.launch import foreground
from adl.workspace import PARAMS, PRETRAINED, at_home


@reported()
def command_line(stage: str, description: str | None) -> argparse.ArgumentParser:
    """The options that all scripts have; a script may redefine one.

    With --modelArts_mode=True the stage runs here and now as a job of ModelArts, which takes the same options.
    """
    mode = argparse.ArgumentParser(add_help=False)
    mode.add_argument("--modelArts_mode", type=switch, default=False, help="True: as a job of ModelArts")
    if mode.parse_known_args()[0].modelArts_mode:
        enter_project()
        execute([sys.executable, "-m", "pipeline.modelarts", stage, *sys.argv[1:]])
        raise SystemExit
    command = argparse.ArgumentParser(
        parents=[mode],
        usage="%(prog)s [--NAME=VALUE ...]",
        description=description,
        epilog=RETURNS,
        allow_abbrev=False,
        conflict_handler="resolve",
    )
    add_parameters(command)
    return command


def add_model(command: argparse.ArgumentParser, *, output: str) -> None:
    """Add --output, and --ckpt_name, which here names a file to read instead of weights to start from."""
    command.add_argument("--output", type=place, default=output, help="folder for the results")
    command.add_argument(
        "--ckpt_name",
        "--ckpt-name",
        dest="checkpoint",
        type=file,
        required=True,
        help="a path, or a name in pretrained/",
    )


@reported()
def run(arguments: argparse.Namespace, *commands: str) -> None:
    """Write the parameters that were given to params.yaml, then run the commands.

    commands: as for a shell; {NAME} stands for the argument of that name.
    """
    given = given_parameters(arguments)
    for name in ("data_path", "net_arch", "cell_arch"):
        if given.get(name):
            given[name] = place(given[name])
    enter_project()
    if "output" in arguments:
        check_output(Path(arguments.output), folder=True)
    text = recipes.edited(PARAMS.read_text(encoding="utf-8"), given)
    # DVC's stage `check` would refuse what cannot work too, but only once params.yaml has been written.
    preflight.check_steps(params.parse(text, "params.yaml with the options"))
    if changes := recipes.changes(recipes.present(), text, "then"):
        print(changes)
    write_text(PARAMS, text)
    for command in commands:
        execute([word.format_map(vars(arguments)) for word in shlex.split(command)])


def enter_project() -> None:
    """Change to the project's folder. Raises AdlError if params.yaml describes the network for the embedded scenes."""
    os.chdir(ROOT)
    if params.load().cell_arch.startswith("architectures/small/"):
        raise AdlError(
            "params.yaml: describes the small network for the embedded scenes, but the 2021 scripts are about the "
            f"published one. First run, in {ROOT}, `adl recipe cityscapes-0.5M --all --data-path PATH`, or another "
            "recipe for Cityscapes (`adl recipe` lists them)."
        )


def execute(command: Sequence[str]) -> None:
    """Print and run a command. One that fails ends the script with its exit code."""
    print(f"+ {shlex.join(command)}", flush=True)
    code = foreground.run(command)
    if code:
        sys.exit(code)


def place(text: str) -> str:
    """The type of an option that is a path: as seen from the project's folder, where the commands run."""
    return os.path.abspath(at_home(text)).removeprefix(f"{ROOT}/")  # noqa: PTH100 (resolve would follow links)


def file(text: str) -> str:
    """The type of an option that is a file to read: a path, or a name in pretrained/."""
    for path in (place(text), str(PRETRAINED / text)):
        if (ROOT / path).is_file():
            return path
    raise argparse.ArgumentTypeError(f"{text}: no such file, neither here nor in {PRETRAINED}/")
