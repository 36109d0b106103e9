"""The data set as a value: tables that follow from its classes."""

from __future__ import annotations

from cityscapesscripts.helpers.labels import id2label, labels

from tests.data import CITYSCAPES


def test_label_map_is_the_official_one():
    for label in labels:
        if label.id >= 0:
            assert CITYSCAPES.train_ids[label.id] == (255 if label.trainId in (-1, 255) else label.trainId)
            name = CITYSCAPES.label_names[label.id]
            assert name == label.name
    assert [id2label[CITYSCAPES.label_ids[i]].trainId for i in range(19)] == list(range(19))
    assert (CITYSCAPES.label_ids[19:] == 0).all()
    assert len(CITYSCAPES.class_names) == 19
    assert len(CITYSCAPES.categories) == 7
    by_name = {label.name: label for label in labels}
    for train_id, entry in enumerate(CITYSCAPES.classes):
        assert (entry.colour, entry.category) == (
            by_name[entry.name].color,
            by_name[entry.name].category,
        )
        assert tuple(CITYSCAPES.palette[train_id]) == entry.colour
    assert not CITYSCAPES.palette[19:].any()
    assert CITYSCAPES.categories[0] == "flat"
    assert [label.category for label in CITYSCAPES.classes[:3]] == ["flat", "flat", "construction"]
