"""Weights in files: saving, and strict loading of native and 2021 files."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import mindspore as ms
from mindspore import nn

from adl import device
from adl.architecture import Architecture
from adl.config.params import Params
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError, nearest
from adl.files import check_sidecar, full_disk_reported, scratch_folder
from adl.network import AutoDeepLab, build, names_2021
from adl.parallel.world import ALONE, World
from adl.workspace import sidecar

MOST_LISTED = 50
"""Faults of one kind that an error lists."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a file held. names: "native" or "2021". left_out: entries of a 2021 file that are not weights."""

    names: str
    parameters: int
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.parameters} parameters, {self.names} names"
        return (
            f"{text}; {len(self.left_out)} entries left out that are not weights"
            if self.left_out
            else text
        )


def native(network: nn.Cell) -> dict[str, ms.Parameter]:
    """Native name → parameter, of a network as it was built.

    A native name is the parameter's place in the network, not its `name`, which MindSpore prefixes once the network
    becomes a part of a training cell. Mixed precision wraps cells, and so moves the places of their parameters.
    """
    return dict(network.parameters_and_names())


def save(parameters: nn.Cell | Mapping[str, ms.Parameter], path: Path) -> None:
    """Write parameters, or all of a network, under their native names; the file appears whole or not at all."""
    named = native(parameters) if isinstance(parameters, nn.Cell) else parameters
    # In a folder of its own, because MindSpore leaves another file behind when the disk is full.
    with scratch_folder(path) as folder, full_disk_reported(path):
        temporary = folder / path.name
        ms.save_checkpoint([{"name": n, "data": p} for n, p in named.items()], str(temporary))
        temporary.replace(path)


def load(network: AutoDeepLab, path: str | Path, *, leave_out: str | None = None) -> Loaded:
    """Load every parameter of the network from a file with native or 2021 names.

    leave_out: parameters whose names begin so stay as they are, whatever the file has for them.

    Raises AdlError if the file is unreadable, if its sidecar describes another one, or if it and the network do not
    match exactly; the message lists missing, unexpected and mis-shaped parameters with the nearest names. The network
    is then unchanged.
    """
    path = Path(path)
    stored = _read(path)
    check_sidecar(path)
    from_2021 = names_2021.recognised(stored)
    parameters = native(network)
    name_in_file = {name: name for name in parameters}
    if from_2021:
        use_abn = network.architecture.use_abn
        name_in_file = {name: names_2021.in_2021(name, use_abn=use_abn) for name in parameters}
    for name, in_file in name_in_file.items():
        if leave_out is not None and name.startswith(leave_out):
            del parameters[name]
            stored.pop(in_file, None)
    wanted = {name_in_file[name]: parameter for name, parameter in parameters.items()}
    left_out: tuple[str, ...] = ()
    if from_2021:
        left_out = tuple(
            name for name in stored if name not in wanted and names_2021.is_no_weight(name)
        )
    _check_match(
        path, wanted, {name: entry for name, entry in stored.items() if name not in left_out}
    )
    for name, parameter in wanted.items():
        parameter.set_data(ms.Tensor(stored[name].asnumpy(), parameter.dtype))
    return Loaded("2021" if from_2021 else "native", len(wanted), left_out)


def _read(path: Path) -> dict[str, ms.Parameter]:
    _check_exists(path)
    try:
        # MindSpore logs its own error first, and insists on the suffix.
        return ms.load_checkpoint(str(path))
    except Exception as error:  # it raises whatever its parser meets
        reason = str(error).strip().splitlines()[0]
        raise AdlError(f"{path}: not a readable MindSpore checkpoint ({reason})") from None


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise AdlError(f"{path}: no such checkpoint file.")


def _check_match(
    path: Path, wanted: Mapping[str, ms.Parameter], stored: Mapping[str, ms.Parameter]
) -> None:
    """Raises AdlError if the names or the shapes differ."""
    unexpected = [name for name in stored if name not in wanted]
    missing = [name for name in wanted if name not in stored]
    shapes = {
        name: (tuple(stored[name].shape), tuple(wanted[name].shape))
        for name in wanted
        if name in stored
    }
    misshaped = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    if not (missing or unexpected or misshaped):
        return
    shaped = [
        f"{name}: shape {pair[0]} in the file, {pair[1]} in the network"
        for name, pair in misshaped.items()
    ]
    raise AdlError(
        f"{path} does not fit this network: {len(missing)} parameters are missing, {len(unexpected)} unexpected, "
        f"{len(misshaped)} of another shape."
        + _listed(f"missing {name}{_hint(name, unexpected)}" for name in missing)
        + _listed(f"unexpected {name}{_hint(name, missing)}" for name in unexpected)
        + _listed(shaped)
    )


def _listed(faults: Iterable[str]) -> str:
    lines = list(itertools.islice(faults, MOST_LISTED + 1))
    if len(lines) > MOST_LISTED:
        lines[-1] = "…"
    return "".join(f"\n  {line}" for line in lines)


def _hint(name: str, candidates: list[str]) -> str:
    meant = nearest(name, candidates, cutoff=0.8)
    return f" (nearest: {meant})" if meant else ""


def architecture_of(path: Path, params: Params | None, dataset: DatasetDescriptor) -> Architecture:
    """The architecture of a checkpoint: from its sidecar, or from the parameters if it has none (a 2021 file).

    Raises AdlError if the sidecar describes another file, or if the classes are not those of the data set: their scores
    and colours would mean nothing.
    """
    _check_exists(path)
    check_sidecar(path)
    description = sidecar(path)
    if description.exists() or params is None:
        source, architecture = str(description), Architecture.from_sidecar(description)
    else:
        print(
            f"{path} has no sidecar {description.name}: taking the architecture from the parameters",
            flush=True,
        )
        source, architecture = "num_classes", Architecture.from_params(params)
    if architecture.num_classes != len(dataset.classes):
        raise AdlError(
            f"{path}: has {architecture.num_classes} classes according to {source}, but {dataset.title} has "
            f"{len(dataset.classes)}. To train from its other weights, set ckpt_name "
            "to it and ckpt_classifier to false."
        )
    return architecture


def epoch_of(path: Path) -> int | None:
    """After how many epochs a checkpoint was saved, as its sidecar says; None if it has none."""
    description = sidecar(path)
    return (
        json.loads(description.read_text(encoding="utf-8")).get("epoch")
        if description.exists()
        else None
    )


def restore(
    path: Path,
    architecture: Architecture,
    *,
    device_target: str,
    graph: bool = True,
    world: World = ALONE,
) -> AutoDeepLab:
    """Start the device, build the network and load the checkpoint into it. graph: as `device.start`.

    Every rank works for itself.
    """
    print("\n".join(architecture.describe()), flush=True)
    device.start(device_target, graph=graph, world=world.single())
    network = build(architecture)
    print(f"{path}: {load(network, path)}", flush=True)
    return network
