import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.nn import generator as networks
from consingan_jax.nn.layers import Architecture
from consingan_jax.training import optimizer

SETTINGS = {
    "lr_scale": 0.1,
    "learning_rate": 1e-3,
    "beta1": 0.5,
    "num_iters": 10,
    "g_steps": 3,
    "decay": 0.1,
}


@pytest.fixture
def params(key):
    return networks.init_generator(key, Architecture(num_filters=2), 5)


def test_labels_and_rates_with_frozen_stages(params):
    labels = optimizer.labels(params, stage=4, train_depth=3)
    found = [set(jax.tree.leaves(stage)) for stage in labels["stages"]]
    assert found == [{"frozen"}, {"frozen"}, {"stage_2"}, {"stage_3"}, {"stage_4"}]
    assert set(jax.tree.leaves(labels["head"])) == {"frozen"}
    assert set(jax.tree.leaves(labels["tail"])) == {"tail"}
    rates = optimizer.rates(stage=4, train_depth=3, lr_scale=0.1)
    assert rates == pytest.approx({"tail": 1, "stage_4": 1, "stage_3": 0.1, "stage_2": 0.01})


def test_the_head_trains_while_nothing_is_frozen():
    rates = optimizer.rates(stage=2, train_depth=3, lr_scale=0.1)
    expected = {"tail": 1, "head": 0.01, "stage_0": 0.01, "stage_1": 0.1, "stage_2": 1}
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("stage", range(5))
@pytest.mark.parametrize("train_depth", [1, 3, 9])
def test_every_label_has_a_rate_and_every_rate_a_label(params, stage, train_depth):
    grown = {**params, "stages": params["stages"][: stage + 1]}
    labels = set(jax.tree.leaves(optimizer.labels(grown, stage=stage, train_depth=train_depth)))
    rates = set(optimizer.rates(stage=stage, train_depth=train_depth, lr_scale=0.1))
    assert labels - {"frozen"} == rates


@pytest.mark.parametrize("extra", [{"body": jnp.zeros(1)}, {"stages": [{}, {"w": jnp.zeros(1)}]}])
def test_a_leaf_without_a_group_is_an_error(params, extra):
    with pytest.raises(ValueError, match="no learning rate for the parameter"):
        optimizer.labels({**params, **extra}, stage=0, train_depth=3)


def test_the_rate_drops_after_four_fifths_of_the_iterations():
    rate = optimizer.schedule(1.0, num_iters=10, updates_per_iter=3, decay=0.1)
    values = [float(rate(update)) for update in range(30)]
    np.testing.assert_allclose(values, [1.0] * 24 + [0.1] * 6)


def test_the_drop_of_an_uneven_number_of_iterations():
    rate = optimizer.schedule(1.0, num_iters=3, updates_per_iter=1, decay=0.1)
    np.testing.assert_allclose([float(rate(update)) for update in range(3)], [1, 1, 0.1])


def test_a_first_update_moves_every_group_by_its_rate(params):
    transformation = optimizer.generator_optimizer(params, stage=4, train_depth=3, **SETTINGS)
    gradient = jax.tree.map(jnp.ones_like, params)  # Adam's first step is the rate itself
    updates, _ = transformation.update(gradient, transformation.init(params), params)
    sizes = [float(jnp.abs(stage["block0"]["conv"]["bias"]).max()) for stage in updates["stages"]]
    np.testing.assert_allclose(sizes, [0, 0, 1e-5, 1e-4, 1e-3], rtol=1e-5)
    assert not np.any(updates["head"]["conv"]["bias"])
    np.testing.assert_allclose(updates["tail"]["bias"], -1e-3, rtol=1e-5)
