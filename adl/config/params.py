"""The schema of params.yaml, and the only reader of the file. Whatever lists parameters follows from here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl.dataset.descriptor import IGNORE
from adl.errors import AdlError, nearest
from adl.workspace import at_home

SMALLEST_SIDE = 33
"""Pixels; a smaller image has nothing left at output stride 32."""
PATHS = ("data_path", "net_arch", "cell_arch", "data_url", "train_url")
"""Parameters that are paths, or may be."""
GPU = ("GPU", "CUDA")
NO_GPU = (
    "Since 2.10, which this project needs, MindSpore's wheels have no GPU back end: use CPU on such a machine; the "
    "exported ONNX files run on its GPU with any runtime for it."
)


def param(shipped: str, meaning: str, *stages: str, **limits: Any) -> Any:
    """A parameter. stages: those whose results it can change.

    shipped: its value, as params.yaml spells it; a number in scientific notation with a point, since PyYAML takes 1e-5
    for a text.
    """
    extra: dict[str, Any] = {"shipped": shipped, "stages": list(stages)}
    return Field(description=meaning, json_schema_extra=extra, **limits)


def of_training(shipped: str, meaning: str, *stages: str, **limits: Any) -> Any:
    """A parameter that can change the trained weights. stages: the others whose results it can change."""
    return param(shipped, meaning, "train", *stages, **limits)


class Params(BaseModel):
    """Every hyper-parameter, flat, under the 2021 names. All must be present; types are exact."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    # fmt: off
    # Data
    data_path: str = param("data/synthetic", "folder that holds leftImg8bit/ and gtFine/", "report", min_length=1)
    expected_train_images: int | None = param("", "images that the train split must have (Cityscapes: 2975); empty: any", "mindrecord@train", ge=1)
    expected_val_images: int | None = param("", "images that the val split must have (Cityscapes: 500); empty: any", "mindrecord@val", ge=1)
    num_classes: int = of_training("19", "number of classes; must equal that of the data set (19)", ge=2, le=255)
    ignore_label: int = of_training("255", "label of ignored pixels; 255, or at least num_classes", ge=0, le=255)
    workers: int = param("4", "data loading workers; at most the number of cores", ge=1)

    # Embedded data: drawn street scenes
    synthetic_seed: int = param("0", "seed of the drawn scenes", "synthesize", ge=0)
    synthetic_height: int = param("112", "pixels; images are twice as wide", "synthesize", ge=64, le=2048)
    synthetic_train_images: int = param("480", "drawn scenes to train on", "synthesize", ge=1)
    synthetic_val_images: int = param("60", "drawn scenes to evaluate on", "synthesize", ge=1)

    # Network
    net_arch: str = of_training("architectures/small/net_arch.npy", "file with the network path: level of each cell", min_length=1)
    cell_arch: str = of_training("architectures/small/cell_arch.npy", "file with the cell: (state, operation) rows", min_length=1)
    filter_multiplier: int = of_training("24", "F: channels per block at output stride 4 (20 is S, 32 M, 48 L)", ge=1)
    block_multiplier: int = of_training("2", "blocks per cell; must equal those of cell_arch", ge=1)
    initial_fm: int | None = of_training("16", "channels of the stem's first two convolutions; empty: 64", ge=1)
    head_channels: int = of_training("64", "channels of ASPP and decoder (256 as published)", ge=1)
    use_ABN: bool = of_training("true", "batch norm, then LeakyReLU; false: ReLU before the convolution")
    affine: bool = of_training("true", "train gamma and beta of the separable and dilated convolutions")
    bn_momentum: float = of_training("0.97", "fraction of the old running statistics that each step keeps", ge=0, lt=1)
    bn_eps: float = of_training("1.0e-5", "added to the variance", gt=0, lt=1)
    parallel: bool = of_training("true", "batch norm over all devices; no effect on one device")
    drop_path_keep_prob: float = of_training("1.0", "scheduled drop path's final keep probability; 1: off", gt=0, le=1)

    # Training
    epochs: int = of_training("16", "passes over the training images", ge=1)
    batch_size: int = of_training("4", "images per step, over all devices", ge=1)
    crop_size: int = of_training("97", "pixels; side of the training crop (Cityscapes: 769)", ge=SMALLEST_SIDE)
    min_scale: float = of_training("1.0", "lower bound of the random scale of training images (0.5 as published)", gt=0, le=8)
    max_scale: float = of_training("1.0", "upper bound of the random scale of training images (2 as published)", gt=0, le=8)
    seed: int = of_training("0", "seed of weights, order, augmentation, dropout and drop path", ge=0, lt=2**31)
    schedule: Literal["poly"] = of_training("poly", "learning rate after the warm-up: polynomial decay")
    base_lr: float = of_training("0.1", "learning rate after the warm-up", gt=0)
    warmup_start_lr: float = of_training("5.0e-6", "learning rate of the first step", gt=0)
    warmup_iters: int = of_training("30", "steps of warm-up", ge=0)
    min_lr: float | None = of_training("", "the learning rate never falls below it; empty: 0", ge=0)
    optimizer: Literal["momentum"] = of_training("momentum", "optimizer: stochastic gradient descent with momentum")
    weight_decay: float = of_training("1.0e-4", "L2 penalty on all but batch norm's gamma and beta", ge=0)
    criterion: Literal["ce", "ohemce"] = of_training("ohemce", "loss: cross entropy, or cross entropy with online hard example mining")
    ohem_thresh: float = of_training("0.7", "pixels whose true class gets at most this probability count as hard", gt=0, lt=1)
    ckpt_name: str | None = of_training("", "file in pretrained/ to start training from; empty: none", min_length=1)
    ckpt_classifier: bool = of_training("true", "load the classifier from ckpt_name too; false: its classes differ")
    start_epoch: int = of_training("0", "epoch to start at when ckpt_name is set; equal to epochs: only copy the weights", ge=0)
    save_epochs: int = param("100", "epochs between saves of the resumable state", ge=1)
    save_minutes: float | None = param("15", "minutes between saves of the resumable state, also within an epoch; empty: off", gt=0)
    eval_epochs: int = param("8", "epochs between validations during training; 0: none", ge=0)
    log_lines: Literal["plain", "model_zoo"] = param("plain", "what a training run prints: an estimate now and then, or also the lines of the 2021 model zoo after each epoch")
    keep_checkpoints: int = param("1", "number of models to keep: the final one, and earlier ones every save_epochs", ge=1)
    amp_level: Literal["O0", "O2", "O3"] = of_training("O0", "mixed precision: O0 none; O2, O3 on Ascend")

    # Evaluation and export
    ms_infer: bool = param("false", "average over scales 0.5 to 1.75", "evaluate", "report")
    eval_flip: bool = param("true", "average over the image and its mirror", "evaluate", "export", "infer", "report")
    eval_images: int | None = param("", "evaluate only this many val images, from the first on; empty: all", "evaluate", "infer", "report", ge=1)
    export_height: int = param("112", "pixels; height of the exported file's input", "export", ge=SMALLEST_SIDE)
    export_width: int = param("224", "pixels; width of the exported file's input", "export", ge=SMALLEST_SIDE)
    export_formats: list[Literal["onnx", "onnx-int8", "mindir-labels", "onnx-labels", "onnx-int8-labels", "air"]] = param("[onnx, onnx-int8]", "files to export beside the MINDIR (docs/tutorials/deploy.md)", "export", "infer")
    infer_backends: list[Literal["openvino", "onnxruntime", "lite"]] = param("[openvino]", "inference runtimes to benchmark besides MindSpore", "infer")

    # Machine
    device_target: Literal["CPU", "Ascend"] = of_training("CPU", "device that MindSpore runs on", "evaluate", "export", "infer")
    device_num: int = of_training("1", "devices to train on", "evaluate", ge=1)
    modelArts: bool = param("false", "run on Huawei Cloud ModelArts (docs/tutorials/modelarts.md)")
    data_url: str | None = param("", "ModelArts: where data sets and records are; empty: train_url", min_length=1)
    train_url: str | None = param("", "ModelArts: where results go, and state", min_length=1)
    # fmt: on


