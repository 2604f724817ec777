import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import tasks
from consingan_jax.data import noise


def test_draws_are_standard_normal_and_independent(key):
    z = noise.draw(key, [(60, 60, 3), (86, 86, 64)])
    for one in z:
        assert abs(float(one.mean())) < 0.02 and abs(float(one.std()) - 1) < 0.02
    overlap = np.corrcoef(np.ravel(z[0]), np.ravel(z[1])[: z[0].size])[0, 1]
    assert abs(overlap) < 0.05


def test_inputs(key):
    real = jnp.full((1, 200, 200, 3), 0.5)
    assert noise.INPUTS["real"](key, real) is real
    gaussian = noise.INPUTS["gaussian"](key, real)
    np.testing.assert_allclose(noise.INPUTS["noisy_real"](key, real), real + 0.1 * gaussian)
    assert abs(float(gaussian.mean())) < 0.02


def test_the_table_of_tasks():
    assert {name for name, task in tasks.TASKS.items() if task.border_growing} == {
        "generation",
        "animation",
    }
    assert tasks.names(takes_composite=True) == "harmonization and editing"
    assert tasks.names(walks=True) == "generation and animation"
    kinds = {task.fixed_input for task in tasks.TASKS.values()}
    assert kinds <= set(noise.INPUTS)
    real = jax.random.uniform(jax.random.key(1), (1, 12, 15, 3))
    fixed = noise.INPUTS[tasks.TASKS["generation"].fixed_input](jax.random.key(0), real)
    np.testing.assert_array_equal(fixed, real)
