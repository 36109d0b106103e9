"""check this machine and this workspace: versions, devices, memory, disk, git, DVC, data, hours

reads:  params.yaml, the names of the files in data_path, versions of what is installed; imports MindSpore in a process
        of its own, and works without it
writes: nothing; a line per check to the terminal

example: adl doctor --json
"""

from __future__ import annotations

import argparse
import json
import sys

from adl.console.text import counted
from adl.doctor import Case, checks
from adl.launch.environment import child_environment

RETURNS = (
    "returns 0 without a problem (warnings are possible), 1 if there is one, 2 for wrong usage, 130 when interrupted"
)


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="the results as JSON")


def run(arguments: argparse.Namespace) -> None:
    findings = []
    counts = {"ok": 0, "warning": 0, "problem": 0}
    for result in checks.run(Case(child_environment({}))):
        findings.append(result._asdict())
        counts[result.status] += 1
        if not arguments.json:
            print(f"{result.status.upper():<7}  {result.subject:<11}  {result.text}", flush=True)
            if result.advice:
                print(f"{'':22}{result.advice}", flush=True)
    if arguments.json:
        print(json.dumps({"findings": findings, "summary": counts}, indent=2))
    else:
        print(f"\n{counted(counts['problem'], 'problem')}, {counted(counts['warning'], 'warning')}.")
    if counts["problem"]:
        sys.exit(1)
