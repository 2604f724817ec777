"""A window of an image equals that part of the whole image."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.data import noise
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture

SIZES = ((14, 17), (23, 21), (37, 41))
CORNERS = [*itertools.product((0, 11, 18), (0, 9, 16))]  # of windows of 19x25 px in 37x41


def build(key, *, border_growing=True, num_layers=3, sizes=SIZES):
    """Returns a generator, its parameters (all of one size, so that every stage counts), amps."""
    generator = Generator(
        Architecture(num_filters=6, num_layers=num_layers, border_growing=border_growing)
    )
    params = jax.tree.map(lambda p: p * 8, generator.init(key, len(sizes)))
    return generator, params, jnp.array([1.0, 0.7, 0.5])[: len(sizes)]


def make(generator, params, amps, view):
    """Returns the image of some windows, for noise of key 3."""
    keys = noise.stage_keys(jax.random.key(3), len(amps))
    z = noise.NoiseSource(keys).draw(view.noise(generator.arch))
    return generator(params, z, amps, view)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("border_growing", [True, False])
def test_a_window_equals_its_part_of_the_image(key, border_growing, num_layers):
    generator, params, amps = build(key, border_growing=border_growing, num_layers=num_layers)
    whole = make(generator, params, amps, generator.view(SIZES))
    assert np.std(whole) > 0.1
    made = jax.jit(lambda view: make(generator, params, amps, view))
    for top, left in CORNERS:
        part = made(generator.view(SIZES, top=top, left=left, size=(19, 25)))
        np.testing.assert_allclose(part, whole[:, top : top + 19, left : left + 25], atol=2e-5)
    assert made._cache_size() == 1


def test_two_windows_each_of_two_images(key):
    """Windows that need all of a stage share it, also where each image has several of them."""
    generator, params, amps = build(key, sizes=SIZES[:2])
    sources = [noise.NoiseSource(noise.stage_keys(jax.random.key(i), 2)) for i in range(2)]
    view = generator.view(SIZES[:2], top=[0, 2], left=[2, 1], size=(21, 19))

    def images(view, repeated):
        z = [source.draw(view.noise(generator.arch)) for source in sources]
        pairs = [jnp.concatenate(both) for both in zip(*z, strict=True)]
        return generator(params, pairs, amps, repeated)

    whole = generator.view(SIZES[:2])
    one, two = images(whole, whole)
    parts = images(view, view.repeated(2))
    expected = [
        image[top : top + 21, left : left + 19]
        for image in (one, two)
        for top, left in ((0, 2), (2, 1))
    ]
    np.testing.assert_allclose(parts, expected, atol=2e-5)


@pytest.mark.parametrize("border_growing", [True, False])
def test_windows_in_a_batch_and_traced(key, border_growing):
    generator, params, amps = build(key, border_growing=border_growing)
    whole = make(generator, params, amps, generator.view(SIZES))
    top, left = (jnp.array(each) for each in zip(*CORNERS, strict=True))
    parts = jax.jit(
        lambda top, left: make(
            generator, params, amps, generator.view(SIZES, top=top, left=left, size=(19, 25))
        )
    )(top, left)
    for part, (row, column) in zip(parts, CORNERS, strict=True):
        np.testing.assert_allclose(part, whole[0, row : row + 19, column : column + 25], atol=2e-5)


def test_a_window_on_one_axis_only(key):
    generator, params, amps = build(key)
    whole = make(generator, params, amps, generator.view(SIZES))
    part = make(generator, params, amps, generator.view(SIZES, left=8, size=(37, 20)))
    np.testing.assert_allclose(part, whole[:, :, 8:28], atol=2e-5)


def test_a_small_window_of_a_large_image_needs_little(key):
    generator = Generator(Architecture())
    sizes = ((100_000,) * 2, (400_000,) * 2, (1_000_000,) * 2)
    view = generator.view(sizes, top=999_936, left=12_345, size=(64, 64))
    # 64 + 2 of the tail + 6 of the layers, times 0.4 and 4 for the taps; then the same again.
    assert view.stage(1)[0].out.length == 33 and view.stage(0)[0].out.length == 14
    assert view.stage(1)[0].out.start.tolist() == [400_000 - 33]


@pytest.mark.parametrize("border_growing", [True, False])
def test_the_gradient_on_windows_equals_that_of_their_parts_of_the_image(key, border_growing):
    generator, params, amps = build(key, border_growing=border_growing, num_layers=2)
    places = ((0, 0), (7, 11), (18, 16))  # two corners and the middle: they overlap
    weights = jax.random.normal(key, (3, 19, 25, 3))

    def of_windows(params):
        top, left = (list(each) for each in zip(*places, strict=True))
        view = generator.view(SIZES, top=top, left=left, size=(19, 25))
        return jnp.sum(weights * make(generator, params, amps, view))

    def of_the_image(params):
        image = make(generator, params, amps, generator.view(SIZES))[0]
        parts = [image[top : top + 19, left : left + 25] for top, left in places]
        return jnp.sum(weights * jnp.stack(parts))

    found, expected = (jax.jit(jax.grad(loss))(params) for loss in (of_windows, of_the_image))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())
    text = jax.jit(jax.grad(of_windows)).lower(params).as_text()
    assert "dynamic_update_slice" in text and "scatter" not in text


def test_stages_that_windows_need_whole_are_made_once(key):
    generator = Generator(Architecture(num_filters=4))
    view = generator.view(SIZES, top=[0, 8], left=[3, 16], size=(19, 25))
    assert view.is_whole(0) and not view.is_whole(1)
    assert [len(rows.start) for rows, *_ in view.noise(generator.arch)] == [1, 2, 2]
