import dataclasses
import re

import numpy as np
import pytest

from consingan_jax.config import Config
from consingan_jax.data import pyramid
from consingan_jax.errors import InputError


def _sizes(size, **changes):
    arguments = {"num_stages": 6, "min_size": 25, "max_size": 250, "rule": "new"} | changes
    return pyramid.sizes(size, **arguments)


def test_new_rule_on_the_papers_example():
    expected = [(25, 34), (32, 42), (42, 56), (63, 84), (126, 167), (188, 250)]
    assert _sizes((188, 250)) == expected


def test_geometric_rule_multiplies_by_the_same_factor():
    assert _sizes((400, 400), num_stages=3, min_size=100, max_size=400, rule="geometric") == [
        (100, 100),
        (200, 200),
        (400, 400),
    ]


@pytest.mark.parametrize("rule", pyramid.RULES)
def test_one_and_two_stages(rule):
    assert _sizes((100, 200), num_stages=1, rule=rule) == [(100, 200)]
    assert _sizes((100, 200), num_stages=2, rule=rule) == [(25, 50), (100, 200)]


@pytest.mark.parametrize(
    ("size", "fault"),
    [
        ((600, 60), "levels 0 and 1 of the pyramid would both be 250x25 px"),
        ((2000, 20), "is larger than the short side of the top level, 3 px"),
        ((11, 3000), "is larger than the short side"),
        ((12, 12), "is larger than the short side of the top level, 12 px"),
        ((30, 400), "is larger than the short side of the top level, 19 px"),
    ],
)
def test_an_image_that_cannot_work_hears_what_can(size, fault):
    config = Config.create()
    with pytest.raises(InputError, match=fault) as refusal:
        pyramid.level_sizes(config, size)
    changes = dict(re.findall(r"--config\.(\w+)=(\d+)", str(refusal.value)))
    levels = pyramid.level_sizes(
        dataclasses.replace(config, **{name: int(value) for name, value in changes.items()}), size
    )
    assert len(set(levels)) == len(levels)
    if min(size) > 16 and max(size) > 16:
        assert min(levels[-1]) >= 1.5 * min(levels[0])


def test_an_image_smaller_than_a_patch():
    with pytest.raises(InputError, match="has 8x8 px; give one of 11 px a side or more"):
        pyramid.level_sizes(Config.create(), (8, 8))


def test_a_large_image_is_cut_to_max_size_and_a_small_one_kept():
    assert _sizes((1000, 500))[-1] == (250, 125)
    assert _sizes((60, 50))[-1] == (60, 50)


def test_levels_have_the_sizes_and_stay_in_range():
    image = np.random.default_rng(0).uniform(-1, 1, (50, 61, 3)).astype(np.float32)
    arguments = {"num_stages": 4, "min_size": 14, "max_size": 40, "rule": "new"}
    levels = pyramid.build(image, **arguments)
    assert [level.shape[1:3] for level in levels] == pyramid.sizes((50, 61), **arguments)
    assert all(level.dtype == np.float32 and np.abs(level).max() <= 1 for level in levels)


def test_the_top_level_of_a_small_image_is_the_image():
    image = np.random.default_rng(0).uniform(-1, 1, (30, 40, 3)).astype(np.float32)
    levels = pyramid.build(image, num_stages=2, min_size=14, max_size=250, rule="new")
    np.testing.assert_allclose(levels[-1][0], image, atol=1e-6)
