"""The exported file is kept only if it gives the checkpoint's results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor

from adl.dataset.descriptor import CITYSCAPES
from adl.deploy import export, exported
from adl.errors import AdlError, reported
from tests.data import largest_file

pytestmark = pytest.mark.usefixtures("graph")


@pytest.mark.parametrize(
    ("difference", "agreement", "kept"),
    [(1e-4, 0.9999, True), (1.01e-4, 1.0, False), (0.0, 0.99989, False)],
)
def test_file_that_differs_is_not_kept(
    net, evaluation_data, tmp_path, monkeypatch, capsys, difference, agreement, kept
):
    proof = export.Proof(3, difference=difference, agreement=agreement)
    monkeypatch.setattr(export, "compare", lambda *_: proof)
    record, path = evaluation_data / "cityscapes_val.mindrecord", tmp_path / "m.mindir"
    if kept:
        assert export.write(net, path, CITYSCAPES, height=64, width=128, record=record) == proof
    else:
        with pytest.raises(AdlError, match="No file was kept"):
            export.write(net, path, CITYSCAPES, height=64, width=128, record=record)
    assert (
        f"exporting to {path} and comparing 3 images with the checkpoint" in capsys.readouterr().out
    )
    assert path.exists() == kept
    assert len(list(tmp_path.glob("*m.mindir*"))) == kept


def test_full_disk_in_export_is_one_message_and_no_file_is_kept(
    net, evaluation_data, tmp_path, capsys
):
    path = tmp_path / "m.mindir"
    with largest_file(2000), pytest.raises(SystemExit, match="2"), reported():
        export.write(
            net,
            path,
            CITYSCAPES,
            height=64,
            width=128,
            record=evaluation_data / "cityscapes_val.mindrecord",
        )
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == f"error: {path} cannot be written (File too large). Free up disk space."
    )
    assert not list(tmp_path.glob("*m.mindir*"))


def test_comparison_sees_a_difference(rng):
    images = [rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)]
    p = rng.random((1, 3, 4, 5)).astype(np.float32)
    q = p.copy()
    q[0, :, 0, 0] = q[0, ::-1, 0, 0]
    proof = export.compare(lambda b: Tensor(p), lambda b: Tensor(q), images)
    assert proof.difference == pytest.approx(np.abs(p - q).max())
    assert proof.agreement == pytest.approx((p.argmax(1) == q.argmax(1)).mean())


@pytest.mark.parametrize("what", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["file", "checkpoint", "both"])
def test_output_that_is_no_number_is_no_agreement(
    net, evaluation_data, tmp_path, monkeypatch, what, side
):
    sound = np.full((1, 19, 64, 128), 1 / 19, np.float32)
    faulty = sound.copy()
    faulty[0, 3, 5, 7] = what

    def gives(wrong: bool):
        # The first image alone: those that follow must not make good for it.
        outputs = iter([Tensor(faulty if wrong else sound), Tensor(sound), Tensor(sound)])
        return lambda _: next(outputs)

    compare = export.compare
    file, reference = gives(side != "checkpoint"), gives(side != "file")
    monkeypatch.setattr(export, "compare", lambda _, __, images: compare(file, reference, images))
    monkeypatch.setattr(exported, "load", lambda path: None)
    monkeypatch.setattr(export.ms, "export", lambda *_, file_name, **__: Path(file_name).touch())
    with pytest.raises(AdlError, match="No file was kept"):
        export.write(
            net,
            tmp_path / "m.mindir",
            CITYSCAPES,
            height=64,
            width=128,
            record=evaluation_data / "cityscapes_val.mindrecord",
        )
    assert not list(tmp_path.glob("*m.mindir*"))


@pytest.mark.parametrize("kind", ["mindir", "onnx"])
@pytest.mark.parametrize("damage", ["foreign", "empty", "truncated"])
def test_damaged_file_is_named(models, tmp_path, kind, damage):
    content = (models / f"m.{kind}").read_bytes()
    path = tmp_path / f"m.{kind}"
    path.write_bytes(
        {"foreign": b"x", "empty": b"", "truncated": content[: len(content) // 2]}[damage]
    )
    message = rf"m\.{kind}: cannot be loaded as {kind.upper()} \(.*\)\. Export it again: `dvc repro"
    with pytest.raises(AdlError, match=message):
        exported.load(path)
