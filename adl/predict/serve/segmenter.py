"""From the bytes of an image file to the answer that a client gets."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import cv2
import numpy as np

from adl.dataset.descriptor import DatasetDescriptor
from adl.predict import photographs
from adl.predict.overlays import overlay as blended
from adl.predict.overlays import shares
from adl.predict.serve.answers import ClassShare, LabelClass, Prediction, Preview

PREVIEW_SIDE = 2048
"""Pixels of the longest side: a Cityscapes image is shown as it is, and a phone's fits into the browser's canvas."""


class Segmenter:
    """A predictor that takes files and gives answers. classes: of the data set, by their names."""

    def __init__(self, predictor: Callable[[np.ndarray], np.ndarray], dataset: DatasetDescriptor) -> None:
        self.predictor, self.dataset = predictor, dataset
        self.classes = {
            one.name: LabelClass(
                name=one.name,
                train_id=train_id,
                label_id=dataset.label_ids[train_id],
                colour=f"#{bytes(one.colour).hex()}",
            )
            for train_id, one in enumerate(dataset.classes)
        }

    def __call__(
        self,
        content: bytes | bytearray,
        waited: float,
        *,
        overlay: bool = False,
        preview: bool = False,
    ) -> Prediction:
        """Segment the image in a file's bytes. Raises ImageError if it is damaged.

        waited: milliseconds, for the answer.
        """
        image = photographs.decode(content).pixels
        began = time.perf_counter()
        labels = self.predictor(image)
        milliseconds = 1000 * (time.perf_counter() - began)
        prediction = Prediction(
            width=image.shape[1],
            height=image.shape[0],
            milliseconds=round(milliseconds, 1),
            waited=round(waited, 1),
            classes=[
                ClassShare(share=share, **dict(self.classes[name]))
                for name, share in shares(labels, self.dataset).items()
            ],
            label_ids=_encoded(self.dataset.label_ids[labels], ".png"),
            train_ids=_encoded(labels, ".png"),
        )
        if overlay:
            prediction.overlay = _encoded(blended(image, labels, self.dataset)[..., ::-1], ".jpg")
        if preview:
            prediction.preview = _preview(image, labels)
        return prediction


def _preview(image: np.ndarray, labels: np.ndarray) -> Preview:
    """image: (H, W, 3) uint8 BGR. labels: (H, W) uint8 train ids. Both are reduced alike."""
    scale = min(1.0, PREVIEW_SIDE / max(labels.shape))
    width, height = (max(1, round(scale * side)) for side in labels.shape[::-1])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    return Preview(
        width=width,
        height=height,
        image=_encoded(image, ".jpg"),
        train_ids=_encoded(labels, ".png"),
    )


def _encoded(image: np.ndarray, suffix: str) -> str:
    """An image file in base64."""
    # Else the colours of an overlay would run into each other. A PNG has no such setting.
    writing = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return base64.b64encode(cv2.imencode(suffix, image, writing)[1].data).decode()
