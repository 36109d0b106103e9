"""Stage `train`: train on the train record, from the last saved state on; write the checkpoint and what belongs to it.

reads:  params.yaml, data/mindrecord, the architecture files, pretrained/ where ckpt_name names a file
writes: models/autodeeplab.ckpt and its sidecar, models/intermediate, metrics/train.json, reports/train,
        reports/speed/train.json; while it trains, its state below .adl/state (or ADL_STATE_DIR)

On several nodes, outside DVC: run it on each node, in one folder that all of them see, with --nodes, --node-rank and
--master (or --rank-table-file). Then `dvc repro` on node 0 puts the finished training in place.

example: python -m pipeline.train --nodes 2 --node-rank 0 --master 10.0.0.1:8118 --dry-run
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adl import launcher, params, records, runtime, state
from adl.architecture import Architecture
from adl.artifacts import replacing, replacing_folder, sidecar_path, write_json
from adl.curves import Curves
from adl.errors import AdlError
from adl.params import TRAINING, Params
from adl.state import State
from adl.worker import Job
from pipeline import (
    CHECKPOINT,
    INTERMEDIATE,
    METRICS,
    PRETRAINED,
    RECORDS,
    REPORTS,
    START_WEIGHTS,
    parser,
    run,
)

FEW = 3
"""Differing parameters up to which two trainings are alike."""
PATIENCE = 1800.0
"""Seconds that a node waits for node 0: as long as Ascend's ranks wait for each other."""
POLL = 0.5


def main() -> None:
    whole = parser("train", __doc__)
    whole.add_argument("--device-id", type=int, default=0, metavar="N", help="the first device to use on this node")
    whole.add_argument(
        "--nodes", type=int, default=1, metavar="N", help="machines; device_num counts all their devices"
    )
    whole.add_argument("--node-rank", type=int, default=0, metavar="N", help="number of this machine, from 0")
    whole.add_argument("--master", metavar="HOST:PORT", help="a free port of node 0, which the others reach")
    whole.add_argument("--rank-table-file", type=Path, metavar="FILE", help="Ascend's rank table, instead of --master")
    whole.add_argument("--dry-run", action="store_true", help="only print what would be started here")
    arguments = whole.parse_args()
    p = params.load()
    group = launcher.group_of(
        p.device_num,
        p.device_target,
        first_device=arguments.device_id,
        nodes=arguments.nodes,
        node_rank=arguments.node_rank,
        master=arguments.master,
        rank_table=arguments.rank_table_file,
    )
    record, val_record = (records.record_path(RECORDS, split) for split in ("train", "val"))
    key = key_of(p, record, val_record)
    own = state.of_key(runtime.state_folder(), key)
    job = Job(p, record, val_record, own.folder, PRETRAINED, REPORTS / "train")
    command = [sys.executable, "-m", "adl.worker", str(own.job)]
    if arguments.dry_run:
        print(launcher.plan(command, group))
        return

    def launch() -> int:
        runtime.check_device_target(p.device_target, group.first_device + len(group.ranks))
        return launcher.Launcher(own.logs).run(command, group)

    if arguments.node_rank == 0:
        lead(own, key, job, launch)
    else:
        follow(own, job, launch)


def key_of(p: Params, record: Path, val_record: Path) -> dict[str, Any]:
    """All that changes the result of a training."""
    architecture = Architecture.from_params(p)
    return {
        "format": state.FORMAT,
        "params": p.model_dump(include=set(TRAINING)),
        "contents": {
            "net_arch": " ".join(map(str, architecture.net)),
            "cell_arch": " ".join(f"({before}, {operation})" for before, operation in architecture.cell),
            "ckpt_name": START_WEIGHTS.read_text(encoding="utf-8").strip(),
            # The val data changes no weights, but the curves that belong to the result.
            **{path.stem: records.read_manifest(path)["digest"] for path in (record, val_record)},
        },
    }


def lead(own: State, key: Mapping[str, Any], job: Job, launch: Callable[[], int]) -> None:
    """Node 0: decide whether there is anything to train, train it with the other nodes, and put it in place."""
    with own.held():
        state.prepare(own, key, state.code_digest(state.train_code()))
        if own.finished:
            print(
                f"this training was finished before: its results are put in place again from {own.folder}. To train "
                f"anew: `adl state drop {own.name}`, then `dvc repro -f -s train`."
            )
        else:
            if not own.positions():
                tell_of_nearest(own, key)
            with job.told(own.job):
                exit_code = launch()
            if exit_code or not own.finished:
                sys.exit(exit_code or 1)
        put_in_place(own)
        state.drop_other_finished(own)


def follow(own: State, job: Job, launch: Callable[[], int]) -> None:
    """Another node: wait until node 0 has begun this very job, or has finished it. Writes nothing before."""
    deadline = time.monotonic() + PATIENCE
    print("waiting for node 0", flush=True)
    while not job.is_told(own.job):
        if own.finished and own.damaged_result() is None:
            print(f"this training was finished before: {own.folder}. `dvc repro` on node 0 puts it in place.")
            return
        if time.monotonic() > deadline:
            raise AdlError(f"node 0 did not begin this training, or sees other parameters: {own.job} is not this one.")
        time.sleep(POLL)
    sys.exit(launch())


def tell_of_nearest(own: State, key: Mapping[str, Any]) -> None:
    """Say where a training that a person may take for this one waits: this one begins at its first step."""
    nearest = state.nearest_waiting(own, key)
    if nearest is not None and len(nearest[1]) <= FEW:
        waiting, differing = nearest
        print(
            f"this training begins anew. The unfinished one in {waiting.folder} differs from it in "
            f"{'; '.join(differing)}. Change that back to go on from there, or remove it: `adl state drop "
            f"{waiting.name}`.",
            flush=True,
        )


def put_in_place(finished: State) -> None:
    """Write the declared outputs from the result of a training."""
    for source, target in (
        (finished.result / CHECKPOINT.name, CHECKPOINT),
        (sidecar_path(finished.result / CHECKPOINT.name), sidecar_path(CHECKPOINT)),
    ):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
    with replacing_folder(INTERMEDIATE) as folder:
        shutil.copytree(finished.result / INTERMEDIATE.name, folder, dirs_exist_ok=True)
    with Curves(REPORTS / "train") as curves:
        curves.log(_json(finished.result / "history.json"))
        curves.draw()
    write_json(METRICS / "train.json", _json(finished.result / "metrics.json"))
    write_json(REPORTS / "speed" / "train.json", _json(finished.result / "speed.json"))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
