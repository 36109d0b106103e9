"""Stage `infer`: run the exported files on the raw val images, and compare them with what `evaluate` found.

reads:  params.yaml, models/autodeeplab.mindir, models/exported, sidecars, the val images and labels,
        data/predictions/evaluate
writes: metrics/infer.json, data/predictions/infer (label maps of the MINDIR); outside DVC reports/speed/infer.json

MindSpore runs the MINDIR; each back end in infer_backends runs the files in models/exported that it can. Outside DVC,
--model FILE --output DIR runs one file on the val images of any folder: `run_infer_310.sh MINDIR DATASET DEVICE_ID` of
2021 is the example below.

example: python -m pipeline.infer --model a.mindir --data-path /data/cityscapes --device-id 0 --backend lite --output o
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adl import device
from adl.config import params
from adl.config.params import Params
from adl.evaluation.inference import Mode
from adl.export import runtimes
from adl.export.exported import Exported
from adl.export.formats import FORMATS
from adl.export.infer import infer
from adl.files import check_output, read_json, write_json
from adl.launch.topology import check_first_device
from adl.prepare.layout import Split
from adl.workspace import EXPORTED, METRICS, MINDIR, PREDICTIONS, SPEED, as_path, sidecar
from pipeline import parser, run


def main() -> None:
    arguments = parse()
    p = params.load()
    check_first_device(arguments.device_id, p.device_target)
    frames = Split(Path(arguments.data_path or p.data_path), "val", p.descriptor).passed().frames[: p.eval_images]
    load = functools.partial(
        Exported.load,
        device_target=p.device_target,
        device_id=arguments.device_id,
    )
    measure = functools.partial(
        infer,
        frames=frames,
        dataset=p.descriptor,
        mode=Mode(mirror=p.eval_flip, window=p.eval_window),
    )
    if arguments.model:
        result = measure(
            load(arguments.model, backend=arguments.backend),
            predictions=arguments.output / "predictions",
        )
        write_json(arguments.output / "infer.json", result.metrics)
        print(result)
        return
    metrics: dict[str, Any] = {}
    speed: dict[str, Any] = {}
    for backend, kind, path in measurements(p):
        result = measure(
            load(path, backend=backend),
            predictions=None if metrics else PREDICTIONS / "infer",
            reference=PREDICTIONS / "evaluate",
        )
        print(f"{backend} {path.name}: {result}", flush=True)
        # The figures of the first stand at the top, those of the others below their back end.
        if metrics:
            metrics.setdefault(backend, {})[kind] = result.metrics
            speed.setdefault(backend, {})[kind] = result.milliseconds
        else:
            metrics |= result.metrics
            speed |= {"ms_per_image": result.milliseconds, **device.machine(p.device_target)}
    write_json(METRICS / "infer.json", metrics)
    speed["checkpoint_digest"] = read_json(sidecar(MINDIR))["checkpoint_digest"]
    write_json(SPEED / "infer.json", speed)


def parse() -> argparse.Namespace:
    command = parser("infer", __doc__)
    command.add_argument("--model", type=as_path, help="an exported file; needs --output")
    command.add_argument("--data-path", type=as_path, help="folder of the data set; default: data_path")
    command.add_argument("--device-id", type=int, default=0, metavar="N", help="default: 0")
    command.add_argument("--backend", choices=runtimes.BACKENDS, help="default: by the file's name")
    command.add_argument("--output", type=as_path, help="folder for the results of --model")
    arguments = command.parse_args()
    if arguments.model is None:
        alone = {
            "--data-path": arguments.data_path,
            "--device-id": arguments.device_id,
            "--backend": arguments.backend,
            "--output": arguments.output,
        }
        given = [option for option, value in alone.items() if value]
        if given:
            command.error(f"{', '.join(given)} needs --model")
    elif arguments.output is None:
        command.error("--model needs --output, so that the pipeline's own results stay as they are")
    else:
        check_output(arguments.output, folder=True)
    return arguments


def measurements(p: Params) -> Iterator[tuple[str, str, Path]]:
    """Back end, format and file: all that was exported and kept, with each back end that is to run it.

    MindSpore's MINDIR is the first.
    """
    files = {"mindir": MINDIR}
    for name in p.export_formats:
        path = FORMATS[name].beside(EXPORTED / MINDIR.name)
        can_average = not FORMATS[name].labels or (p.eval_flip and not p.eval_window)
        if can_average and path.exists():
            files[name] = path
    for backend in ["mindspore", *p.infer_backends]:
        for kind, path in files.items():
            if runtimes.BACKENDS[backend].suffix == path.suffix:
                yield backend, kind, path


if __name__ == "__main__":
    run(main)
