"""The generator's inputs: their shapes, random draws z, and the fixed z* of the reconstruction."""

from collections.abc import Callable, Sequence

import jax

from consingan_jax.data import augment
from consingan_jax.nn.generator import Size
from consingan_jax.nn.layers import Architecture


def shapes(arch: Architecture, sizes: Sequence[Size]) -> list[tuple[int, int, int]]:
    """Returns the shape (height, width, channels) of z_i for every stage."""
    border = 2 * arch.num_layers if arch.border_growing else 0
    coarsest = (*sizes[0], arch.channels)
    return [coarsest, *((h + border, w + border, arch.num_filters) for h, w in sizes[1:])]


def draw(key: jax.Array, arch: Architecture, sizes: Sequence[Size]) -> list[jax.Array]:
    """Returns standard normal z_0 .. z_d, each `[1, *shape]`."""
    all_shapes = shapes(arch, sizes)
    keys = jax.random.split(key, len(all_shapes))
    return [jax.random.normal(k, (1, *s)) for k, s in zip(keys, all_shapes, strict=True)]


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
