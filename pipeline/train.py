"""Stage `train`: train on the train record, from the last saved state on; write the checkpoint and what belongs to it.

reads:  params.yaml, data/mindrecord, the architecture files, pretrained/ if ckpt_name names a file
writes: models/autodeeplab.ckpt and its sidecar, metrics/train.json, reports/train; outside DVC reports/speed/train.json
        and, below .adl/state (or ADL_STATE_DIR), its state while it trains and the earlier models that it keeps

On several nodes, outside DVC: run it on each node, in one folder that all of them see, with --nodes, --node-rank and
--master (or --rank-table-file). Then `dvc repro` on node 0 restores the finished run.

example: python -m pipeline.train --nodes 2 --node-rank 0 --master 10.0.0.1:8118 --dry-run
"""

from __future__ import annotations

import argparse
import contextlib
import shutil

from adl import workspace
from adl.config import params
from adl.config.params import Params
from adl.errors import AdlError
from adl.files import digest, read_json, replacing, write_json
from adl.launch.environment import plan
from adl.launch.topology import topology
from adl.report.curves import Curves
from adl.training import runs
from adl.training.run.nodes import follow, lead, worker_command
from adl.training.state import State, TrainingJob
from adl.workspace import CHECKPOINT, METRICS, PRETRAINED, REPORTS, SPEED, as_path, sidecar
from pipeline import parser, run


def main() -> None:
    arguments = command_line().parse_args()
    p = params.load()
    nodes = topology(p.device_num, p.device_target, **vars(arguments))
    if arguments.dry:
        # KEY stands for the run's name as long as it has no data.
        folder = workspace.state_folder() / "KEY"
        with contextlib.suppress(AdlError):
            folder = job_of(p).state
        print(plan(worker_command(State(folder).job), nodes))
        return
    job = job_of(p)
    state = State(job.state)
    if arguments.node_rank > 0:
        follow(state, job, nodes)
    else:
        with state.held():
            lead(state, job, nodes)
            write_outputs(state)
            runs.drop_other_finished(state)


def command_line() -> argparse.ArgumentParser:
    """Its options are the arguments of `topology`."""
    command = parser("train", __doc__)
    command.add_argument(
        "--device-id",
        dest="first_device",
        type=int,
        default=0,
        metavar="N",
        help="the first device to use on this node",
    )
    command.add_argument(
        "--nodes",
        type=int,
        default=1,
        metavar="N",
        help="machines; device_num counts all their devices",
    )
    command.add_argument("--node-rank", type=int, default=0, metavar="N", help="number of this machine, from 0")
    command.add_argument(
        "--master",
        metavar="HOST:PORT",
        help="address and free port of node 0, reachable from the others; [ADDRESS]:PORT for IPv6",
    )
    command.add_argument(
        "--loopback",
        action="store_true",
        help="several nodes on this machine alone, to try them: --master is its own address",
    )
    command.add_argument(
        "--rank-table-file",
        dest="rank_table",
        type=as_path,
        metavar="FILE",
        help="Ascend's rank table, instead of --master",
    )
    command.add_argument(
        "--dry-run",
        dest="dry",
        action="store_true",
        help="only print what would be started here",
    )
    return command


def job_of(p: Params) -> TrainingJob:
    key = runs.key_of(p)
    return TrainingJob(
        params=p,
        record=workspace.record("train"),
        val_record=workspace.record("val"),
        key=key,
        state=runs.state_of(workspace.state_folder(), key).folder,
        pretrained=PRETRAINED,
        curves=REPORTS / "train",
    )


def write_outputs(finished: State) -> None:
    """Write the declared outputs from the result of a run."""
    result = finished.result
    for target in (CHECKPOINT, sidecar(CHECKPOINT)):
        with replacing(target) as temporary:
            shutil.copyfile(result / target.name, temporary)
    with Curves(REPORTS / "train") as curves:
        curves.log(read_json(result / "history.json"))
        curves.draw()
    write_json(METRICS / "train.json", read_json(result / "metrics.json"))
    of_model = {"checkpoint_digest": digest(CHECKPOINT)}
    write_json(SPEED / "train.json", read_json(result / "speed.json") | of_model)


if __name__ == "__main__":
    run(main)
