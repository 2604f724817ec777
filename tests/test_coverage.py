"""Where the windows of a training lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.training import coverage

PATCH = 11


@pytest.mark.parametrize("part", [0.5, 1 / 3])
def test_the_windows_hold_every_patch_once(part):
    config = Config(window=part)
    for level in ((188, 250), (126, 167), (71, 203)):
        window = coverage.window_size(config, 5, level)
        places = coverage.places(level, window, patch=PATCH)
        assert len(places) == round(1 / part) ** 2
        count = np.zeros((level[0] - PATCH + 1, level[1] - PATCH + 1), int)
        for top, left in places:
            assert 0 <= top <= level[0] - window[0] and 0 <= left <= level[1] - window[1]
            count[top : top + window[0] - PATCH + 1, left : left + window[1] - PATCH + 1] += 1
        # A side that does not divide by the parts counts some patches twice.
        assert count.min() == 1 and (count > 1).mean() < 0.05


def test_places_by_hand():
    # 50 px hold 40 patches of 11 px; a window of 30 px holds 20 of them.
    assert coverage.places((50, 30), (30, 30), patch=11).tolist() == [[0, 0], [20, 0]]
    assert coverage.places((50, 60), (50, 60), patch=11).tolist() == [[0, 0]]


@pytest.mark.parametrize("num", [1, 3, 4])
def test_every_window_comes_once_before_any_comes_again(key, num):
    numbers = jax.vmap(lambda step: coverage.chosen(key, step, num, 4))(jnp.arange(12))
    rounds = np.ravel(numbers).reshape(-1, 4)
    assert all(sorted(one) == [0, 1, 2, 3] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_window_sizes():
    # Of 188 px with 178 patches: 89 patches, which are 99 px.
    assert coverage.window_size(Config(window=0.5), 0, (188, 250)) == (99, 130)
    config = Config(window=(0, 0, 0, 0, 50, 1000))
    sizes = [coverage.window_size(config, stage, (40, 60)) for stage in (3, 4, 5)]
    assert sizes == [(40, 60), (40, 50), (40, 60)]


def test_windows_that_cannot_work_are_refused_and_small_ones_named():
    sizes = [(25, 34), (60, 80)]
    with pytest.raises(InputError, match=r"window=10.0 is 10 px at stage 0, but .* 11x11 px"):
        coverage.check(Config(num_stages=2, window=10), sizes)
    lines = coverage.check(Config(num_stages=2, window=(0, 0.5)), sizes)
    assert len(lines) == 1 and "35 px at stage 1" in lines[0]
    assert coverage.check(Config(num_stages=2), sizes) == []
    assert coverage.check(Config(num_stages=2, window=1000), sizes) == []
    with pytest.raises(InputError, match="normalisation takes statistics of whole levels"):
        Config(batch_norm=True, window=0.5)
