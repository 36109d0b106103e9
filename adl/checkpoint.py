"""Weights in files: saving, strict loading, and the parameter names of the 2021 model zoo."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import mindspore as ms
from mindspore import nn

from adl import runtime
from adl.architecture import Architecture
from adl.artifacts import scratch_folder, sidecar_path, telling_full_disk
from adl.cityscapes import CLASSES
from adl.errors import AdlError
from adl.network import AutoDeepLab, build
from adl.params import Params
from adl.runtime import ALONE, World

# Our names → those of 2021. `{norm}` is what stands between a layer and its batch norm's parameters.
_NAMES_2021 = (
    (r"encoder\.stem\.(\d)\.conv\.", r"encoder.stem\1.0."),
    (r"encoder\.stem\.(\d)\.norm\.", r"encoder.stem\1.1.op.0.op."),
    (r"encoder\.nas_cells\.(\d+)\.older\.", r"encoder.NASCells.\1.pre_preprocess."),
    (r"encoder\.nas_cells\.(\d+)\.previous\.", r"encoder.NASCells.\1.preprocess."),
    (r"encoder\.nas_cells\.(\d+)\.operations\.(\d+)\.", r"encoder.NASCells.\1.operations.\2.0."),
    (r"first\.depthwise\.", "op.1."),
    (r"first\.pointwise\.", "op.2."),
    (r"first\.norm\.", "op.3.op."),
    (r"second\.depthwise\.", "op.5."),
    (r"second\.pointwise\.", "op.6."),
    (r"second\.norm\.", "op.7.op."),
    (r"aspp\.pooled\.conv\.", "aspp.aspp5."),
    (r"aspp\.pooled\.norm\.", "aspp.aspp5_bn.op.0.op."),
    (r"aspp\.projection\.conv\.", "aspp.conv2."),
    (r"aspp\.projection\.norm\.", "aspp.bn2.op.0.op."),
    (r"decoder\.low_level\.conv\.", "decoder.conv1."),
    (r"decoder\.low_level\.norm\.", "decoder.bn1.op.0.op."),
    (r"decoder\.refine\.0\.conv\.", "decoder.last_conv.0."),
    (r"decoder\.refine\.0\.norm\.", "decoder.last_conv.1.op.0.op."),
    (r"decoder\.refine\.1\.conv\.", "decoder.last_conv.3."),
    (r"decoder\.refine\.1\.norm\.", "decoder.last_conv.4.op.0.op."),
    (r"decoder\.classifier\.", "decoder.last_conv.6."),
)
_NAMES_2021_ABN = (
    (r"(preprocess)\.conv\.", r"\1.op.0."),
    (r"(preprocess)\.norm\.", r"\1.op.1.op.0.op."),
    (r"(operations\.\d+\.0)\.conv\.", r"\1.op.0."),
    (r"(operations\.\d+\.0)\.pointwise\.", r"\1.op.1."),
    (r"(operations\.\d+\.0)\.norm\.", r"\1.op.2.op.0.op."),
)
_NAMES_2021_NO_ABN = (
    (r"(preprocess)\.conv\.", r"\1.op.1."),
    (r"(preprocess)\.norm\.", r"\1.op.2."),
    (r"(operations\.\d+\.0)\.conv\.", r"\1.op.1."),
    (r"(operations\.\d+\.0)\.pointwise\.", r"\1.op.2."),
    (r"(operations\.\d+\.0)\.norm\.", r"\1.op.3."),
)
_BESIDE_WEIGHTS_2021 = re.compile(
    r"moments\..*|.*global_step|learning_rate|momentum|.*loss_scale.*|scale_sense|.*scaling_sens"
    r"|current_iterator_step|last_overflow_iterator_step|epoch_num|step_num"
)
"""Optimizer slots, counters and loss-scale entries: a 2021 file holds them, and none is a weight."""
MOST_LISTED = 50
"""Faults of one kind that an error lists."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a file held. names: "native" or "2021". beside: entries of a 2021 file that are not weights."""

    names: str
    parameters: int
    beside: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.parameters} parameters, {self.names} names"
        return text + (f"; {len(self.beside)} entries beside the weights left out" if self.beside else "")


def name_2021(name: str, *, use_abn: bool) -> str:
    """The name that one of our parameters has in a 2021 checkpoint."""
    for pattern, replacement in _NAMES_2021 + (_NAMES_2021_ABN if use_abn else _NAMES_2021_NO_ABN):
        name = re.sub(pattern, replacement, name)
    # ASPP's branches count from 1 there.
    name = re.sub(r"aspp\.branches\.(\d)\.conv\.", lambda m: f"aspp.aspp{int(m[1]) + 1}.", name)
    return re.sub(r"aspp\.branches\.(\d)\.norm\.", lambda m: f"aspp.aspp{int(m[1]) + 1}_bn.op.0.op.", name)


def native(network: nn.Cell) -> dict[str, ms.Parameter]:
    """Native name → parameter, of a network as it was built.

    A native name is the parameter's place in the network, not its `name`, which MindSpore prefixes once the network
    becomes a part of a training cell. Mixed precision wraps cells, and so moves the places of their parameters.
    """
    return dict(network.parameters_and_names())


