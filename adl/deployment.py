"""The exported file at work: raw images in, label maps out, compared with the evaluation of the checkpoint."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from adl import inference, runtime
from adl.artifacts import percent, read_image, replacing_folder, sidecar_path, write_image
from adl.cityscapes import LABEL_ID, Frame, files, prediction_path
from adl.errors import AdlError
from adl.progress import track
from adl.scoring import Confusion


@dataclasses.dataclass
class Inference:
    metrics: dict[str, Any]
    speed: dict[str, Any]


def infer(
    mindir: Path, frames: list[Frame], *, device_target: str, flip: bool, reference: Path, predictions: Path
) -> Inference:
    """Run a MINDIR on raw frames.

    reference: folder of label maps that the checkpoint gave for the same frames. predictions: folder that receives
    the label-id PNGs. Raises AdlError where an image has another size than the file takes.
    """
    sidecar = json.loads(sidecar_path(mindir).read_text(encoding="utf-8"))
    size = (sidecar["input"]["height"], sidecar["input"]["width"])
    runtime.start(device_target)
    passes = {1.0: inference.exported(mindir)}
    mode = inference.modes(multiscale=False, flip=flip)[0]
    confusion, agreement, seconds = Confusion(), [], []
    with replacing_folder(predictions) as folder:
        for frame in track(frames, len(frames), "inferring"):
            content, truth = files.read_frame(frame)
            image = files.decode_image(content, frame.image)
            if image.shape[:2] != size:
                raise AdlError(
                    f"{frame.image}: is {image.shape[0]}×{image.shape[1]} (height × width), but {mindir} takes "
                    f"{size[0]}×{size[1]}. Set export_height and export_width to the size of the images."
                )
            start = time.perf_counter()
            prediction = LABEL_ID[inference.label_maps(passes, image[None], flip=flip)[mode][0]]
            seconds.append(time.perf_counter() - start)
            write_image(prediction_path(folder, frame.name), prediction)
            confusion.add(truth, prediction)
            agreement.append(float((prediction == _reference(reference, frame.name)).mean()))
    # The first image waits for the compilation: of one alone there is no usual time.
    usual = round(1000 * float(np.median(seconds[1:])), 1) if len(seconds) > 1 else None
    return Inference(
        metrics={
            "mIOU": percent(confusion.mean_iou()),
            "agreement": percent(float(np.mean(agreement))),
            "images": len(frames),
        },
        speed={"ms_per_image": usual, **runtime.machine(device_target)},
    )


def _reference(folder: Path, name: str) -> np.ndarray:
    try:
        return read_image(prediction_path(folder, name))
    except AdlError as error:
        raise AdlError(f"{error} The stage evaluate writes it (`dvc repro evaluate`).") from None
