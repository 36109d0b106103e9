"""The schema of params.yaml, and the only reader of the file. Whatever lists parameters follows from here."""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl.dataset import descriptor
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError, nearest
from adl.workspace import at_home

SMALLEST_SIDE = 33
"""Pixels; a smaller image has nothing left at output stride 32."""
PATHS = ("dataset", "data_path", "net_arch", "cell_arch", "data_url", "train_url")
"""Parameters that are paths, or may be."""
GPU = ("GPU", "CUDA")
NO_GPU = (
    "Since 2.10, which this project needs, MindSpore's wheels have had no GPU back end: use CPU on such a machine; the "
    "exported ONNX files run on its GPU with any runtime for it."
)


def param(*, shipped: Any, meaning: str, stages: Collection[str] = (), **limits: Any) -> Any:
    """A parameter. shipped: its value in the shipped file. stages: those whose results it can change."""
    extra = {"shipped": shipped, "stages": list(stages)}
    return Field(description=meaning, json_schema_extra=extra, **limits)


class Params(BaseModel):
    """Every hyper-parameter, flat, under the 2021 names. All must be present; types are exact."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    # Data
    dataset: str = param(
        shipped="datasets/synthetic.yaml",
        meaning="file that describes the data set: its classes and its folders",
        stages=["files"],
        min_length=1,
    )
    data_path: str = param(
        shipped="data/synthetic",
        meaning="folder of the data set's images and labels",
        stages=["files", "report"],
        min_length=1,
    )
    num_classes: int | None = param(
        shipped=None,
        meaning="number of classes; empty: as many as the data set has",
        stages=["train"],
        ge=2,
        le=255,
    )
    ignore_label: int = param(
        shipped=255,
        meaning="label of ignored pixels; 255, or at least the number of classes",
        stages=["train"],
        ge=0,
        le=255,
    )
    workers: int = param(
        shipped=4,
        meaning="data loading workers; at most the number of cores",
        ge=1,
    )

    # Embedded data: drawn street scenes
    synthetic_seed: int = param(
        shipped=0,
        meaning="seed of the drawn scenes",
        stages=["synthesize"],
        ge=0,
    )
    synthetic_height: int = param(
        shipped=112,
        meaning="pixels; images are twice as wide",
        stages=["synthesize"],
        ge=64,
        le=2048,
    )
    synthetic_train_images: int = param(
        shipped=480,
        meaning="drawn scenes to train on",
        stages=["synthesize"],
        ge=1,
    )
    synthetic_val_images: int = param(
        shipped=60,
        meaning="drawn scenes to evaluate on",
        stages=["synthesize"],
        ge=1,
    )

    # Network
    net_arch: str = param(
        shipped="architectures/small/net_arch.npy",
        meaning="file with the network path: level of each cell",
        stages=["train"],
        min_length=1,
    )
    cell_arch: str = param(
        shipped="architectures/small/cell_arch.npy",
        meaning="file with the cell: (state, operation) rows",
        stages=["train"],
        min_length=1,
    )
    filter_multiplier: int = param(
        shipped=24,
        meaning="F: channels per block at output stride 4 (20 is S, 32 M, 48 L)",
        stages=["train"],
        ge=1,
    )
    block_multiplier: int | None = param(
        shipped=None,
        meaning="blocks per cell; empty: as many as cell_arch has",
        stages=["train"],
        ge=1,
    )
    initial_fm: int | None = param(
        shipped=16,
        meaning="channels of the stem's first two convolutions; empty: 64",
        stages=["train"],
        ge=1,
    )
    head_channels: int = param(
        shipped=64,
        meaning="channels of ASPP and decoder (256 as published)",
        stages=["train"],
        ge=1,
    )
    use_ABN: bool = param(
        shipped=True,
        meaning="batch norm, then LeakyReLU; false: ReLU before the convolution",
        stages=["train"],
    )
    affine: bool = param(
        shipped=True,
        meaning="train gamma and beta of the separable and dilated convolutions",
        stages=["train"],
    )
    bn_momentum: float = param(
        shipped=0.97,
        meaning="fraction of the old running statistics that each step keeps",
        stages=["train"],
        ge=0,
        lt=1,
    )
    bn_eps: float = param(
        shipped=1e-05,
        meaning="added to the variance",
        stages=["train"],
        gt=0,
        lt=1,
    )
    parallel: bool = param(
        shipped=True,
        meaning="batch norm over all devices; no effect on one device",
        stages=["train"],
    )
    drop_path_keep_prob: float = param(
        shipped=1.0,
        meaning="scheduled drop path's final keep probability; 1: off",
        stages=["train"],
        gt=0,
        le=1,
    )

    # Training
    epochs: int = param(
        shipped=16,
        meaning="passes over the training images",
        stages=["train"],
        ge=1,
    )
    batch_size: int = param(
        shipped=4,
        meaning="images per step, over all devices",
        stages=["train"],
        ge=1,
    )
    crop_size: int = param(
        shipped=97,
        meaning="pixels; side of the training crop (Cityscapes: 769)",
        stages=["train"],
        ge=SMALLEST_SIDE,
    )
    min_scale: float = param(
        shipped=1.0,
        meaning="lower bound of the random scale of training images (0.5 as published)",
        stages=["train"],
        gt=0,
        le=8,
    )
    max_scale: float = param(
        shipped=1.0,
        meaning="upper bound of the random scale of training images (2 as published)",
        stages=["train"],
        gt=0,
        le=8,
    )
    seed: int = param(
        shipped=0,
        meaning="seed of weights, order, augmentation, dropout and drop path",
        stages=["train"],
        ge=0,
        lt=2**31,
    )
    schedule: Literal["poly"] = param(
        shipped="poly",
        meaning="learning rate after the warm-up: polynomial decay",
        stages=["train"],
    )
    base_lr: float = param(
        shipped=0.1,
        meaning="learning rate after the warm-up",
        stages=["train"],
        gt=0,
    )
    warmup_start_lr: float = param(
        shipped=5e-06,
        meaning="learning rate of the first step",
        stages=["train"],
        gt=0,
    )
    warmup_iters: int = param(
        shipped=30,
        meaning="steps of warm-up",
        stages=["train"],
        ge=0,
    )
    min_lr: float | None = param(
        shipped=None,
        meaning="the learning rate never falls below it; empty: 0",
        stages=["train"],
        ge=0,
    )
    optimizer: Literal["momentum"] = param(
        shipped="momentum",
        meaning="optimizer: stochastic gradient descent with momentum",
        stages=["train"],
    )
    weight_decay: float = param(
        shipped=0.0001,
        meaning="L2 penalty on all but batch norm's gamma and beta",
        stages=["train"],
        ge=0,
    )
    criterion: Literal["ce", "ohemce", "ce+dice"] = param(
        shipped="ohemce",
        meaning="loss: cross entropy, alone, with online hard example mining, or plus soft Dice",
        stages=["train"],
    )
    ohem_thresh: float = param(
        shipped=0.7,
        meaning="pixels whose true class gets at most this probability count as hard",
        stages=["train"],
        gt=0,
        lt=1,
    )
    dice_weight: float = param(
        shipped=1.0,
        meaning="weight of soft Dice beside the cross entropy (criterion ce+dice)",
        stages=["train"],
        gt=0,
    )
    class_weights: Literal["none", "balanced"] | list[Annotated[float, Field(ge=0)]] = param(
        shipped="none",
        meaning="weight of each class in the cross entropy, after mining: none, balanced (median frequency), or a list",
        stages=["train"],
    )
    ckpt_name: str | None = param(
        shipped=None,
        meaning="file in pretrained/ to start training from; empty: none",
        stages=["train"],
        min_length=1,
    )
    ckpt_classifier: bool = param(
        shipped=True,
        meaning="load the classifier from ckpt_name too; false: its classes differ",
        stages=["train"],
    )
    start_epoch: int = param(
        shipped=0,
        meaning="epoch to start at when ckpt_name is set; equal to epochs: only copy the weights",
        stages=["train"],
        ge=0,
    )
    save_epochs: int = param(
        shipped=100,
        meaning="epochs between saves of the resumable state",
        ge=1,
    )
    save_minutes: float | None = param(
        shipped=15,
        meaning="minutes between saves of the resumable state, also within an epoch; empty: off",
        gt=0,
    )
    eval_epochs: int = param(
        shipped=8,
        meaning="epochs between validations during training; 0: none",
        ge=0,
    )
    log_lines: Literal["plain", "model_zoo"] = param(
        shipped="plain",
        meaning="what a training run prints: an estimate now and then, or also the lines of the 2021 model zoo after each epoch",
    )
    keep_checkpoints: int = param(
        shipped=1,
        meaning="number of models to keep: the final one, and earlier ones every save_epochs",
        ge=1,
    )
    amp_level: Literal["O0", "O2", "O3"] = param(
        shipped="O0",
        meaning="mixed precision: O0 none; O2, O3 on Ascend",
        stages=["train"],
    )

    # Evaluation and export
    ms_infer: bool = param(
        shipped=False,
        meaning="average over scales 0.5 to 1.75",
        stages=["evaluate", "report"],
    )
    eval_flip: bool = param(
        shipped=True,
        meaning="average over the image and its mirror",
        stages=["evaluate", "export", "infer", "report"],
    )
    eval_window: list[Annotated[int, Field(ge=SMALLEST_SIDE)]] | None = param(
        shipped=None,
        meaning="[height, width] of overlapping windows that images are cut into; empty: whole images",
        stages=["evaluate", "export", "infer", "report"],
        min_length=2,
        max_length=2,
    )
    eval_images: int | None = param(
        shipped=None,
        meaning="evaluate only this many val images, from the first on; empty: all",
        stages=["evaluate", "infer", "report"],
        ge=1,
    )
    export_height: int = param(
        shipped=112,
        meaning="pixels; height of the exported file's input",
        stages=["export"],
        ge=SMALLEST_SIDE,
    )
    export_width: int = param(
        shipped=224,
        meaning="pixels; width of the exported file's input",
        stages=["export"],
        ge=SMALLEST_SIDE,
    )
    export_formats: list[Literal["onnx", "onnx-int8", "mindir-labels", "onnx-labels", "onnx-int8-labels", "air"]] = (
        param(
            shipped=["onnx", "onnx-int8"],
            meaning="files to export beside the MINDIR (docs/tutorials/deploy.md)",
            stages=["export", "infer"],
        )
    )
    infer_backends: list[Literal["openvino", "onnxruntime", "lite"]] = param(
        shipped=["openvino"],
        meaning="inference runtimes to benchmark besides MindSpore",
        stages=["infer"],
    )

    # Machine
    device_target: Literal["CPU", "Ascend"] = param(
        shipped="CPU",
        meaning="device that MindSpore runs on",
        stages=["train", "evaluate", "export", "infer"],
    )
    device_num: int = param(
        shipped=1,
        meaning="devices to train on",
        stages=["train", "evaluate"],
        ge=1,
    )
    modelArts: bool = param(
        shipped=False,
        meaning="run on Huawei Cloud ModelArts (docs/tutorials/modelarts.md)",
    )
    data_url: str | None = param(
        shipped=None,
        meaning="ModelArts: where data sets and records are; empty: train_url",
        min_length=1,
    )
    train_url: str | None = param(
        shipped=None,
        meaning="ModelArts: where results go, and state",
        min_length=1,
    )

    @functools.cached_property
    def descriptor(self) -> DatasetDescriptor:
        """The data set, as its file describes it at the first look. Raises AdlError."""
        return descriptor.load(self.dataset)


class Entry(NamedTuple):
    """What a parameter is. takes: its values, in words. shipped: its value, as params.yaml spells it."""

    name: str
    takes: str
    meaning: str
    shipped: str
    stages: list[str]


def schema() -> Iterator[Entry]:
    """Every parameter, in the order of the file."""
    fields = Params.model_json_schema()["properties"]
    texts = _spelled({name: field["shipped"] for name, field in fields.items()})
    for name, field in fields.items():
        yield Entry(name, _takes(field), field["description"], texts[name], field["stages"])


def _spelled(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as params.yaml holds them."""
    yaml = YAML()
    # YAML 1.1 writes 1.0e-05 with its point, without which PyYAML takes a number for text.
    yaml.version = (1, 1)
    yaml.default_flow_style = None
    stream = io.StringIO()
    yaml.dump(dict(values), stream)
    _, _, *lines = stream.getvalue().splitlines()  # after the version, and the line that ends the head
    return {name: line.partition(":")[2].strip() for name, line in zip(values, lines, strict=True)}


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
        # A value that may take several forms has an error for each.
        last = {found["loc"][0]: found for found in error.errors()}
        faults = [_fault(found) for found in last.values()]
        if {found["type"] for found in last.values()} & {"missing", "extra_forbidden"}:
            faults.append("`adl recipe --update` adds what is missing, and drops what is unknown.")
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
        number = f"{field['maxItems']}: " if "maxItems" in field else ""
        return f"list of {number}{_takes(field['items'])}"
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
    if isinstance(p.class_weights, list) and not any(p.class_weights):
        yield "class_weights: no weight is above 0; a weight of 0 leaves its class out of the loss."
    for name in ("export_formats", "infer_backends"):
        if len(set(values[name])) < len(values[name]):
            yield f"{name}: names one of {values[name]} twice."
    if p.device_target != "Ascend":
        if "air" in p.export_formats:
            yield "export_formats: MindSpore writes air only on device_target Ascend; leave it out."
        if p.amp_level != "O0":
            yield f"amp_level: {p.amp_level} needs device_target Ascend; on a CPU use O0."
