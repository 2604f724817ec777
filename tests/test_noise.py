import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import tasks
from consingan_jax.data import noise
from consingan_jax.nn.intervals import span
from consingan_jax.nn.receptive_field import NoiseWindow


def window(height, width, channels, *, top=0, left=0, whole=(10_000, 10_000)):
    return NoiseWindow(span(height, top, whole[0]), span(width, left, whole[1]), channels)


def drawn(key, *wanted):
    return noise.NoiseSource(noise.stage_keys(key, len(wanted))).draw(wanted)


def test_draws_are_standard_normal_and_independent(key):
    z = drawn(key, window(60, 60, 3), window(86, 86, 64))
    for one in z:
        assert abs(float(one.mean())) < 0.02 and abs(float(one.std()) - 1) < 0.02
    overlap = np.corrcoef(np.ravel(z[0]), np.ravel(z[1])[: z[0].size])[0, 1]
    assert abs(overlap) < 0.05
    neighbours = np.corrcoef(np.ravel(z[1][:, 1:, 1:]), np.ravel(z[1][:, :-1, :-1]))[0, 1]
    assert abs(neighbours) < 0.01


def test_noise_belongs_to_its_place(key):
    here = drawn(key, window(20, 30, 3, top=500, left=9_970))[0]
    there = drawn(key, window(10, 12, 3, top=507, left=9_980))[0]
    np.testing.assert_array_equal(here[:, 7:17, 10:22], there)
    several = drawn(key, window(10, 12, 3, top=[507, 0], left=[9_980, 0]))[0]
    np.testing.assert_array_equal(several[:1], there)
    assert not np.array_equal(several[0], several[1])


def test_no_sample_has_the_noise_of_the_fixed_input():
    fixed = noise.fixed_key(3)
    keys = [noise.sample_key(seed) for seed in range(5)] + [jax.random.key(3)]
    assert all(fixed != key for key in keys)


def test_what_is_given_is_cut_or_stretched(key):
    grid = jax.random.normal(key, (1, 10, 12, 2))
    source = noise.NoiseSource(noise.stage_keys(key, 1), (grid,))
    (part,) = source.draw([window(4, 5, 2, top=6, left=7, whole=(10, 12))])
    np.testing.assert_array_equal(part, grid[:, 6:, 7:])
    (double,) = source.draw([window(20, 24, 2, whole=(20, 24))])
    np.testing.assert_array_equal(double, grid.repeat(2, 1).repeat(2, 2))
    (part,) = source.draw([window(3, 4, 2, top=5, left=6, whole=(20, 24))])
    np.testing.assert_array_equal(part, double[:, 5:8, 6:10])
    smooth = dataclasses.replace(source, image_at_0=True)
    (double,) = smooth.draw([window(20, 24, 2, whole=(20, 24))])
    np.testing.assert_allclose(double[:, ::19, ::23], grid[:, ::9, ::11], atol=1e-5)


def test_what_is_given_is_stretched_over_the_largest_canvas(key):
    # Pixel 1,999,998 of 2,000,000 shows 1,999,998 * 1,501 / 2,000,000 = 1,500.998 of 1,501.
    grid = jnp.arange(1501.0)[None, :, None, None] + jnp.zeros((1, 1501, 2, 1))
    source = noise.NoiseSource(noise.stage_keys(key, 1), (grid,))
    far = window(3, 2, 1, top=1_999_000, whole=(2_000_000, 2))
    (part,) = source.draw([far])
    np.testing.assert_array_equal(part[0, :, 0, 0], [1500, 1500, 1500])
    smooth = dataclasses.replace(source, image_at_0=True)
    # Pixel 1,333,333 lies at 1,333,333 * 1,500 / 1,999,999 = 1,000.0003 of it, where 1000 stands.
    (part,) = smooth.draw([window(1, 2, 1, top=1_333_333, whole=(2_000_000, 2))])
    np.testing.assert_allclose(part, 1000, atol=2e-3)


def test_inputs(key):
    real = jnp.full((1, 200, 200, 3), 0.5)
    assert noise.INPUTS["real"](key, real) is real
    gaussian, noisy = (noise.INPUTS[name](key, real) for name in ("gaussian", "noisy_real"))
    assert abs(float(gaussian.mean())) < 0.02 and abs(float(gaussian.std()) - 1) < 0.02
    assert abs(float(noisy.mean()) - 0.5) < 0.002 and abs(float(noisy.std()) - 0.1) < 0.002


def test_the_table_of_tasks():
    assert {name for name, task in tasks.TASKS.items() if task.border_growing} == {
        "generation",
        "animation",
    }
    assert tasks.names(takes_composite=True) == "harmonization and editing"
    assert tasks.names(can_animate=True) == "generation and animation"
    kinds = {task.fixed_input for task in tasks.TASKS.values()}
    assert kinds <= set(noise.INPUTS)
    real = jax.random.uniform(jax.random.key(1), (1, 12, 15, 3))
    fixed = noise.INPUTS[tasks.TASKS["generation"].fixed_input](jax.random.key(0), real)
    np.testing.assert_array_equal(fixed, real)
