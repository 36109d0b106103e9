"""An ONNX model in 8 bits: convolutions with symmetric weights per channel and symmetric activations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from adl.export.onnx_graph import INPUT


class _Images(CalibrationDataReader):
    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self.inputs = ({INPUT: image[None]} for image in images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def quantise(model: onnx.ModelProto, images: Iterable[np.ndarray]) -> onnx.ModelProto:
    """A model with 8-bit convolutions, whose ranges come from running it on images, (H, W, 3) uint8."""
    with tempfile.TemporaryDirectory() as folder:
        prepared, path = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(model, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            _Images(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            # Weights of 7 bits: without VNNI, processors add two products in 16 bits, which 8 bits overflow.
            reduce_range=True,
            # Signed and symmetric: with zero points, OpenVINO's convolutions take longer.
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True},
        )
        return onnx.load(path)
