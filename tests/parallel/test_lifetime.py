"""Processes that end with the one that started them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import psutil
import pytest

from adl.parallel.lifetime import tied
from tests.conftest import ROOT
from tests.workspace import alive, wait_for


def test_worker_whose_launcher_is_gone_before_it_begins_does_nothing(tmp_path):
    command = tied(["touch", str(tmp_path / "begun")])
    # A shell in between is another parent than the one that it was tied to.
    done = subprocess.run(["sh", "-c", f"{shlex.join(command)}; exit 5"], capture_output=True)
    assert done.returncode == 5
    assert not (tmp_path / "begun").exists()
    subprocess.run(command, check=True)
    assert (tmp_path / "begun").exists()


@pytest.mark.parametrize(
    ("module", "task", "work"),
    [
        (
            "adl.synthetic",
            "_write_scene",
            "write(Path('raw'), CITYSCAPES, images={'train': 9}, height=64, seed=0, workers=2)",
        ),
        (
            "adl.evaluation.baselines",
            "_tally",
            "score(Path('train'), Path('val'), CITYSCAPES, processes=2)",
        ),
    ],
)
def test_killed_stage_takes_the_processes_along_that_draw_or_count(tmp_path, module, task, work):
    (tmp_path / "work.py").write_text(
        f"""
import time
from pathlib import Path
import {module} as module
from tests.data import CITYSCAPES

def task(*_):
    Path("begun").touch()
    time.sleep(600)

module.{task} = task
task.__module__, task.__qualname__ = "{module}", "{task}"
if __name__ == "__main__":
    module.{work}
"""
    )
    process = psutil.Popen([sys.executable, "work.py"], env=os.environ | {"PYTHONPATH": str(ROOT)})
    wait_for((tmp_path / "begun").exists, 60)
    children = process.children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.wait()
    wait_for(lambda: not alive(children))
