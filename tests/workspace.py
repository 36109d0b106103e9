"""A workspace of its own for tests that run stages as processes, with real DVC."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import psutil
from ruamel.yaml import YAML

from adl import commands
from tests.conftest import ROOT

TINY = {
    "synthetic_height": 64, "synthetic_train_images": 4, "synthetic_val_images": 3, "export_height": 64,
    "export_width": 128, "net_arch": "architectures/tiny/net_arch.npy", "cell_arch": "architectures/tiny/cell_arch.npy",
    "block_multiplier": 1, "filter_multiplier": 2, "initial_fm": 4, "head_channels": 8, "epochs": 1, "batch_size": 2,
    "crop_size": 48, "warmup_iters": 1, "bn_momentum": 0.995,
}  # fmt: skip


# Root may read everything, whatever the permissions: give that up, and become the program that is named behind it.
WITHOUT_ROOT_RIGHTS = (
    sys.executable,
    "-c",
    """
import ctypes, os, sys
drop_capability = 24
for override in (1, 2):
    ctypes.CDLL(None).prctl(drop_capability, override, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
""",
)


def make_workspace(folder: Path) -> Path:
    """The project's tracked files with parameters for a tiny run, as a git repository of their own."""
    # Tracked and new files, so that the test runs before a commit too.
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if name.startswith("tests/"):
            continue
        if (ROOT / name).is_file() or (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    for lock in (folder / "dvc.lock", folder / "pipeline/synthetic/dvc.lock"):
        lock.unlink(missing_ok=True)
    (folder / "architectures/tiny").mkdir()
    np.save(folder / "architectures/tiny/net_arch.npy", np.array([0, 1, 1]))
    np.save(folder / "architectures/tiny/cell_arch.npy", np.array([[0, 6], [1, 4]]))
    set_params(folder, **TINY)
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "t")
    git(folder, "config", "user.email", "t@example.org")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "start")
    return folder


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that is gone may vanish between two questions."""

    def lives(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [process for process in processes if lives(process)]


def wait_for(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def rank_table(path: Path, devices: Sequence[Sequence[int]]) -> Path:
    """Write a rank table. devices: of each node."""
    ranks = itertools.count()
    servers = [
        {
            "server_id": f"10.0.0.{i}",
            "device": [{"device_id": str(d), "device_ip": f"192.{i}.{d}.6", "rank_id": str(next(ranks))} for d in ids],
        }
        for i, ids in enumerate(devices)
    ]
    path.write_text(json.dumps({"version": "1.0", "server_count": str(len(servers)), "server_list": servers}))
    return path


ONE_PROCESS = {"epochs": 60, "eval_epochs": 0, "save_minutes": 1e-9, "drop_path_keep_prob": 0.7}
"""Parameters of a training that is interrupted: it saves at every step, of which an epoch has two."""

TWO_PROCESSES = ONE_PROCESS | {"device_num": 2, "epochs": 15}
"""The same, by two processes, whose steps take longer."""


def compiled_once(folder: Path) -> dict[str, str]:
    """An environment in which MindSpore compiles a graph once, and takes it from this folder whenever it is resumed."""
    return {"MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": str(folder)}


def results(folder: Path) -> dict[str, bytes]:
    """The files that a training left: its model, its metrics and every curve."""
    curves = sorted((folder / "reports/train/plots/metrics").glob("*.tsv"))
    assert curves
    files = [folder / "models/autodeeplab.ckpt", folder / "metrics/train.json", *curves]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def set_params(folder: Path, **values) -> None:
    yaml = YAML()
    content = yaml.load(folder / "params.yaml")
    content.update(values)
    yaml.dump(content, folder / "params.yaml")


def git(folder: Path, *args: str) -> None:
    subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True)


def run(folder: Path, *command: str, timeout: float = 280) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


def succeeds(folder: Path, *command: str, timeout: float = 280) -> str:
    result = run(folder, *command, timeout=timeout)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


def adl(folder: Path, *arguments: str) -> str:
    """What `adl ARGUMENTS` prints in that folder; in this process, which has imported already what it needs."""
    before, printed = Path.cwd(), io.StringIO()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(printed):
            commands.main(list(arguments))
    finally:
        os.chdir(before)
    return printed.getvalue()


def ran(output: str) -> set[str]:
    """Names of the stages that DVC ran."""
    return {
        line.split("'")[1].split(":")[-1].removeprefix("pipeline/synthetic/dvc.yaml:")
        for line in output.splitlines()
        if line.startswith("Running stage")
    }


def files(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if p.is_file() and not {".git", "__pycache__"} & set(p.parts)}
