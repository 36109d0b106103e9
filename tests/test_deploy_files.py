"""deploy/: as much as can be said of these files without an engine, a cluster or a device."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.cli import parse_args
from ruamel.yaml import YAML

from adl import commands
from adl.launch.topology import Topology, topology
from pipeline import train
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILES = ("Dockerfile.cpu", "Dockerfile.ascend")
JOBS = ("kubernetes.yaml", "volcano.yaml")
RANK = {"kubernetes.yaml": "JOB_COMPLETION_INDEX", "volcano.yaml": "VC_TASK_INDEX"}


def documents(name: str) -> list[dict]:
    return list(YAML(typ="safe").load_all((DEPLOY / name).read_text()))


def of_kind(name: str, kind: str) -> dict:
    [found] = [document for document in documents(name) if document["kind"] == kind]
    return found


def pod(name: str) -> dict:
    spec = of_kind(name, "Job")["spec"]
    template = spec["template"] if name == "kubernetes.yaml" else spec["tasks"][0]["template"]
    return template["spec"]


def instructions(name: str) -> list[tuple[str, str]]:
    """(instruction, its arguments) of a Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / name).read_text(), flags=re.MULTILINE)
    joined = text.replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture
def stand_ins(tmp_path):
    """A folder of programs that stand in for a cluster's; python writes down how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "scontrol": 'test "$*" = "show hostnames node[7-8]" && printf "node7\\nnode8\\n"',
        "getent": 'test "$1" = ahostsv4 && echo "$2" >> "$CALLS/asked" && echo "10.0.0.7  STREAM name"',
        "srun": 'test "$1" = --kill-on-bad-exit=1; shift; for n in 0 1; do SLURM_NODEID=$n "$@"; done',
        "python": 'echo "ADL_STATE_DIR=$ADL_STATE_DIR $*" >> "$CALLS/calls"',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\nset -e\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def started(command: list[str], stand_ins: Path, **variables: str) -> list[str]:
    """How python was called, a line each."""
    calls = stand_ins.parent
    path = f"{stand_ins}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"PATH": path, "CALLS": str(calls), **variables},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return (calls / "calls").read_text().splitlines()


def node(call: str) -> Topology:
    """What training would start there, by the real parser."""
    arguments = shlex.split(call)
    assert arguments[1:3] == ["-m", "pipeline.train"]
    chosen = train.command_line().parse_args(arguments[3:])
    found = topology(16, "Ascend", nodes=chosen.nodes, node_rank=chosen.node_rank, master=chosen.master)
    for worker in found.workers.values():
        assert (worker["MS_SCHED_HOST"], worker["MS_SCHED_PORT"]) == ("10.0.0.7", "8118")
    return found


def test_slurm_starts_training_on_both_nodes_with_one_shared_state(stand_ins, tmp_path):
    calls = started(
        ["bash", str(DEPLOY / "slurm.sh")],
        stand_ins,
        SLURM_SUBMIT_DIR=str(tmp_path),
        SLURM_JOB_NODELIST="node[7-8]",
        SLURM_NNODES="2",
    )
    assert [list(node(call).workers) for call in calls] == [[*range(8)], [*range(8, 16)]]
    assert {call.split()[0] for call in calls} == {f"ADL_STATE_DIR={tmp_path}/.adl/state"}
    assert (tmp_path / "asked").read_text() == "node7\n"


def test_slurm_says_so_if_the_first_node_has_no_address(stand_ins, tmp_path):
    (stand_ins / "getent").write_text("#!/bin/sh\nexit 2\n")
    done = subprocess.run(
        ["bash", str(DEPLOY / "slurm.sh")],
        capture_output=True,
        text=True,
        env={
            "PATH": f"{stand_ins}:{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_NODELIST": "node[7-8]",
        },
    )
    assert (done.returncode, done.stderr) == (1, "no address of node7\n")


@pytest.mark.parametrize("name", JOBS)
def test_pods_start_training_as_node_0_and_1(name, stand_ins):
    [container] = pod(name)["containers"]
    for rank in ("0", "1"):
        state = {variable["name"]: variable["value"] for variable in container["env"]}
        calls = started(container["command"], stand_ins, **{RANK[name]: rank}, **state)
    assert [list(node(call).workers) for call in calls] == [[*range(8)], [*range(8, 16)]]
    # Kept in the shared workspace, so that a pod that starts again goes on.
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["workingDir"] == mounts["workspace"]
    assert {call.split()[0] for call in calls} == {f"ADL_STATE_DIR={mounts['workspace']}/.adl/state"}


@pytest.mark.parametrize("kind", ["Service", "PersistentVolumeClaim", "Job"])
def test_kubernetes_file_fits_its_schema(kind):
    validator = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate, which has the schemas, is not installed"
    )
    version = validator.latest_version()
    found = of_kind("kubernetes.yaml", kind)
    validator.validate(found, version, strict=True)
    found["spec"]["unknown"] = 1
    with pytest.raises(validator.ValidationError):
        validator.validate(found, version, strict=True)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_linter_of_dockerfiles_finds_nothing(name):
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(DEPLOY / name)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_commands_of_a_dockerfile_exist(name):
    last = dict(instructions(name))
    program, *arguments = YAML(typ="safe").load(last["CMD"])
    assert program == "dvc"
    assert parse_args(arguments).func
    target, python = last["RUN"].removeprefix("make ").split()
    assert python == "PYTHON=python3.11"
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in re.findall(r"^#   docker run .* auto-deeplab:cpu (\w.*)$", (DEPLOY / name).read_text(), re.M):
        _, *arguments = shlex.split(line)
        assert commands.parser().parse_args(arguments).run


def test_commands_and_files_that_comments_name_exist():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    for path in DEPLOY.iterdir():
        text = path.read_text().replace("\n# ", " ")
        for name in re.findall(r"\bdeploy/[\w.]+\w", text):
            assert (ROOT / name).is_file(), name
        for command in re.findall(r"`dvc ([^`]+)`", text):
            arguments = parse_args(shlex.split(command))
            for target in arguments.targets or []:
                assert target.split("@")[0] in stages
