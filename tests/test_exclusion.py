"""A hole of the training image: what is kept out of its levels, losses and statistics."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.config import Config
from consingan_jax.data import exclusion
from consingan_jax.errors import InputError
from consingan_jax.images import display
from consingan_jax.nn.intervals import span


def box(shape, top, left, height, width):
    hole = np.zeros(shape, bool)
    hole[top : top + height, left : left + width] = True
    return hole


def test_pixels_of_a_level_that_cover_a_part_of_the_hole():
    # Of 10 pixels to 4, each covers 2.5: pixel 2 lies in the first two, pixel 5 in the third.
    hole = np.zeros((10, 10), bool)
    hole[2, 5] = True
    expected = np.zeros((4, 4), bool)
    expected[:2, 2] = True
    np.testing.assert_array_equal(exclusion.touched(hole, (4, 4)), expected)
    np.testing.assert_array_equal(exclusion.touched(hole, (10, 10)), hole)
    assert exclusion.touched(hole, (1, 1)).all()


def test_patches_that_do_not_touch_the_hole():
    free = exclusion.free_patches(box((6, 8), 4, 0, 1, 2), 3)
    # Patches of 3x3 begin in 4 rows and 6 columns; the hole is in those from row 2, column 0 or 1.
    expected = np.ones((4, 6), bool)
    expected[2:, :2] = False
    np.testing.assert_array_equal(free, expected)


def test_weights_are_one_on_average_and_are_cut_as_the_windows_are():
    holes = [box((6, 8), 4, 0, 1, 2), box((12, 16), 8, 0, 2, 4)]
    hidden = exclusion.of_holes(holes, 3)
    assert [h.shape for h in hidden.holes] == [(1, 6, 8, 1), (1, 12, 16, 1)]
    np.testing.assert_array_equal(hidden.holes[1][0, ..., 0], holes[1])
    for weights, free in (
        (hidden.pixels, ~holes[1]),
        (hidden.patches, exclusion.free_patches(holes[1], 3)),
    ):
        assert float(weights.mean()) == pytest.approx(1, rel=1e-5)
        np.testing.assert_allclose(weights[0, ..., 0], free / free.mean(), rtol=1e-6)
    window = [span(7, jnp.array([0, 5]), 12), span(9, jnp.array([7, 0]), 16)]
    cut = hidden.weights(window)
    for j, (top, left) in enumerate(((0, 7), (5, 0))):
        np.testing.assert_array_equal(
            cut["pixels"][j], hidden.pixels[0, top : top + 7, left : left + 9]
        )
        np.testing.assert_array_equal(
            cut["patches"][j], hidden.patches[0, top : top + 5, left : left + 7]
        )


def test_the_hole_is_filled_from_its_border_alone():
    rng = np.random.default_rng(0)
    hole = box((21, 30), 5, 8, 9, 11)
    rows, columns = np.mgrid[:21, :30] / 30
    plane = np.stack([rows, columns, 0.5 - rows], -1).astype(np.float32)
    filled = exclusion.fill(plane, hole)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[~hole], plane[~hole])
    assert np.abs(filled - plane).max() < 0.2  # a plane is nearly continued
    around = plane[4:15, 7:20]
    assert (filled >= around.min((0, 1))).all() or (filled[hole] <= around.max((0, 1))).all()
    other = np.where(hole[..., None], rng.uniform(-1, 1, plane.shape), plane).astype(np.float32)
    np.testing.assert_array_equal(exclusion.fill(other, hole), filled)
    flat = np.where(hole[..., None], 9.0, np.full((21, 30, 1), 0.25))
    np.testing.assert_allclose(exclusion.fill(flat, hole), 0.25)


def _config(path, values):
    display.save(path, 2.0 * np.asarray(values)[..., None] - 1)
    return Config(image="i.png", exclude=str(path))


def test_a_mask_is_read(tmp_path):
    hole = box((30, 40), 3, 4, 5, 6)
    found, line = exclusion.read(_config(tmp_path / "m.png", hole), (30, 40), turn=1)
    np.testing.assert_array_equal(found, hole)
    assert line == f"exclude: {tmp_path}/m.png, 2.5% of the image"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((30, 40)), "is all black: paint white what is to be left out"),
        (np.ones((30, 40)), "is white everywhere: paint black what is to be learned"),
        (np.eye(20), "has 20x20 px, but the image 30x40: give a mask of the same size"),
    ],
)
def test_masks_that_cannot_work(values, message, tmp_path):
    with pytest.raises(InputError, match=message):
        exclusion.read(_config(tmp_path / "m.png", values), (30, 40), turn=1)


def test_a_mask_that_is_missing():
    with pytest.raises(InputError, match=r"config.exclude: mask no.png: no such file"):
        exclusion.read(Config(exclude="no.png"), (30, 40), turn=1)


def test_tasks_that_take_composites_learn_the_whole_image():
    with pytest.raises(InputError, match=r"exclude=m.png: the task editing learns the whole"):
        Config.create("editing", exclude="m.png")


def test_few_patches_are_warned_of_and_too_few_refused():
    config, sizes = Config(exclude="m.png", num_layers=1), [(14, 19), (28, 38)]  # patches of 7x7
    assert exclusion.check(config, box((28, 38), 24, 34, 4, 4), sizes) == []
    # Level 0: 8x13 patches; a hole of 2x4 px in rows 6-7 touches all but those of 3 columns.
    (line,) = exclusion.check(config, box((28, 38), 12, 14, 4, 8), sizes)
    assert line.startswith("warning: config.exclude=m.png leaves 23.1% of the critic's patches")
    with pytest.raises(InputError, match=r"leaves 0.0% .* at level 0 \(14x19 px\), too few to"):
        exclusion.check(config, box((28, 38), 8, 10, 12, 18), sizes)


def test_runs_with_other_holes_share_a_program_and_those_without_do_not():
    one, other, none = (Config(exclude=path).of_any_picture() for path in ("a.png", "b.png", ""))
    assert one == other != none
    assert none == dataclasses.replace(Config()).of_any_picture()
    assert jax.tree.leaves(none.exclude) == [""]