def save(parameters: nn.Cell | Mapping[str, ms.Parameter], path: Path) -> None:
    """Write parameters, or all of a network, under their native names; the file appears whole or not at all."""
    named = native(parameters) if isinstance(parameters, nn.Cell) else parameters
    # In a folder of its own, because MindSpore leaves another file beside where the disk is full.
    with scratch_folder(path) as folder, telling_full_disk(path):
        temporary = folder / path.name
        ms.save_checkpoint([{"name": n, "data": p} for n, p in named.items()], str(temporary))
        temporary.replace(path)


def load(network: nn.Cell, path: str | Path, *, leave_out: str | None = None) -> Loaded:
    """Load every parameter of the network from a file with native or 2021 names.

    leave_out: parameters whose names begin so stay as they are, whatever the file has for them.

    Raises AdlError where the file is unreadable, or where it and the network do not match exactly; the message lists
    missing, unexpected and mis-shaped parameters with the nearest names. The network is then unchanged.
    """
    path = Path(path)
    if not path.is_file():
        raise AdlError(f"{path}: no such checkpoint file.")
    try:
        # MindSpore logs its own error first, and insists on the suffix.
        stored = ms.load_checkpoint(str(path))
    except Exception as error:  # it raises whatever its parser meets
        reason = str(error).strip().splitlines()[0]
        raise AdlError(f"{path}: not a readable MindSpore checkpoint ({reason})") from None

    from_2021 = any(name.startswith(("encoder.NASCells.", "encoder.stem0.")) for name in stored)
    use_abn = network.encoder.nas_cells[0].older.use_abn
    wanted = {name_2021(n, use_abn=use_abn) if from_2021 else n: p for n, p in network.parameters_and_names()}
    if leave_out is not None:
        left = {n for n, _ in network.parameters_and_names() if n.startswith(leave_out)}
        left = {name_2021(n, use_abn=use_abn) if from_2021 else n for n in left}
        wanted = {n: p for n, p in wanted.items() if n not in left}
        stored = {n: p for n, p in stored.items() if n not in left}
    beside = tuple(n for n in stored if n not in wanted and from_2021 and _BESIDE_WEIGHTS_2021.fullmatch(n))
    unexpected = [n for n in stored if n not in wanted and n not in beside]
    missing = [n for n in wanted if n not in stored]
    misshaped = [n for n in wanted if n in stored and tuple(stored[n].shape) != tuple(wanted[n].shape)]
    if missing or unexpected or misshaped:
        raise AdlError(
            f"{path} does not fit this network: {len(missing)} parameters are missing, {len(unexpected)} unexpected, "
            f"{len(misshaped)} of another shape."
            + _listed(f"missing {n}{_nearest(n, unexpected)}" for n in missing)
            + _listed(f"unexpected {n}{_nearest(n, missing)}" for n in unexpected)
            + _listed(
                f"{n}: shape {tuple(stored[n].shape)} in the file, {tuple(wanted[n].shape)} in the network"
                for n in misshaped
            )
        )
    for name, parameter in wanted.items():
        parameter.set_data(ms.Tensor(stored[name].asnumpy(), parameter.dtype))
    return Loaded("2021" if from_2021 else "native", len(wanted), beside)


def architecture_of(path: Path, params: Params | None) -> Architecture:
    """The architecture of a checkpoint: from its sidecar, or from the parameters where it has none (a 2021 file).

    Raises AdlError where its classes are not those of Cityscapes: their scores and colours would mean nothing.
    """
    sidecar = sidecar_path(path)
    if not sidecar.exists() and params is not None:
        print(f"{path} has no sidecar {sidecar.name}: taking the architecture from the parameters", flush=True)
        source, architecture = "num_classes", Architecture.from_params(params)
    else:
        source, architecture = str(sidecar), Architecture.from_sidecar(sidecar)
    if architecture.num_classes != len(CLASSES):
        raise AdlError(
            f"{path}: has {architecture.num_classes} classes by {source}, but Cityscapes has {len(CLASSES)}. To train "
            "on from its other weights, name it in ckpt_name with ckpt_classifier: false."
        )
    return architecture


def epoch_of(path: Path) -> int | None:
    """After how many epochs a checkpoint was saved, as its sidecar says; None where it has none."""
    sidecar = sidecar_path(path)
    return json.loads(sidecar.read_text(encoding="utf-8")).get("epoch") if sidecar.exists() else None


def restore(
    path: Path, architecture: Architecture, *, device_target: str, graph: bool = True, world: World = ALONE
) -> AutoDeepLab:
    """Start the device, build the network and load the checkpoint into it. graph: as `runtime.start`.

    Every rank works for itself.
    """
    print("\n".join(architecture.describe()), flush=True)
    runtime.start(device_target, graph=graph, world=world.apart())
    net = build(architecture)
    print(f"{path}: {load(net, path)}", flush=True)
    return net


def _listed(faults: Iterable[str]) -> str:
    lines = list(itertools.islice(faults, MOST_LISTED + 1))
    if len(lines) > MOST_LISTED:
        lines[-1] = "…"
    return "".join(f"\n  {line}" for line in lines)


def _nearest(name: str, candidates: list[str]) -> str:
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.8)
    return f" (nearest: {close[0]})" if close else ""
