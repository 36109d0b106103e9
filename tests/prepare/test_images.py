"""One file, or one frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adl.prepare import DataError, images, labels
from tests.damage import image, truncated, write_sound
from tests.data import CITYSCAPES


@pytest.fixture
def root(tmp_path):
    return write_sound(tmp_path / "cityscapes")


def test_first_and_last_bytes_tell_that_a_file_is_cut(root):
    whole = images.header(image(root), CITYSCAPES.images)
    assert (whole.size, whole.bytes) == ((16, 8), image(root).stat().st_size)
    truncated(root)
    with pytest.raises(DataError, match="truncated after"):
        images.header(image(root), CITYSCAPES.images)


def test_label_with_every_train_id_holds_train_ids():
    for ids, kind in (([*range(19), 255], "train ids"), ([*range(20), 255], "label ids")):
        with pytest.raises(DataError) as error:
            labels.check_numbers(Path("a.png"), np.array(ids), CITYSCAPES)
        assert error.value.problems[0].kind == kind
