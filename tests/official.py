"""The official evaluation of Cityscapes, on files as it reads them."""

from __future__ import annotations

import cv2
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official


def official_scores(pairs, folder, monkeypatch) -> dict:
    """Write truth and prediction as PNGs and run the official evaluation on them."""
    files = {"truth": [], "prediction": []}
    for i, pair in enumerate(pairs):
        for kind, image in zip(files, pair, strict=True):
            files[kind].append(str(folder / f"{kind}_{i}.png"))
            cv2.imwrite(files[kind][-1], image)
    for name, value in {
        "evalInstLevelScore": False,
        "JSONOutput": False,
        "quiet": True,
        "bold": "",
    }.items():
        monkeypatch.setattr(official.args, name, value)
    monkeypatch.setattr(official.args, "groundTruthSearch", "unused")
    return official.evaluateImgLists(files["prediction"], files["truth"], official.args)
