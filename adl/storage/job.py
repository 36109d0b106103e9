"""One stage as a job: what it reads is downloaded from object storage, what it writes is uploaded there."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from adl import device, preflight
from adl.architecture import Architecture
from adl.config import params as schema
from adl.config import recipes
from adl.config.params import Params
from adl.console import text
from adl.errors import AdlError
from adl.files import remove, write_text
from adl.launch import foreground
from adl.launch.environment import child_environment
from adl.prepare import lists
from adl.storage.environment import Node, NotYetError, awaited
from adl.storage.manifests import Inputs, files_below, upload_results
from adl.storage.places import Place, open_place
from adl.storage.stages import DATA_PATH, Stage, raw_data, stages
from adl.storage.state_backup import StateBackup
from adl.storage.transfers import download
from adl.training import lock, runs
from adl.training.run.nodes import NODE_TIMEOUT
from adl.training.state import SEAL
from adl.workspace import (
    BASELINES,
    FILES,
    PARAMS,
    PRETRAINED,
    START_WEIGHTS,
    STATE_VARIABLE,
    SYNTHETIC,
)

RAW = "data/raw"
"""Where raw data goes if data_path is not a folder of the workspace."""
STATES = Path(".adl/state")
"""Of a job always in its own folder, whatever ADL_STATE_DIR is here: another node may use that too."""
CODE = ("adl", "architectures", "datasets", "dvc.yaml", "pipeline")
MARK = ".work_of_modelarts"
"""Stands in a folder that jobs work in: one without it is somebody else's."""