class Entry(NamedTuple):
    """What a parameter is. takes: its values, in words. shipped: its value, as params.yaml spells it."""

    name: str
    takes: str
    meaning: str
    shipped: str
    stages: list[str]


def schema() -> Iterator[Entry]:
    """Every parameter, in the order of the file."""
    for name, field in Params.model_json_schema()["properties"].items():
        yield Entry(name, _takes(field), field["description"], field["shipped"], field["stages"])


def of_stage(stage: str) -> tuple[str, ...]:
    """The parameters that can change a stage's results. Those of `train` are what its sidecar and its key record."""
    return tuple(entry.name for entry in schema() if stage in entry.stages)


def load(path: str | Path = "params.yaml", **overrides: Any) -> Params:
    """Read and check the whole file, with some values replaced.

    Raises AdlError with every fault at once: unknown key (with the nearest name), missing key, wrong type, out of
    range, impossible combination.
    """
    return _checked(content(path) | overrides, path)


def parse(text: str, name: str) -> Params:
    """`load` for the text of a file; errors begin with `name`."""
    return _checked(_mapping(text, name), name)


def content(path: str | Path) -> dict[str, Any]:
    """What stands in a parameter file, each value unchecked. Raises AdlError if that cannot be said."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise AdlError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise AdlError(f"{path}: not UTF-8 text ({error}). Save it as UTF-8.") from None
    return _mapping(text, path)


def _mapping(text: str, name: str | Path) -> dict[str, Any]:
    try:
        found = YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:  # a ValueError of a date that does not exist
        advice = ""
        if re.search("^<<<<<<< ", text, re.MULTILINE):
            advice = "\nGit left its conflict marks in it: resolve them."
        raise AdlError(f"{name}: not valid YAML.\n{error}{advice}") from None
    if not isinstance(found, dict):
        raise AdlError(f"{name}: expected one `name: value` per line.")
    return found


def _checked(values: Mapping[str, Any], name: str | Path) -> Params:
    try:
        params = Params.model_validate(values)
        faults = list(_impossible(params))
    except ValidationError as error:
        faults = [_fault(found) for found in error.errors()]
    if faults:
        raise AdlError("\n  ".join([f"{name}: is not valid:", *faults]))
    return params


def plain(name: str, value: Any) -> Any:
    """A parameter's value as the file holds it. Of a path: with the home folder for ~, which DVC takes literally.

    dvc.lock names data_path, and /x/cs/ and /x/cs would be two data sets.
    """
    if name not in PATHS or not value or not isinstance(value, str):
        return value
    path = at_home(value)
    return os.path.normpath(path) if name == "data_path" else path


_KINDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true, false",
    "string": "text",
    "null": "empty",
}
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
"""JSON schema's names."""


