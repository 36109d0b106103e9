"""Label maps as people look at them."""

from __future__ import annotations

import numpy as np

from adl.predict.overlays import overlay, shares
from tests.data import CITYSCAPES

ROAD, SKY = 0, 10
LABELS = np.array([[SKY, SKY, SKY], [ROAD, ROAD, 255]], np.uint8)


def test_colours_are_those_of_the_palette():
    picture = CITYSCAPES.palette[LABELS]
    assert tuple(picture[0, 0]) == CITYSCAPES.classes[SKY].colour
    assert tuple(picture[1, 2]) == (0, 0, 0), "no class"


def test_overlay_is_half_the_image_and_half_the_palette():
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0] = 200  # blue
    picture = overlay(image, LABELS, CITYSCAPES)
    assert picture[0, 0].tolist() == [
        value // 2 + half for value, half in zip((70, 130, 180), (0, 0, 100), strict=True)
    ]


def test_shares_begin_with_the_largest_and_leave_out_what_does_not_occur():
    assert shares(LABELS, CITYSCAPES) == {"sky": 3 / 6, "road": 2 / 6}
    assert list(shares(LABELS, CITYSCAPES)) == ["sky", "road"]
