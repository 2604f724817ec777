import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.config import Config
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture
from consingan_jax.training import optimizer

CONFIG = Config(lr_scale=0.1, lr_generator=1e-3, num_iters=10, train_depth=3)
GENERATOR = Generator(Architecture(num_filters=2))


@pytest.fixture
def params(key):
    return GENERATOR.init(key, 5)


def _state(params, config, stage):
    return optimizer.generator_optimizer(GENERATOR, params, config, stage=stage).init(params)


def test_rates_with_frozen_stages(params):
    _, ages = GENERATOR.groups(params)
    rates = optimizer.rates(ages, CONFIG, stage=4)
    expected = {"tail": 1e-3, "stage_4": 1e-3, "stage_3": 1e-4, "stage_2": 1e-5}
    assert rates == pytest.approx(expected)
    assert set(_state(params, CONFIG, 4).inner_states) == {*expected, "frozen"}


def test_the_head_trains_while_nothing_is_frozen(params):
    _, ages = GENERATOR.groups({**params, "stages": params["stages"][:3]})
    rates = optimizer.rates(ages, CONFIG, stage=2)
    expected = {"tail": 1, "head": 0.01, "stage_0": 0.01, "stage_1": 0.1, "stage_2": 1}
    assert rates == pytest.approx({name: 1e-3 * factor for name, factor in expected.items()})


def test_a_rate_for_every_stage(params):
    config = dataclasses.replace(CONFIG, num_stages=5, lr_generator=(1, 1, 1, 1, 0.5))
    _, ages = GENERATOR.groups(params)
    rates = optimizer.rates(ages, config, stage=4)
    expected = {"tail": 0.5, "stage_4": 0.5, "stage_3": 0.05, "stage_2": 0.005}
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("stage", range(5))
@pytest.mark.parametrize("train_depth", [1, 3, 9])
def test_as_many_stages_stand_still_as_the_iteration_leaves_out(params, stage, train_depth):
    grown = {**params, "stages": params["stages"][: stage + 1]}
    labels, ages = GENERATOR.groups(grown)
    config = dataclasses.replace(CONFIG, train_depth=train_depth)
    rates = optimizer.rates(ages, config, stage=stage)
    frozen = optimizer.num_frozen(stage, train_depth)
    assert [name in rates for name in labels["stages"]] == [k >= frozen for k in range(stage + 1)]
    assert ("head" in rates) == (frozen == 0) and "tail" in rates


def test_a_leaf_without_a_group_is_an_error(params):
    transformation = optimizer.generator_optimizer(GENERATOR, params, CONFIG, stage=4)
    with pytest.raises(ValueError, match="body"):
        transformation.init({**params, "body": jnp.zeros(1)})


def test_the_rate_drops_after_four_fifths_of_the_iterations():
    rate = optimizer.schedule(1.0, CONFIG, stage=0, updates_per_iter=3)
    values = [float(rate(update)) for update in range(30)]
    np.testing.assert_allclose(values, [1.0] * 24 + [0.1] * 6)


def test_the_drop_of_an_uneven_number_of_iterations():
    config = Config(num_iters=(10, 3), num_stages=2)
    rate = optimizer.schedule(1.0, config, stage=1, updates_per_iter=1)
    np.testing.assert_allclose([float(rate(update)) for update in range(3)], [1, 1, 0.1])


def test_a_first_update_moves_every_group_by_its_rate(params):
    transformation = optimizer.generator_optimizer(GENERATOR, params, CONFIG, stage=4)
    gradient = jax.tree.map(jnp.ones_like, params)  # Adam's first step is the rate itself
    updates, _ = transformation.update(gradient, transformation.init(params), params)
    sizes = [float(jnp.abs(stage["block0"]["conv"]["bias"]).max()) for stage in updates["stages"]]
    np.testing.assert_allclose(sizes, [0, 0, 1e-5, 1e-4, 1e-3], rtol=1e-5)
    assert not np.any(updates["head"]["conv"]["bias"])
    np.testing.assert_allclose(updates["tail"]["bias"], -1e-3, rtol=1e-5)
