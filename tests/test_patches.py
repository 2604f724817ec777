"""Known answers: equal images, copies, shuffled content."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.measures import patches


@pytest.fixture(scope="module")
def real():
    """An image `[64, 80, 3]` without two equal patches."""
    rng = np.random.default_rng(0)
    rough = jax.image.resize(rng.uniform(-1, 1, (16, 20, 3)), (64, 80, 3), "cubic")
    return np.clip(np.asarray(rough, np.float32), -1, 1)


def test_sliced_wasserstein(real):
    def distance(a, b):
        return patches.sliced_wasserstein(patches.projections(a), patches.projections(b))

    assert distance(real, real) == 0
    assert distance(real, real[::-1, ::-1].copy()) > 0  # patches turn too
    tiled = np.concatenate([real, real], 1)
    assert distance(tiled, real) < 0.01  # more patches, nearly the same ones
    constant = distance(np.zeros_like(real), np.full_like(real, 0.5))
    # Every projection moves by 0.5 times the sum of its direction, which is close to normal.
    assert constant == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=0.15)


def test_copies_are_flagged_as_copies(real):
    assert patches.copy_rate(real, real) == 1
    shuffled = patches.shuffled(real)
    assert sorted(shuffled.ravel()) == sorted(real.ravel())
    assert patches.copy_rate(shuffled, real) < 0.05
    half = np.where(np.arange(80)[None, :, None] < 40, real, shuffled)
    assert 0.4 < patches.copy_rate(half, real) < 0.6


def test_shares_do_not_depend_on_the_size(real):
    large = np.repeat(np.repeat(real, 4, 0), 4, 1)
    moved = np.roll(large, 160, 1)
    assert patches.copy_rate(large, large) == 1
    assert patches.copy_rate(moved, large) < 0.05
    wide = np.concatenate([real, real], 1)
    assert patches.copy_rate(wide, real) < 0.1  # all shifted, relative to the side


def test_patches_and_places_by_hand():
    x = jnp.arange(8 * 9 * 1.0).reshape(8, 9, 1)
    cut = patches.patches(x, 1)
    assert cut.shape == (2 * 3, 49)
    np.testing.assert_array_equal(cut[4].reshape(7, 7), x[1:8, 1:8, 0])
    expected = [[0, 0], [0, 0.5], [0, 1], [1, 0], [1, 0.5], [1, 1]]
    np.testing.assert_array_equal(patches.places(x.shape, 1), expected)