def _takes(field: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words."""
    if "anyOf" in field:
        return " or ".join(map(_takes, field["anyOf"]))
    if "items" in field:
        return f"list of {_takes(field['items'])}"
    if "const" in field:
        return field["const"]
    if "enum" in field:
        return ", ".join(field["enum"])
    limits = [f"{sign} {field[name]:g}" for name, sign in _LIMITS.items() if name in field]
    return f"{_KINDS[field['type']]} {', '.join(limits)}".strip()


def _fault(error: ErrorDetails) -> str:
    """One fault that pydantic found, in words."""
    name, value = str(error["loc"][0]), error["input"]
    fields = Params.model_json_schema()["properties"]
    if name not in fields:
        meant = nearest(name, fields)
        hint = f"; did you mean {meant}?" if meant else "."
        return f"{name}: unknown parameter{hint}"
    meaning = fields[name]["description"]
    if error["type"] == "missing":
        return f"{name}: missing. Meaning: {meaning}."
    hint = f" Meaning: {meaning}."
    if name == "device_target" and str(value).upper() in GPU:
        hint = f" {NO_GPU}"
    if (
        error["type"].endswith("_type")
        and isinstance(value, str)
        and re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", value)
    ):
        hint = " Remove the quotes."
    return f"{name}: {value!r} is not accepted; expected: {_takes(fields[name])}.{hint}"


def _impossible(p: Params) -> Iterator[str]:
    """Combinations of values that no run can have."""
    values = p.model_dump()
    for name in PATHS:
        path = plain(name, values[name])
        if path != values[name]:
            yield f"{name}: write {path} instead of {values[name]}."
    if p.num_classes > p.ignore_label != IGNORE:
        yield f"ignore_label: {p.ignore_label} is a class; use {IGNORE}, or at least num_classes ({p.num_classes})."
    for low, high in (
        ("min_lr", "base_lr"),
        ("warmup_start_lr", "base_lr"),
        ("min_scale", "max_scale"),
        ("start_epoch", "epochs"),
    ):
        if (values[low] or 0) > values[high]:
            yield f"{low}: {values[low]} is above {high} ({values[high]})."
    if p.start_epoch > 0 and p.ckpt_name is None:
        yield f"start_epoch: {p.start_epoch} needs ckpt_name, the weights to start from."
    if p.ckpt_name and Path(p.ckpt_name).name != p.ckpt_name:
        yield f"ckpt_name: {p.ckpt_name} must be the name of a file in pretrained/, without a folder."
    if p.batch_size % p.device_num:
        yield f"batch_size: {p.batch_size} images cannot be divided evenly among device_num {p.device_num} devices."
    group = p.batch_size if p.parallel else p.batch_size // p.device_num
    if group == 1:
        yield (
            "batch_size: one image per batch norm group (all devices; without `parallel`, each device). ASPP pools each "
            "image to one value per channel, so batch norm has no variance with a single image; use at least 2 per "
            "group."
        )
    for name in ("export_formats", "infer_backends"):
        if len(set(values[name])) < len(values[name]):
            yield f"{name}: names one of {values[name]} twice."
    if p.device_target != "Ascend":
        if "air" in p.export_formats:
            yield "export_formats: MindSpore writes air only on device_target Ascend; leave it out."
        if p.amp_level != "O0":
            yield f"amp_level: {p.amp_level} needs device_target Ascend; on a CPU use O0."
