"""The schema of params.yaml, and the only reader of the file."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl.cityscapes import CLASSES, IGNORE
from adl.errors import AdlError

SMALLEST_SIDE = 33
"""Pixels; a smaller image has nothing left at output stride 32."""

TRAINING = (
    "net_arch", "cell_arch", "filter_multiplier", "block_multiplier", "initial_fm", "head_channels", "use_ABN",
    "affine", "bn_momentum", "bn_eps", "parallel", "drop_path_keep_prob", "num_classes", "ignore_label", "epochs",
    "batch_size", "crop_size", "min_scale", "max_scale", "seed", "base_lr", "warmup_start_lr", "warmup_iters",
    "min_lr", "weight_decay", "criterion", "ohem_thresh", "ckpt_name", "ckpt_classifier", "start_epoch",
    "amp_level", "device_target", "device_num",
)  # fmt: skip
"""What changes a trained model: the parameters of the stage `train`, and what its sidecar records."""


class Params(BaseModel):
    """Every hyper-parameter, flat, under the names of 2021. All must be present; types are exact."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    # Data
    data_path: str = Field(min_length=1, description="folder that holds leftImg8bit/ and gtFine/")
    expected_train_images: int | None = Field(ge=1, description="images that the train split must have; null: any")
    expected_val_images: int | None = Field(ge=1, description="images that the val split must have; null: any")
    num_classes: int = Field(ge=2, le=255, description="classes; must equal those of the records (19)")
    ignore_label: int = Field(
        ge=0, le=255, description="label of pixels that do not count; 255 or at least num_classes"
    )
    workers: int = Field(ge=1, description="data loading workers; clamped to the cores")

    # Embedded data
    synthetic_seed: int = Field(ge=0, description="seed of the drawn scenes")
    synthetic_height: int = Field(ge=64, le=2048, description="pixels; images are twice as wide")
    synthetic_train_images: int = Field(ge=1, description="drawn scenes to train on")
    synthetic_val_images: int = Field(ge=1, description="drawn scenes to evaluate on")

    # Network
    net_arch: str = Field(min_length=1, description="file with the network path: levels of the cells")
    cell_arch: str = Field(min_length=1, description="file with the cell: (state, operation) rows")
    filter_multiplier: int = Field(ge=1, description="F: channels a block at output stride 4 (20 is S, 32 M, 48 L)")
    block_multiplier: int = Field(ge=1, description="blocks in a cell; must equal those of cell_arch")
    initial_fm: int | None = Field(ge=1, description="channels of the stem's first two convolutions; null: 64")
    head_channels: int = Field(ge=1, description="channels of ASPP and decoder (256 as published)")
    use_ABN: bool = Field(description="batch norm, then LeakyReLU; false: ReLU before the convolution")
    affine: bool = Field(description="train gamma and beta of the separable and dilated convolutions")
    bn_momentum: float = Field(ge=0, lt=1, description="share of the old running statistic that stays at a step")
    bn_eps: float = Field(gt=0, lt=1, description="added to the variance")
    parallel: bool = Field(description="batch norm over all devices; no effect on one device")
    drop_path_keep_prob: float = Field(gt=0, le=1, description="scheduled drop path's final keep probability; 1: off")

    # Training
    epochs: int = Field(ge=1, description="passes over the training images")
    batch_size: int = Field(ge=1, description="images a step, over all devices")
    crop_size: int = Field(ge=SMALLEST_SIDE, description="pixels; side of the training crop (769 on Cityscapes)")
    min_scale: float = Field(gt=0, le=8, description="smallest random scale of a training image (0.5 as published)")
    max_scale: float = Field(gt=0, le=8, description="largest random scale of a training image (2 as published)")
    seed: int = Field(ge=0, lt=2**31, description="seed of weights, order, augmentation, dropout and drop path")
    base_lr: float = Field(gt=0, description="learning rate after the warm-up")
    warmup_start_lr: float = Field(gt=0, description="learning rate of the first step")
    warmup_iters: int = Field(ge=0, description="steps of warm-up")
    min_lr: float | None = Field(ge=0, description="the learning rate never falls below it; null: 0")
    weight_decay: float = Field(ge=0, description="L2 penalty on all but batch norm's gamma and beta")
    criterion: Literal["ce", "ohemce"] = Field(description="loss: cross entropy, or with hard example mining")
    ohem_thresh: float = Field(gt=0, lt=1, description="pixels whose class has at most this probability are hard")
    ckpt_name: str | None = Field(min_length=1, description="file in pretrained/ to start training from; null: none")
    ckpt_classifier: bool = Field(description="take the classifier from ckpt_name too; false: other classes there")
    start_epoch: int = Field(ge=0, description="epoch to begin at with ckpt_name; equal to epochs: only copy weights")
    save_epochs: int = Field(ge=1, description="epochs between two saves of the state")
    save_minutes: float | None = Field(
        gt=0, description="minutes between two saves of the state, in mid-epoch too; null: off"
    )
    eval_epochs: int = Field(
        ge=0, description="epochs between two validations while training; 0: none; retrains no finished run"
    )
    keep_checkpoints: int = Field(
        ge=1, description="models to keep, one every save_epochs; a change does not train a finished run again"
    )
    amp_level: Literal["O0", "O2", "O3"] = Field(description="mixed precision: O0 none, O2 and O3 on Ascend")

    # Evaluation, export
    ms_infer: bool = Field(description="average over scales 0.5 to 1.75")
    eval_flip: bool = Field(description="average over the image and its mirror")
    eval_images: int | None = Field(ge=1, description="evaluate the first so many val images; null: all")
    export_height: int = Field(ge=SMALLEST_SIDE, description="pixels; height of the exported file's input")
    export_width: int = Field(ge=SMALLEST_SIDE, description="pixels; width of the exported file's input")

    # Machine
    device_target: Literal["CPU", "Ascend"] = Field(description="device that MindSpore runs on")
    device_num: int = Field(ge=1, description="devices to train on")
    modelArts: bool = Field(description="run on Huawei Cloud ModelArts")