@dataclasses.dataclass
class Job:
    """The job of one node; it is made in the project's folder.

    work: the folder that stages run in, which is made. every: seconds between two copies of the state.
    """

    params: Params
    node: Node
    work: Path
    every: float

    def __post_init__(self) -> None:
        if not self.params.train_url:
            raise AdlError("train_url: empty. It names where the results go: --train_url URL.")
        Architecture.from_params(self.params)
        stores = [open_place(url) for url in (self.params.data_url, self.params.train_url) if url]
        # The job knows better than params.yaml how many devices there are, and where raw data is put.
        values = self.params.model_dump()
        configured, devices = values["device_num"], self.node.nodes * self.node.devices
        if devices not in (0, configured):
            values["device_num"] = devices
            print(f"device_num is {devices}, as many as this job has, instead of {configured}")
        folder = Path(values["data_path"])
        # The code in the job's folder is a link: what is written there would be written into the workspace.
        is_elsewhere = folder.is_absolute() or not {"..", *CODE}.isdisjoint(folder.parts[:1])
        if folder == SYNTHETIC and len(stores) > 1:
            is_elsewhere = bool((stores[0] / str(self.params.descriptor.images.place("val"))).find())
        if is_elsewhere:
            values["data_path"] = RAW
            print(f"data_path is {RAW}, where the data set is copied to, instead of {folder}")
        self.text = recipes.edited(PARAMS.read_text(encoding="utf-8"), values)
        self.params = schema.parse(self.text, f"{PARAMS} as this job has it")
        self.code = Path.cwd()
        self.inputs = Inputs(stores, open_place(str(self.code)), stages(), self.params.data_path)

    def run(self, stage: Stage) -> int:
        """Returns the exit code of the stage, once all that it wrote is copied. Raises AdlError if a copy fails."""
        if self.node.rank > 0 and stage.name != "train":
            print(f"{stage.name} runs on the first node alone: nothing to do here.")
            return 0
        mark = self.work / MARK
        if any(self.work.glob("*")) and not mark.exists():
            raise AdlError(
                f"--work {self.work}: something else made it, or an earlier version did (it holds no {MARK}), and a "
                "job replaces what is there. Name a new or an empty folder, or remove this one if no file in it is "
                "needed."
            )
        write_text(mark, "Jobs of pipeline.modelarts run here, and replace what is here.\n")
        with lock.held(self.work):
            os.chdir(self.work)
            self._prepare_work()
            # This machine need only fit the stage that runs.
            read = schema.of_stage(stage.name)
            if "device_target" in read:
                device.check_device_target(self.params.device_target, self.node.devices or 1)
            if "export_formats" in read:
                preflight.check_export(self.params)
            code = 0
            if str(BASELINES) in stage.inputs and not self.inputs.find(str(BASELINES)):
                print(f"{BASELINES} is not there yet: the stage baselines runs first.", flush=True)
                code = self._run_stage(self.inputs.stages["baselines"])
            return code or self._run_stage(stage)

    def _prepare_work(self) -> None:
        """A workspace of this job's own, with the same code, that neither git nor DVC takes for a part of another."""
        links = [Path(name) for name in CODE]
        for path in map(Path, (self.params.net_arch, self.params.cell_arch, self.params.dataset)):
            if not path.is_absolute() and path.parts[0] not in CODE:
                if ".." in path.parts:
                    raise AdlError(f"{path}: must be in the project's folder.")
                links.append(path)
        for link in links:
            link.parent.mkdir(parents=True, exist_ok=True)
            remove(link)
            link.symlink_to(self.code / link)
        write_text(Path(".dvc/config"), "[core]\n    no_scm = true\n")
        write_text(PARAMS, self.text)

    def _run_stage(self, stage: Stage) -> int:
        """Run a stage on its inputs, which replace what an earlier job read and wrote in this folder.

        Raises AdlError if an input is nowhere; a report says itself what it lacks.
        """
        names = [place for name in stage.inputs for place in self._places(name)]
        found = {self.inputs.path(name): self.inputs.find(name) for name in names}
        wanted: dict[Path, Place] = {}
        missing = []
        for name, files in found.items():
            wanted |= files
            if files:
                size = text.byte_size(sum(file.bytes for file in files.values()))
                first = next(iter(files.values())).url
                print(f"reads {name}: {text.counted(len(files), 'file')}, {size}, from {first}")
            else:
                missing.append(name)
        if missing and stage.name != "report":
            raise AdlError(
                f"{stage.results} needs {', '.join(missing)}: not in {self.inputs}. Run the stage that makes it, or "
                "check data_url and train_url."
            )
        checkpoint = self.params.ckpt_name if stage.name == "train" else stage.checkpoint
        if checkpoint is not None:
            wanted |= self.inputs.checkpoint(checkpoint)
        for name in (*found, str(PRETRAINED)):
            for path in files_below(Path(name)):
                if path not in wanted:
                    path.unlink()
        for output in stage.outputs:  # as DVC does: what stands there afterwards is of this run
            remove(Path(output))
        download(wanted, f"copying what {stage.name} reads")
        code = self._train(stage) if stage.name == "train" else self._run(stage.command)
        if self.node.rank == 0:
            upload_results(self.inputs.train, stage, complete=code == 0)
        return code

    def _places(self, name: str) -> list[str]:
        """What is copied for an input: itself, or for the list of a split's files what they are in.

        A list that the data set has of its own is copied at once, for it says what these are.
        """
        split, dataset = Path(name).stem, self.params.descriptor
        if name != str(FILES / f"{split}.json"):
            return [name]
        listed = dataset.splits[split].listed
        if not listed:
            return raw_data(dataset, split)
        place = f"{DATA_PATH}/{listed}"
        found = self.inputs.find(place)
        download(found, f"copying {listed}")
        root = Path(self.params.data_path)
        folders = lists.folders(root / listed, root, dataset, split) if found else []
        return [place, *(f"{DATA_PATH}/{folder.relative_to(root)}" for folder in folders)]

    def _train(self, stage: Stage) -> int:
        write_text(START_WEIGHTS, f"{preflight.start_weights(self.params)}\n")
        command = (*stage.command, *self.node.arguments())
        state = runs.state_of(STATES, runs.key_of(self.params))
        backup = StateBackup(self.inputs.train, state)
        if self.node.rank > 0:
            return self._follow(command, backup)
        backup.restore()
        with backup.running(self.every):
            return self._run(command)

    def _follow(self, command: Sequence[str], backup: StateBackup) -> int:
        """Train as another node than the first one, from the state that the first one publishes in the store.

        A job.json left by a killed job describes the same run: the workers then wait for the first node's.
        """
        state = backup.state
        about = state.about_file

        def is_finished() -> bool:
            """With this code. False: the first node trains."""
            there = backup.find()
            if state.job in there:
                return False
            if about in there and state.result / SEAL in there:
                there[about].download(about)
                if state.about.get("code") == runs.code_digest():
                    return True
            raise NotYetError(f"{backup.place.url}: the first node did not start in {text.duration(NODE_TIMEOUT)}.")

        print("waiting for the first node's state", flush=True)
        remove(STATES)
        if awaited(is_finished, NODE_TIMEOUT):
            print("this run is already finished: nothing to do here.")
            return 0
        backup.restore()
        code = self._run(command)
        backup.upload_logs()
        return code

    def _run(self, command: Sequence[str]) -> int:
        """Run a stage as a process."""
        print(f"+ {shlex.join(['python', *command])}", flush=True)
        return foreground.run([sys.executable, *command], child_environment({STATE_VARIABLE: str(STATES)}))
