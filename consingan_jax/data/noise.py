"""The generator's inputs: random draws z, and every kind of z_0."""

from collections.abc import Callable, Sequence

import jax

from consingan_jax.data import augment


def draw(key: jax.Array, shapes: Sequence[tuple[int, int, int]]) -> list[jax.Array]:
    """Returns standard normal z_0 .. z_d, each `[1, *shape]`, for the shapes of all stages."""
    keys = jax.random.split(key, len(shapes))
    return [jax.random.normal(k, (1, *s)) for k, s in zip(keys, shapes, strict=True)]


def _gaussian(key: jax.Array, real: jax.Array) -> jax.Array:
    return jax.random.normal(key, real.shape)


def _real(key: jax.Array, real: jax.Array) -> jax.Array:
    del key
    return real


def _noisy_real(key: jax.Array, real: jax.Array) -> jax.Array:
    return real + 0.1 * jax.random.normal(key, real.shape)


def _shuffled(key: jax.Array, real: jax.Array) -> jax.Array:
    shuffle_key, noise_key = jax.random.split(key)
    return _noisy_real(noise_key, augment.shuffle(shuffle_key, real))


INPUTS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "gaussian": _gaussian,
    "real": _real,
    "noisy_real": _noisy_real,
    "augmented": augment.harmonization,
    "shuffled": _shuffled,
}
"""Every kind of z_0: a function of a key and the coarsest real image `[1, h, w, C]`."""
