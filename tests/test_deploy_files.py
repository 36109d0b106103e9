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
INSTRUCTIONS = {
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD", "RUN",
    "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip
SBATCH = set(
    re.findall(
        r"\S+",
        """account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint container
    container-id contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot
    dependency distribution error exclude exclusive export export-file extra extra-node-info get-user-env gid gpu-bind
    gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags help hint hold ignore-pbs input job-name
    kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice
    no-kill no-requeue nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket
    open-mode output overcommit oversubscribe parsable partition power prefer priority profile propagate qos quiet
    reboot requeue reservation signal sockets-per-node spread-job switches test-only thread-spec threads-per-core time
    time-min tmp tres-bind tres-per-task uid usage use-min-nodes verbose version wait wait-all-nodes wckey
    wrap""",
    )
)
"""Long options of sbatch(1)."""


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
    found = topology(
        16, "Ascend", nodes=chosen.nodes, node_rank=chosen.node_rank, master=chosen.master
    )
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


def test_options_of_slurm_exist_and_ask_for_two_nodes():
    text = (DEPLOY / "slurm.sh").read_text()
    assert subprocess.run(["bash", "-n", str(DEPLOY / "slurm.sh")]).returncode == 0
    assert os.access(DEPLOY / "slurm.sh", os.X_OK)
    head, script = text.split("set -euo pipefail")
    assert "#SBATCH" not in script, "Slurm reads none after the first command"
    assert all(line.startswith("#") for line in head.splitlines())
    lines = re.findall(r"^#SBATCH (.*)$", head, re.MULTILINE)
    options = dict(re.fullmatch(r"--([a-z-]+)(?:=(\S+))?", line).groups() for line in lines)
    assert set(options) <= SBATCH
    assert len(options) == len(lines)
    assert (options["nodes"], options["ntasks-per-node"], options["gres"]) == ("2", "1", "npu:8")
    assert {"requeue", "signal"} <= set(options)


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
    assert {call.split()[0] for call in calls} == {
        f"ADL_STATE_DIR={mounts['workspace']}/.adl/state"
    }


@pytest.mark.parametrize("name", JOBS)
def test_names_within_a_job_file_fit_together(name, stand_ins):
    job, spec = of_kind(name, "Job"), pod(name)
    [container] = spec["containers"]
    task = "" if name == "kubernetes.yaml" else f"{job['spec']['tasks'][0]['name']}-"
    master = f"{job['metadata']['name']}-{task}0.{job['metadata']['name']}"
    assert master in container["command"][-1]
    assert {v["name"] for v in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}
    [claim] = [v["persistentVolumeClaim"] for v in spec["volumes"] if v["name"] == "workspace"]
    volume = of_kind("kubernetes.yaml", "PersistentVolumeClaim")
    assert claim["claimName"] == volume["metadata"]["name"]
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    assert container["resources"]["limits"]["huawei.com/Ascend910"] == 8
    assert spec["restartPolicy"] == "Never"


def test_kubernetes_job_is_indexed_and_its_service_has_the_names_of_its_pods():
    job, service = of_kind("kubernetes.yaml", "Job"), of_kind("kubernetes.yaml", "Service")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 2
    assert service["spec"]["clusterIP"] == "None"
    assert pod("kubernetes.yaml")["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()


def test_volcano_example_starts_all_pods_or_none():
    """Only parsed: there is no schema of it here."""
    job = of_kind("volcano.yaml", "Job")
    assert job["apiVersion"] == "batch.volcano.sh/v1alpha1"
    [task] = job["spec"]["tasks"]
    assert job["spec"]["minAvailable"] == task["replicas"] == 2
    assert "Only parsed" in (DEPLOY / "volcano.yaml").read_text().replace("\n# ", " ")


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
def test_dockerfile_is_pinned_and_runs_as_nobody_special(name):
    found = instructions(name)
    assert {instruction for instruction, _ in found} <= INSTRUCTIONS
    last = dict(found)
    assert "ADD" not in last
    assert last["USER"] not in ("root", "0")
    assert Path(last["WORKDIR"]).is_absolute()
    base = (
        last["FROM"]
        if name == "Dockerfile.cpu"
        else dict(text.split("=", 1) for instruction, text in found if instruction == "ARG")["BASE"]
    )
    image, tag = base.split(":")
    assert image
    assert tag != "latest"
    assert "python:3.11" in base or "py3.11" in base


@pytest.mark.parametrize("name", DOCKERFILES)
def test_commands_of_a_dockerfile_exist(name):
    last = dict(instructions(name))
    program, *arguments = YAML(typ="safe").load(last["CMD"])
    assert program == "dvc"
    assert parse_args(arguments).func
    target, python = last["RUN"].removeprefix("make ").split()
    assert python == "PYTHON=python3.11"
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in re.findall(
        r"^#   docker run .* auto-deeplab:cpu (\w.*)$", (DEPLOY / name).read_text(), re.M
    ):
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


def test_image_keeps_git_and_leaves_out_what_is_made():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    left_out = [line for line in lines if line and not line.startswith("#")]
    assert {".venv/", "data/", "models/", ".adl/", ".dvc/cache/"} <= set(left_out)
    assert not [line for line in left_out if line.startswith((".git", ".dvc/config", ".dvcignore"))]
