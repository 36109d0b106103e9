"""Weights in files: saving, and strict loading of native and 2021 files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import mindspore as ms
from mindspore import nn

from adl import device
from adl.architecture import Architecture
from adl.config.params import Params
from adl.dataset import descriptor
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError, nearest
from adl.files import check_sidecar, full_disk_reported, read_json, scratch_folder
from adl.network import AutoDeepLab, build, names_2021
from adl.parallel.world import ALONE, World
from adl.workspace import sidecar

MOST_LISTED = 50
"""Faults of one kind that an error lists."""


def native(network: nn.Cell) -> dict[str, ms.Parameter]:
    """Native name → parameter, of a network as it was built.

    A native name is the parameter's place in the network, not its `name`, which MindSpore prefixes once the network
    becomes a part of a training cell. Mixed precision wraps cells, and so moves the places of their parameters.
    """
    return dict(network.parameters_and_names())


def save(parameters: Mapping[str, ms.Parameter], path: Path) -> None:
    """Write parameters under their native names; the file appears whole or not at all."""
    # In a folder of its own, because MindSpore leaves another file behind when the disk is full.
    with scratch_folder(path) as folder, full_disk_reported(path):
        temporary = folder / path.name
        ms.save_checkpoint(dict(parameters), str(temporary))
        temporary.replace(path)


def load(network: AutoDeepLab, path: str | Path, *, leave_out: str | None = None) -> str:
    """Load every parameter of the network from a file with native or 2021 names.

    leave_out: parameters whose names begin so stay as they are, whatever the file has for them.

    Raises AdlError if the file is unreadable, if its sidecar describes another one, or if it and the network do not
    match exactly; the message lists missing, unexpected and mis-shaped parameters with the nearest names. The network
    is then unchanged. Returns in words what was loaded.
    """
    path = Path(path)
    _check_file(path)
    try:
        # MindSpore logs its own error first, and insists on the suffix.
        stored = ms.load_checkpoint(str(path))
    except Exception as error:  # it raises whatever its parser meets
        raise AdlError(f"{path}: not a readable MindSpore checkpoint ({str(error).strip().splitlines()[0]})") from None
    is_2021 = names_2021.recognised(stored)
    wanted = {}
    for name, parameter in native(network).items():
        in_file = name
        if is_2021:
            in_file = names_2021.in_2021(name, use_abn=network.architecture.use_abn)
        if leave_out and name.startswith(leave_out):
            stored.pop(in_file, None)
        else:
            wanted[in_file] = parameter
    found = f"{len(wanted)} parameters, {'2021' if is_2021 else 'native'} names"
    left_out = [name for name in stored if is_2021 and names_2021.NO_WEIGHT.fullmatch(name)]
    if left_out:
        found += f"; {len(left_out)} entries left out that are not weights"
    for name in left_out:
        del stored[name]
    if leave_out:
        found += f", without {leave_out}"
    _check_match(path, wanted, stored)
    for name, parameter in wanted.items():
        parameter.set_data(ms.Tensor(stored[name].asnumpy(), parameter.dtype))
    return found


def _check_file(path: Path) -> None:
    """Raises AdlError if there is none, or if its sidecar describes another one."""
    if not path.is_file():
        raise AdlError(f"{path}: no such checkpoint file.")
    check_sidecar(path)


def _check_match(path: Path, wanted: dict[str, ms.Parameter], stored: dict[str, ms.Parameter]) -> None:
    """Raises AdlError if the names or the shapes differ."""
    missing = [name for name in wanted if name not in stored]
    unexpected = [name for name in stored if name not in wanted]
    misshaped = [
        f"{name}: shape {stored[name].shape} in the file, {parameter.shape} in the network"
        for name, parameter in wanted.items()
        if name in stored and stored[name].shape != parameter.shape
    ]
    if missing or unexpected or misshaped:
        raise AdlError(
            f"{path} does not fit this network: {len(missing)} parameters are missing, {len(unexpected)} unexpected, "
            f"{len(misshaped)} of another shape."
            + _listed("missing ", missing, unexpected)
            + _listed("unexpected ", unexpected, missing)
            + _listed("", misshaped, [])
        )


def _listed(kind: str, names: list[str], candidates: list[str]) -> str:
    """A line for each of the first names, with the nearest of the candidates."""
    lines = ""
    for name in names[:MOST_LISTED]:
        lines += f"\n  {kind}{name}"
        meant = nearest(name, candidates, cutoff=0.8)
        if meant:
            lines += f" (nearest: {meant})"
    return lines + "\n  …" if len(names) > MOST_LISTED else lines


def origin(path: Path, params: Params | None) -> tuple[Architecture, DatasetDescriptor]:
    """The architecture of a model, and the data set that it was trained on: from its sidecar.

    params: instead of a sidecar, for a checkpoint without one (of 2021). Raises AdlError if the sidecar is missing or
    damaged, or if it describes another file.
    """
    _check_file(path)
    description = sidecar(path)
    if description.exists() or params is None:
        architecture = Architecture.from_sidecar(description)
        return architecture, descriptor.of_sidecar(read_json(description), description)
    print(
        f"{path} has no sidecar {description.name}: taking the architecture from the parameters",
        flush=True,
    )
    return Architecture.from_params(params), params.descriptor


def epoch_of(path: Path) -> int | None:
    """After how many epochs a checkpoint was saved, as its sidecar says; None if it has none."""
    description = sidecar(path)
    return read_json(description).get("epoch") if description.exists() else None


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
    print(*architecture.describe(), sep="\n", flush=True)
    device.start(device_target, graph=graph, world=World(device=world.device))
    network = build(architecture)
    print(f"{path}: {load(network, path)}", flush=True)
    return network
