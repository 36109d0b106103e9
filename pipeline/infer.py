"""Stage `infer`: run the exported files on the raw val images, and compare them with what `evaluate` found.

reads:  params.yaml, models/autodeeplab.mindir, models/exported, sidecars, the val images and labels,
        data/predictions/evaluate
writes: metrics/infer.json, data/predictions/infer (label maps of the MINDIR); beside DVC reports/speed/infer.json

MindSpore runs the MINDIR; each back end in infer_backends runs the files in models/exported that it can. Outside DVC,
--model FILE --output DIR runs one file on the val images of any folder: `run_infer_310.sh MINDIR DATASET DEVICE_ID` of
2021 is the example below.

example: python -m pipeline.infer --model a.mindir --data-path /data/cityscapes --device-id 0 --backend lite --output o
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from adl import device
from adl.config import params
from adl.config.params import Params
from adl.dataset.descriptor import CITYSCAPES
from adl.evaluation.inference import Mode
from adl.export import runtimes
from adl.export.exported import Exported
from adl.export.formats import FORMATS
from adl.export.infer import Inference, infer
from adl.files import check_output, read_json, write_json
from adl.launch.topology import check_first_device
from adl.prepare import layout
from adl.workspace import EXPORTED, METRICS, MINDIR, PREDICTIONS, SPEED, as_path, sidecar
from pipeline import parser, run


class Measurement(NamedTuple):
    """A file and a runtime."""

    backend: str
    kind: str
    path: Path


def main() -> None:
    arguments = parse()
    p = params.load()
    frames = layout.frames(arguments.data_path or p.data_path, "val", CITYSCAPES)[: p.eval_images]
    mode = Mode(mirror=p.eval_flip)
    check_first_device(arguments.device_id, p.device_target)
    if arguments.model:
        backend = arguments.backend or runtimes.default(arguments.model)
        file = load(arguments.model, backend, p, arguments.device_id)
        folder = arguments.output / "predictions"
        result = infer(file, frames, CITYSCAPES, mode, predictions=folder)
        write_json(arguments.output / "infer.json", result.metrics())
        print(result)
        return
    results: dict[Measurement, Inference] = {}
    for one in measurements(p):
        results[one] = infer(
            load(one.path, one.backend, p),
            frames,
            CITYSCAPES,
            mode,
            predictions=None if results else PREDICTIONS / "infer",
            reference=PREDICTIONS / "evaluate",
        )
        print(f"{one.backend} {one.path.name}: {results[one]}", flush=True)
    write(results, p)


def parse() -> argparse.Namespace:
    command = parser("infer", __doc__)
    command.add_argument("--model", type=as_path, help="an exported file; needs --output")
    command.add_argument(
        "--data-path", type=as_path, help="folder of the data set; default: data_path"
    )
    command.add_argument("--device-id", type=int, default=0, metavar="N", help="default: 0")
    command.add_argument("--backend", choices=runtimes.BACKENDS, help="default: by the file's name")
    command.add_argument("--output", type=as_path, help="folder for the results of --model")
    arguments = command.parse_args()
    if arguments.model is None:
        options = ("data_path", "device_id", "backend", "output")
        alone = [f"--{name.replace('_', '-')}" for name in options if getattr(arguments, name)]
        if alone:
            command.error(f"{', '.join(alone)} needs --model")
    elif arguments.output is None:
        command.error("--model needs --output, so that the pipeline's own results stay as they are")
    else:
        check_output(arguments.output, folder=True)
    return arguments


def measurements(p: Params) -> Iterator[Measurement]:
    """Every file that was exported and kept, with each back end that is to run it; MindSpore's MINDIR first."""
    files = {"mindir": MINDIR}
    files |= {kind: FORMATS[kind].beside(EXPORTED / MINDIR.name) for kind in p.export_formats}
    for backend in ["mindspore", *p.infer_backends]:
        for kind, path in files.items():
            is_run = runtimes.BACKENDS[backend].suffix == path.suffix
            can_average = p.eval_flip or not FORMATS[kind].labels
            if is_run and can_average and (path == MINDIR or path.exists()):
                yield Measurement(backend, kind, path)


def load(path: Path, backend: str, p: Params, device_id: int = 0) -> Exported:
    return Exported.load(
        path, CITYSCAPES, backend=backend, device_target=p.device_target, device_id=device_id
    )


def write(results: dict[Measurement, Inference], p: Params) -> None:
    """The figures of the MINDIR stand at the top of the JSON files, those of the other files below their back end."""
    (main_one, *others) = results
    metrics = results[main_one].metrics()
    speed = {"ms_per_image": results[main_one].milliseconds, **device.machine(p.device_target)}
    for one in others:
        metrics.setdefault(one.backend, {})[one.kind] = results[one].metrics()
        speed.setdefault(one.backend, {})[one.kind] = results[one].milliseconds
    write_json(METRICS / "infer.json", metrics)
    of_checkpoint = {"checkpoint_digest": read_json(sidecar(MINDIR))["checkpoint_digest"]}
    write_json(SPEED / "infer.json", speed | of_checkpoint)


if __name__ == "__main__":
    run(main)
