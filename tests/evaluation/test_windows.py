"""Windows of one size, cut from images of any, and their average; one graph for images of many sizes."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import pytest

from adl import device, network
from adl.errors import AdlError
from adl.evaluation import inference
from adl.evaluation.inference import Mode
from adl.export.exported import Exported
from adl.predict.predictor import Predictor
from tests.data import CITYSCAPES
from tests.evaluation.test_inference import Steep
from tests.fixtures import operation_by_operation

pytestmark = pytest.mark.usefixtures("pynative")


def blue(windows: np.ndarray) -> np.ndarray:
    """A model of two classes that looks at each pixel alone: (N, H, W, 3) → (N, 2, H, W)."""
    p = windows[:, None, :, :, 0].astype(np.float32) / 256
    return np.concatenate([p, 1 - p], axis=1)


def pixels(rng, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def test_image_of_one_window_gives_the_bits_of_the_whole_image(tiny, rng):
    net, images = network.build(tiny).set_train(False), pixels(rng, 40, 50)
    of_whole, of_window = (
        inference.probabilities(inference.passes(net, CITYSCAPES, mode), images, mode)
        for mode in (Mode(mirror=True), Mode(mirror=True, window=(40, 50)))
    )
    assert of_whole.keys() == of_window.keys() == {"single", "flip"}
    for name in of_whole:
        np.testing.assert_array_equal(of_window[name].asnumpy(), of_whole[name].asnumpy())


def test_windows_are_averaged_where_they_overlap():
    """The first window says 1, the second 2 and so on."""
    calls = []

    def run(window):
        calls.append(window.shape)
        return np.full((1, 1, 6, 9), len(calls), np.float32)

    found = inference.windowed(run, np.zeros((1, 10, 15, 3), np.uint8), (6, 9))
    assert calls == 4 * [(1, 6, 9, 3)]
    # Windows begin at 0 and 4 from the top, at 0 and 6 from the left.
    columns = [6 * [0] + 3 * [0.5] + 6 * [1]] * 10
    rows = np.array([4 * [0] + 2 * [1] + 4 * [2]]).T
    np.testing.assert_array_equal(found[0, 0], 1 + np.array(columns) + rows)


@pytest.mark.parametrize("size", [(33, 40), (20, 100), (90, 30), (34, 41), (100, 173)])
def test_images_of_any_size_are_cut_into_windows_of_one_and_padded_with_black(rng, size):
    images, seen = pixels(rng, *size), []

    def run(window):
        seen.append(window)
        return blue(window)

    np.testing.assert_allclose(inference.windowed(run, images, (33, 40)), blue(images), rtol=1e-6)
    assert {window.shape for window in seen} == {(1, 33, 40, 3)}
    height, width = np.minimum(size, (33, 40))
    np.testing.assert_array_equal(seen[0][:, :height, :width], images[:, :height, :width])
    assert not seen[0][:, height:].any()
    assert not seen[0][:, :, width:].any()


def test_strips_are_the_rows_of_the_average_and_its_mirror_from_the_top(rng):
    images = pixels(rng, 100, 91)

    def run(window):  # what a window says depends on where it lies
        return blue(window) * np.linspace(0, 1, 40, dtype=np.float32)

    strips = [strip.copy() for strip in inference.strips(run, images, (33, 40), mirror=True)]
    assert len(strips) > 3
    upright, mirrored = (inference.windowed(run, view, (33, 40)) for view in (images, images[:, :, ::-1]))
    np.testing.assert_allclose(np.concatenate(strips, axis=2), upright + mirrored[..., ::-1], atol=1e-6)


def test_large_image_needs_no_memory_but_for_one_row_of_windows():
    def run(window):
        return np.zeros((1, 19, *window.shape[1:3]), np.float32)

    predictor = Predictor(Exported(run, CITYSCAPES, None, labels=False, name="m"), Mode(mirror=True, window=(128, 128)))
    image = np.zeros((1000, 1000, 3), np.uint8)
    tracemalloc.start()
    labels = predictor(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert labels.shape == (1000, 1000)
    row_of_windows = 19 * 128 * 1000 * 4
    assert peak < 2 * row_of_windows + 2 * labels.size


def test_windows_are_cut_at_every_scale():
    """Of a network that looks at each pixel alone, windows change nothing but the rounding of the scaled image."""
    columns = np.linspace(0, 255, 90).round().astype(np.uint8)
    images = np.tile(columns[None, None, :, None], (1, 70, 1, 3))
    shapes = []

    class Watched(Steep):
        def construct(self, x):
            shapes.append(x.shape)
            return super().construct(x / 6)

    of_whole, of_windows = (
        inference.probabilities(inference.passes(Watched(), CITYSCAPES, mode), images, mode)[mode.name].asnumpy()
        for mode in (Mode(multiscale=True), Mode(multiscale=True, window=(33, 48)))
    )
    assert np.abs(of_whole - of_windows).max() / len(inference.MULTISCALE) < 0.01
    assert np.ptp(of_whole[0, 0]) > 1
    assert set(shapes[len(inference.MULTISCALE) :]) == {(1, 3, 33, 48)}


@pytest.mark.parametrize("side", range(33, 43))
@pytest.mark.parametrize("scale", inference.MULTISCALE)
def test_scaled_side_is_that_of_python(side, scale):
    assert inference.scaled(side, scale) == round(side * scale)


@pytest.mark.slow
def test_one_graph_for_many_sizes_labels_like_each_operation_alone(tiny, rng):
    net = network.build(tiny).set_train(False)
    images = [pixels(rng, height, width) for height, width in ((40, 50), (33, 70), (41, 47))]
    expected = [inference.label_maps(inference.passes(net, CITYSCAPES, Mode()), image, Mode()) for image in images]
    device.start("CPU", graph=True)
    try:
        passes = inference.passes(net, CITYSCAPES, Mode(), sizes=len(images))
        found = [inference.label_maps(passes, image, Mode()) for image in images]
        assert len(passes[1.0].compile_cache) == 1
    finally:
        device.start("CPU", seed=0, graph=False)
    np.testing.assert_equal(found, expected)
    assert len(np.unique(found[0]["single"])) > 1


def test_file_averages_windows_of_its_size(rng):
    images, mode = pixels(rng, 100, 90), Mode(mirror=True, window=(33, 40))
    file = Exported(blue, CITYSCAPES, (33, 40), labels=False, name="m")
    file.check_mode(mode)
    np.testing.assert_array_equal(file.label_maps(images, mode)["flip"], images[..., 0] < 128)
    np.testing.assert_array_equal(Predictor(file, mode)(images[0]), images[0, ..., 0] < 128)


@pytest.mark.parametrize(
    ("size", "gives_labels", "message"),
    [
        ((33, 40), True, r"m: returns labels, which cannot be averaged over windows \(eval_window, --window\)"),
        ((64, 128), False, r"m: takes images of 128×64 pixels .* must be \[64, 128\], not \[33, 40\]"),
    ],
)
def test_file_that_cannot_take_the_windows_is_refused(size, gives_labels, message):
    with pytest.raises(AdlError, match=message):
        Exported(blue, CITYSCAPES, size, labels=gives_labels, name="m").check_mode(Mode(mirror=True, window=[33, 40]))


@pytest.mark.parametrize(("sizes", "any_size"), [(1, False), (inference.FEW_SIZES, False), (20, True)])
def test_each_size_of_few_has_its_graph(tiny, sizes, any_size):
    [run] = inference.passes(network.build(tiny), CITYSCAPES, Mode(), sizes=sizes).values()
    assert bool(run.get_inputs()) == any_size


def test_checkpoint_and_file_are_predicted_by_windows(models, photograph):
    image = photograph(70, 150)
    load = functools.partial(Predictor.load, device_target="CPU", flip=True)
    with operation_by_operation():
        of_checkpoint = load(models / "m.ckpt", window=(64, 128))
    labels = of_checkpoint(image)
    staged = of_checkpoint.model.label_maps(image[None], of_checkpoint.mode)["flip"][0]
    assert (labels == staged).mean() > 0.999
    assert (labels == load(models / "m.onnx", window=(64, 128))(image)).mean() > 0.999
    assert (labels == load(models / "m.onnx")(image)).mean() < 0.999


def test_label_maps_say_of_which_windows_they_are():
    assert str(Mode(mirror=True)) == "flip"
    assert str(Mode(multiscale=True, mirror=True, window=[33, 40]).at_scale_1) == "flip, windows of 40x33"
