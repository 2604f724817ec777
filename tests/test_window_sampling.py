"""Where the windows of a training lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.config import Config
from consingan_jax.data import window_sampling
from consingan_jax.errors import InputError

LEVEL = (40, 60)


def seen(key, iterations, num_windows, window):
    """Returns how often each pixel of a level is seen."""
    steps = jnp.arange(iterations)
    top, left = jax.vmap(
        lambda step: window_sampling.sample_origins(
            key, step * num_windows + jnp.arange(num_windows), level=LEVEL, window=window
        )
    )(steps)
    count = np.zeros(LEVEL, int)
    for row, column in zip(np.ravel(top), np.ravel(left), strict=True):
        assert 0 <= row <= LEVEL[0] - window[0] and 0 <= column <= LEVEL[1] - window[1]
        count[row : row + window[0], column : column + window[1]] += 1
    return count


@pytest.mark.parametrize("num_windows", [1, 3])
def test_an_edge_is_seen_half_as_often_as_the_middle(key, num_windows):
    # Of half a side: an edge in 1/3 of the iterations on its axis, the middle in 2/3.
    count = seen(key, 3000, num_windows, (20, 30)) / (3000 * num_windows)
    np.testing.assert_allclose(count[[0, -1], 30], [2 / 9, 2 / 9], rtol=0.1)
    np.testing.assert_allclose(count[20, [0, -1]], [2 / 9, 2 / 9], rtol=0.1)
    np.testing.assert_allclose(count[[0, 0, -1], [0, -1, -1]], 1 / 9, rtol=0.1)
    assert count[20, 30] == pytest.approx(4 / 9, rel=0.1)
    assert count.min() > 0.09


def test_small_windows_see_an_edge_as_often_as_the_middle(key):
    # Of a quarter of a side: 1/5 of the iterations on each axis, everywhere.
    count = seen(key, 5000, 1, (10, 15)) / 5000
    np.testing.assert_allclose(count[[0, 0, 20, 39], [0, 30, 30, 59]], 1 / 25, rtol=0.2)


def test_few_windows_leave_no_gap(key):
    assert seen(key, 15, 1, (20, 30)).min() >= 1


def test_an_axis_that_is_not_cut_stays_whole(key):
    top, left = window_sampling.sample_origins(
        key, jnp.arange(10, 12), level=LEVEL, window=(40, 20)
    )
    assert top.tolist() == [0, 0] and left.min() >= 0


def test_window_sizes():
    config = Config(window=0.5)
    assert window_sampling.window_size(config, 0, (41, 60)) == (20, 30)
    config = Config(window=(0, 0, 0, 0, 50, 1000))
    sizes = [window_sampling.window_size(config, stage, (40, 60)) for stage in (3, 4, 5)]
    assert sizes == [(40, 60), (40, 50), (40, 60)]


def test_windows_that_cannot_work_are_refused_and_small_ones_named():
    sizes = [(25, 34), (60, 80)]
    with pytest.raises(InputError, match=r"window=0.3 is 8 px at stage 0, but .* 11x11 px"):
        window_sampling.check(Config(num_stages=2, window=0.3), sizes)
    lines = window_sampling.check(Config(num_stages=2, window=(0, 0.5)), sizes)
    assert len(lines) == 1 and "30 px at stage 1" in lines[0]
    assert window_sampling.check(Config(num_stages=2), sizes) == []
    assert window_sampling.check(Config(num_stages=2, window=1000), sizes) == []
    with pytest.raises(InputError, match="normalisation needs whole levels; give"):
        Config(batch_norm=True, window=0.5)
