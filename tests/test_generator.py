import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.data import noise
from consingan_jax.nn.critic import Critic, patch_size
from consingan_jax.nn.generator import Generator, _head
from consingan_jax.nn.layers import ACTIVATIONS, Architecture

SIZES = ((12, 15), (16, 20), (21, 27))
ARCHITECTURES = [
    Architecture(
        num_filters=4, num_layers=2, border_growing=grows, activation=activation, batch_norm=norm
    )
    for grows, activation, norm in [
        (True, "leaky_relu", False),
        (False, "leaky_relu", True),
        (True, "prelu", True),
        (False, "elu", False),
        (True, "selu", False),
    ]
]


def _count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_parameter_counts_of_the_paper(key):
    arch = Architecture()
    assert _count(Generator(arch).init(key, 6)) == 668_227
    assert _count(Critic(arch).init(key)) == 113_153


def draw(key, arch, num_stages):
    """Returns the whole image of some stages, and a random input for it."""
    view = Generator(arch).view(SIZES[:num_stages])
    return view, noise.NoiseSource(noise.stage_keys(key, num_stages)).draw(view.noise(arch))


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("num_stages", [1, 3])
def test_images_have_the_size_of_the_last_stage(key, arch, num_stages):
    params = Generator(arch).init(key, num_stages)
    view, z = draw(key, arch, num_stages)
    images = Generator(arch)(params, z, jnp.ones(num_stages), view)
    assert images.shape == (1, *SIZES[num_stages - 1], 3)
    assert np.abs(images).max() <= 1


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_batch_does_not_mix_its_images(key, arch):
    params = Generator(arch).init(key, 2)
    (view, first), (_, second) = (draw(k, arch, 2) for k in jax.random.split(key))
    draws = [first, second]
    pair = [jnp.concatenate(both) for both in zip(*draws, strict=True)]
    together = Generator(arch)(params, pair, jnp.ones(2), view)
    alone = [Generator(arch)(params, z, jnp.ones(2), view) for z in draws]
    np.testing.assert_allclose(together, jnp.concatenate(alone), atol=1e-5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_generator_can_be_run_in_two_parts(key, arch):
    params = Generator(arch).init(key, 3)
    view, z = draw(key, arch, 3)
    amps = jnp.array([1.0, 0.5, 0.1])
    below = Generator(arch).features(params, z[:2], amps, view)
    above = Generator(arch).features(params, z, amps, view, first=2, x=below)
    whole = Generator(arch).features(params, z, amps, view)
    np.testing.assert_allclose(above, whole, atol=1e-6)


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4])
def test_the_critic_sees_patches(key, num_layers):
    arch = Architecture(num_filters=4, num_layers=num_layers)
    side = patch_size(num_layers)
    params = Critic(arch).init(key)
    image = jnp.zeros((1, side + 3, side + 5, 3))
    assert Critic(arch).scores(params, image).shape == (1, 4, 6, 1)
    to_image = jax.grad(lambda x: Critic(arch).scores(params, x)[0, 0, 0, 0])(image)
    rows, columns = np.nonzero(np.abs(to_image[0]).sum(-1))
    assert (rows.max(), columns.max()) == (side - 1, side - 1)


def test_a_grown_generator_ends_with_a_copy(key):
    generator = Generator(Architecture(num_filters=4))
    params = generator.init(key)
    grown = generator.grow(params)
    assert isinstance(grown["stages"], list) and len(grown["stages"]) == 2
    assert jax.tree.all(jax.tree.map(jnp.array_equal, grown["stages"][0], grown["stages"][1]))
    assert len(params["stages"]) == 1


def test_initial_values(key):
    arch = Architecture(batch_norm=True, activation="prelu")
    block = Generator(arch).init(key)["stages"][0]["block1"]
    bound = 1 / np.sqrt(9 * 64)
    assert np.std(block["conv"]["kernel"]) == pytest.approx(0.02, rel=0.02)
    assert np.abs(block["conv"]["bias"]).max() <= bound
    assert np.std(block["conv"]["bias"]) == pytest.approx(bound / np.sqrt(3), rel=0.2)
    assert np.mean(block["norm"]["scale"]) == pytest.approx(1, abs=0.01)
    assert not np.any(block["norm"]["bias"])
    assert block["slope"] == 0.25


def test_normalisation_takes_each_images_own_statistics(key):
    arch = Architecture(num_filters=4, batch_norm=True)
    params = Generator(arch).init(key)["head"]
    unit = {**params, "norm": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}}
    linear = dataclasses.replace(arch, negative_slope=1.0)
    x = jax.random.normal(key, (2, 20, 20, 3)) * jnp.array([1, 9.0]).reshape(2, 1, 1, 1)
    y = _head(linear).apply({"params": unit}, x)
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2)), 1, atol=5e-2)


def test_activations_by_hand():
    x = jnp.array([-1.0, 0.0, 2.0])
    values = {name: np.asarray(act(x, 0.1)) for name, act in ACTIVATIONS.items()}
    np.testing.assert_allclose(values["leaky_relu"], [-0.1, 0, 2], atol=1e-6)
    np.testing.assert_allclose(values["prelu"], [-0.1, 0, 2], atol=1e-6)
    np.testing.assert_allclose(values["elu"], [np.exp(-1) - 1, 0, 2], atol=1e-6)
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    expected = [scale * alpha * (np.exp(-1) - 1), 0, 2 * scale]
    np.testing.assert_allclose(values["selu"], expected, atol=1e-6)


def test_noise_of_both_forms():
    def sizes(arch):
        wanted = Generator(arch).view(((12, 15), (16, 20))).noise(arch)
        return [(rows.length, columns.length, count) for rows, columns, count in wanted]

    assert sizes(Architecture(num_filters=5)) == [(12, 15, 3), (22, 26, 5)]
    padded = Architecture(num_filters=5, border_growing=False)
    assert sizes(padded) == [(12, 15, 3), (16, 20, 5)]


def test_groups_cover_all_parameters_and_have_ages(key):
    generator = Generator(Architecture(num_filters=2))
    labels, ages = generator.groups(generator.init(key, 3))
    assert labels == {"head": "head", "stages": ["stage_0", "stage_1", "stage_2"], "tail": "tail"}
    assert ages == {"head": 2, "stage_0": 2, "stage_1": 1, "stage_2": 0, "tail": 0}
