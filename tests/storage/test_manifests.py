"""What a job finds is what a stage left, all of it; or what people put there under names that they know."""

from __future__ import annotations

import shutil

import pytest

from adl.errors import AdlError
from adl.files import write_json, write_text
from adl.storage import manifests
from adl.storage.manifests import Inputs, upload_results
from adl.storage.places import open_place
from adl.storage.stages import raw_data, stages
from adl.storage.state_backup import StateBackup
from adl.storage.transfers import download
from adl.training.state import State, seal
from adl.workspace import sidecar
from tests.conftest import ROOT
from tests.data import CITYSCAPES

RECORD = "data/mindrecord/val.mindrecord"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A workspace with the stages of this project; `data` and `train` are folders that stand for buckets."""
    (tmp_path / "work").mkdir()
    for name in ("dvc.yaml", "pipeline"):
        (tmp_path / "work" / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def known(place):
    return stages()


@pytest.fixture
def inputs(place, known):
    *stores, code = (open_place(str(place / name)) for name in ("data", "train", "code"))
    return Inputs(stores, code, known, data_path="data/cityscapes")


def downloaded(inputs, name, place) -> dict[str, str]:
    """What an input is here, once it is copied: file → content."""
    wanted = inputs.find(name)
    download(wanted, "copying")
    return {str(target): target.read_text() for target in wanted}


def made_by(stage, place, contents) -> None:
    """Let a stage have written and left these files; here they are gone."""
    for name, content in contents.items():
        write_text(place / "work" / name, content)
    upload_results(open_place(str(place / "train")), stage, complete=True)
    for name in ("data", "models", "metrics", "reports"):
        shutil.rmtree(place / "work" / name, ignore_errors=True)


def test_stages_read_and_write_what_dvc_declares(known):
    assert set(known) == {
        "synthesize", "mindrecord@train", "mindrecord@val", "baselines", "train", "evaluate", "export", "infer",
        "report",
    }  # fmt: skip
    assert known["mindrecord@val"].inputs == ["data/files/val.json"]
    assert raw_data(CITYSCAPES, "val") == ["${data_path}/leftImg8bit/val", "${data_path}/gtFine/val"]
    assert known["mindrecord@val"].command == ["-m", "pipeline.mindrecord", "--split", "val"]
    assert known["mindrecord@val"].outputs == [
        RECORD, f"{RECORD}.db", "data/mindrecord/val.json", "metrics/mindrecord_val.json",
        "reports/speed/mindrecord_val.json",
    ]  # fmt: skip
    assert known["synthesize"].inputs == []
    assert "models/autodeeplab.ckpt" in known["export"].inputs
    assert "data/predictions/evaluate" not in known["export"].inputs, "a job may export at once"
    assert "data/predictions/evaluate" in known["infer"].inputs
    assert not [name for stage in known.values() for name in stage.inputs if "adl/" in name]


def test_what_a_stage_left_is_found_with_its_content(inputs, known, place):
    made_by(
        known["evaluate"],
        place,
        {"data/predictions/evaluate/a/1.png": "one", "metrics/evaluate.json": "{}"},
    )
    assert downloaded(inputs, "data/predictions/evaluate", place) == {"data/predictions/evaluate/a/1.png": "one"}
    assert downloaded(inputs, "metrics/evaluate.json", place) == {"metrics/evaluate.json": "{}"}
    assert inputs.find("models/autodeeplab.ckpt") == {}


def test_results_that_are_no_longer_written_are_removed(inputs, known, place):
    made_by(known["export"], place, {"models/exported/a.onnx": "a", "models/exported/b.onnx": "b"})
    made_by(known["export"], place, {"models/exported/b.onnx": "c"})
    assert downloaded(inputs, "models/exported", place) == {"models/exported/b.onnx": "c"}
    assert not (place / "train/models/exported/a.onnx").exists()


def test_what_failed_runs_left_is_removed_by_the_next_complete_one(inputs, known, place):
    made_by(known["export"], place, {"models/exported/a.onnx": "a"})
    for name in ("b", "c"):
        write_text(place / f"work/models/exported/{name}.onnx", name)
        upload_results(inputs.train, known["export"], complete=False)
        shutil.rmtree(place / "work/models")
    made_by(known["export"], place, {"models/exported/d.onnx": "d"})
    left = {path.name for path in (place / "train/models/exported").iterdir()}
    assert left == {"d.onnx"}


def test_a_copy_that_was_interrupted_is_not_taken_for_whole(inputs, known, place, monkeypatch):
    write_text(place / "work/models/autodeeplab.ckpt", "weights")
    write_text(place / "work/models/autodeeplab.ckpt.json", "{}")

    def killed(copy, sizes, what):
        path = next(iter(sizes))
        (inputs.train / path).upload(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(manifests, "copy_all", killed)
    with pytest.raises(KeyboardInterrupt):
        upload_results(inputs.train, known["train"], complete=True)
    with pytest.raises(AdlError, match=r"models/autodeeplab.ckpt: the stage train did not finish"):
        inputs.find("models/autodeeplab.ckpt")


def test_results_of_a_stage_that_failed_are_kept_but_not_taken(inputs, known, place):
    write_text(place / "work/reports/train/curves.png", "half")
    upload_results(inputs.train, known["train"], complete=False)
    assert (place / "train/reports/train/curves.png").read_text() == "half"
    with pytest.raises(AdlError, match="did not finish, or its results were not copied"):
        inputs.find("reports/train")


def test_a_stage_that_wrote_nothing_leaves_earlier_results_alone(inputs, known, place):
    made_by(known["baselines"], place, {"data/baselines.npz": "old"})
    upload_results(inputs.train, known["baselines"], complete=False)
    assert downloaded(inputs, "data/baselines.npz", place) == {"data/baselines.npz": "old"}


def test_a_manifest_that_is_damaged_is_named(inputs, known, place):
    made_by(known["mindrecord@val"], place, {RECORD: "record"})
    (place / "train/copied/mindrecord@val.json").write_text("{")
    with pytest.raises(AdlError, match=r"copied/mindrecord@val.json: is no JSON .* Remove it there"):
        inputs.find(RECORD)


def test_a_missing_object_is_named(inputs, known, place):
    made_by(known["mindrecord@val"], place, {RECORD: "record", f"{RECORD}.db": "index"})
    (place / "train" / f"{RECORD}.db").unlink()
    with pytest.raises(AdlError, match=r"/val.mindrecord.db: this object is missing"):
        inputs.find(f"{RECORD}.db")


def test_an_object_with_other_content_is_refused(inputs, known, place):
    made_by(known["mindrecord@val"], place, {RECORD: "record"})
    (place / "train" / RECORD).write_text("redroc")
    with pytest.raises(AdlError, match=r"/val.mindrecord: its content differs from what"):
        downloaded(inputs, RECORD, place)
    assert not (place / "work" / RECORD).exists()


def test_data_url_may_hold_the_unpacked_data_set_or_bare_records(inputs, place):
    for name, content in {
        "leftImg8bit/val/ulm/1.png": "image",
        "val.mindrecord": "record",
    }.items():
        write_text(place / "data" / name, content)
    raw = "leftImg8bit/val"
    found = {f"data/cityscapes/{raw}/ulm/1.png": "image"}
    assert downloaded(inputs, f"${{data_path}}/{raw}", place) == found
    assert downloaded(inputs, RECORD, place) == {RECORD: "record"}


@pytest.mark.parametrize("folder", ["data", "data/data/mindrecord", "train/data/mindrecord"])
def test_records_of_an_earlier_version_are_found_under_their_names(inputs, place, folder):
    old = {f"cityscapes_val.{end}": end for end in ("mindrecord", "mindrecord.db", "json")}
    for name, content in old.items():
        write_text(place / folder / name, content)
    for end in ("mindrecord", "mindrecord.db", "json"):
        here = f"data/mindrecord/cityscapes_val.{end}"
        assert downloaded(inputs, f"data/mindrecord/val.{end}", place) == {here: end}
    write_text(place / "data" / RECORD, "new")
    assert downloaded(inputs, RECORD, place) == {RECORD: "new"}


def test_data_comes_from_data_url_and_models_from_train_url_if_both_have_them(inputs, place):
    for store in ("data", "train"):
        for name in (RECORD, "models/autodeeplab.ckpt"):
            write_text(place / store / name, store)
    assert downloaded(inputs, RECORD, place) == {RECORD: "data"}
    model = "models/autodeeplab.ckpt"
    assert downloaded(inputs, model, place) == {model: "train"}


@pytest.mark.parametrize(
    "folder",
    ["data", "data/pretrained", "train/models", "train/models/intermediate", "code/pretrained"],
)
def test_a_checkpoint_is_found_by_its_name(inputs, place, folder):
    write_text(place / folder / "old.ckpt", "weights")
    write_json(place / folder / "old.ckpt.json", {})
    found = inputs.checkpoint("old.ckpt")
    assert {target.name for target in found} == {"old.ckpt", "old.ckpt.json"}
    with pytest.raises(AdlError, match=r"other.ckpt is not in .*data or .*train, nor in pretrained/"):
        inputs.checkpoint("other.ckpt")


def test_a_checkpoint_has_a_name_without_folders(inputs, place):
    write_text(place / "data/secret.ckpt", "weights")
    with pytest.raises(AdlError, match=r"ckpt_name: '\.\./data/secret.ckpt' is no name"):
        inputs.checkpoint("../data/secret.ckpt")


def finished_run(place, name) -> None:
    """Let a run of this name have kept a model of its tenth epoch, in the bucket too."""
    state = State(place / "work/.adl/state" / name)
    for file in ("autodeeplab.ckpt", "intermediate/epoch_00010.ckpt"):
        write_text(state.result / file, name)
        write_json(sidecar(state.result / file), {})
    seal(state.result)
    StateBackup(open_place(str(place / "train")), state).upload_new()


def test_a_model_that_a_run_kept_is_found_by_its_name(inputs, place):
    finished_run(place, "first")
    kept = "state/first/result/intermediate/epoch_00010.ckpt"
    found = inputs.checkpoint("epoch_00010.ckpt")
    assert {file.url for file in found.values()} == {f"{place}/train/{name}" for name in (kept, f"{kept}.json")}
    with pytest.raises(AdlError, match=r"ckpt_name: 00010.ckpt is not in"):
        inputs.checkpoint("00010.ckpt")


def test_of_several_kept_models_of_one_name_a_person_says_which(inputs, place):
    for name in ("first", "second"):
        finished_run(place, name)
    with pytest.raises(AdlError, match=r"state/first/.*, state/second/.*to pretrained/ there"):
        inputs.checkpoint("epoch_00010.ckpt")
    write_text(place / "train/pretrained/epoch_00010.ckpt", "second")
    (file,) = inputs.checkpoint("epoch_00010.ckpt").values()
    assert file.url == f"{place}/train/pretrained/epoch_00010.ckpt"


def test_what_people_put_beside_the_results_stays(inputs, known, place):
    write_text(place / "train/models/intermediate/old.ckpt", "theirs")
    made_by(known["train"], place, {"models/autodeeplab.ckpt": "a"})
    made_by(known["train"], place, {"models/autodeeplab.ckpt": "b"})
    (file,) = inputs.checkpoint("old.ckpt").values()
    assert file.url == f"{place}/train/models/intermediate/old.ckpt"
