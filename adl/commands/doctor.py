"""adl doctor: whether the pipeline can run on this machine with the present parameters."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from adl.commands import add_command
from adl.dataset.descriptor import CITYSCAPES
from adl.doctor import examination

DESCRIPTION = """check this machine and this workspace: versions, devices, memory, disk, git, DVC, data, hours

reads:  params.yaml, the names of the files in data_path, versions of what is installed; imports MindSpore in a process
        of its own, and works without it
writes: nothing; a line per finding to the terminal"""
RETURNS = (
    "returns 0 if there is no fault (warnings are possible), 1 if there is one, 2 for wrong usage, "
    "130 when interrupted"
)


def add(subcommands: Any) -> None:
    command = add_command(
        subcommands,
        "doctor",
        run,
        description=DESCRIPTION,
        example="adl doctor --json",
        returns=RETURNS,
    )
    command.add_argument("--json", action="store_true", help="the findings as JSON")


def run(arguments: argparse.Namespace) -> None:
    findings = []
    for finding in examination.examine(examination.present(CITYSCAPES)):
        findings.append(finding)
        if not arguments.json:
            print(examination.line(finding), flush=True)
    if arguments.json:
        print(json.dumps(examination.to_json(findings), indent=2, allow_nan=False))
    else:
        print(f"\n{examination.last_line(findings)}")
    if examination.summary(findings)["fault"]:
        sys.exit(1)