def load(path: str | Path = "params.yaml", **overrides: Any) -> Params:
    """Read and check the whole file, with some values replaced.

    Raises AdlError with every fault at once: unknown key (with the nearest name), missing key, wrong type, out of
    range, impossible combination.
    """
    try:
        content = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise AdlError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise AdlError(f"{path}: is no UTF-8 text ({error}). Save it as UTF-8.") from None
    return parse(content, str(path), **overrides)


def parse(text: str, name: str, **overrides: Any) -> Params:
    """`load` for the text of a file; errors begin with `name`."""
    try:
        content = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise AdlError(f"{name}: not valid YAML.\n{error}") from None
    if not isinstance(content, dict):
        raise AdlError(f"{name}: expected one `name: value` a line.")
    values = {**content, **overrides}
    try:
        params = Params(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        faults = [_fault(dict(e)) for e in error.errors()]
    else:
        faults = _impossible(params)
        if not faults:
            return params
    raise AdlError(f"{name}: {len(faults)} fault{'s' if len(faults) > 1 else ''}\n  " + "\n  ".join(faults))


def schema() -> list[tuple[str, str, str]]:
    """(name, values that it takes, meaning) of every parameter, in the order of the file."""
    return [(name, _values(field), field.description or "") for name, field in Params.model_fields.items()]


def _values(field: FieldInfo) -> str:
    kinds = {int: "whole number", float: "number", bool: "true, false", str: "text", type(None): "null"}
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    types = get_args(field.annotation) or (field.annotation,)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f"{sign} {getattr(m, key):g}" for m in field.metadata for key, sign in signs.items() if hasattr(m, key)]
    return " or ".join([" ".join([kinds[types[0]], ", ".join(limits)]).strip(), *(kinds[t] for t in types[1:])])


_TYPES = {"int_type": "a whole number", "float_type": "a number", "bool_type": "true or false", "string_type": "text"}


def _fault(error: dict[str, Any]) -> str:
    """One fault that pydantic found, in words."""
    name, kind, value = str(error["loc"][0]), error["type"], error["input"]
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(name, Params.model_fields, n=1)
        return f"{name}: unknown parameter" + (f"; did you mean {close[0]}?" if close else ".")
    if kind == "missing":
        return f"{name}: missing. It is {Params.model_fields[name].description}."
    if kind in _TYPES:
        nullable = " or null" if type(None) in getattr(Params.model_fields[name].annotation, "__args__", ()) else ""
        hint = " Remove the quotes." if isinstance(value, str) and _is_number(value) else ""
        return f"{name}: {value!r} is not {_TYPES[kind]}{nullable}.{hint}"
    return f"{name}: {value!r} is out of range: {error['msg'][0].lower()}{error['msg'][1:]}."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _impossible(p: Params) -> list[str]:
    """Combinations of values that no run can have."""
    data_path = os.path.normpath(p.data_path)
    rules = [
        # DVC writes it as it stands into dvc.lock, where /x/cs/ and /x/cs would be two data sets.
        (data_path != p.data_path, f"data_path: write {data_path} for {p.data_path}."),
        (
            p.ignore_label != IGNORE and p.ignore_label < p.num_classes,
            f"ignore_label: {p.ignore_label} is a class; take {IGNORE}, or at least num_classes ({p.num_classes}).",
        ),
        (
            p.num_classes != len(CLASSES),
            f"num_classes: {p.num_classes}, but the records hold the {len(CLASSES)} classes of Cityscapes.",
        ),
        (p.min_lr is not None and p.min_lr > p.base_lr, f"min_lr: {p.min_lr} is above base_lr ({p.base_lr})."),
        (
            p.warmup_start_lr > p.base_lr,
            f"warmup_start_lr: {p.warmup_start_lr} is above base_lr ({p.base_lr}).",
        ),
        (p.min_scale > p.max_scale, f"min_scale: {p.min_scale} is above max_scale ({p.max_scale})."),
        (p.start_epoch > p.epochs, f"start_epoch: {p.start_epoch} is beyond epochs ({p.epochs})."),
        (
            p.start_epoch > 0 and p.ckpt_name is None,
            f"start_epoch: {p.start_epoch} needs ckpt_name, the weights to start from.",
        ),
        (
            p.ckpt_name is not None and Path(p.ckpt_name).name != p.ckpt_name,
            f"ckpt_name: {p.ckpt_name} must be the name of a file in pretrained/, without a folder.",
        ),
        (
            p.batch_size % p.device_num != 0,
            f"batch_size: {p.batch_size} images cannot be shared out evenly to device_num {p.device_num} devices.",
        ),
        (
            (p.batch_size if p.parallel else p.batch_size // p.device_num) == 1,
            "batch_size: one image in a batch norm group. ASPP pools each image to one value a channel, so batch norm "
            "has no variance over one image; take at least 2" + (" in all." if p.parallel else " a device."),
        ),
        (
            p.device_target == "CPU" and p.amp_level != "O0",
            f"amp_level: {p.amp_level} needs device_target Ascend; on a CPU use O0.",
        ),
    ]
    return [message for broken, message in rules if broken]
