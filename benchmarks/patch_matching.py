"""Sliced-Wasserstein patch matching: new images from one image without training a network.

Written from Elnekave and Weiss, "Generating Natural Images with Direct Patch Distributions
Matching" (ECCV 2022, arXiv 2203.11862), to compare with. From the coarsest level up, gradient
descent on the pixels moves the distribution of all 7x7 patches towards that of the training image:
a step projects both sets of patches onto random directions, sorts the projections, and lowers the
mean absolute difference.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from consingan_jax.nn import resize
from consingan_jax.nn.resize import Size

PATCH = 7  # pixels a side
FACTOR = 0.85  # between two levels
COARSEST = 21  # pixels of the shorter side at the coarsest level
PROJECTIONS = 64  # of a step
STEPS = 300  # of a level
RATE = 0.05  # of Adam
NOISE = 0.75  # standard deviation of the noise added at the coarsest level


def sample(image: np.ndarray, seed: int) -> np.ndarray:
    """Returns a new image of the size of `image`, both `[H, W, C]` in [-1, 1]."""
    sizes, made = levels(image.shape[:2]), None
    start, *steps = jax.random.split(jax.random.key(seed), len(sizes) + 1)
    for size, key in zip(sizes, steps, strict=True):
        level = resize.fit(image, size)
        if made is None:
            made = level + NOISE * np.asarray(jax.random.normal(start, level.shape))
        else:
            made = resize.fit(made, size)
        made = matched(made.clip(-1, 1), level, key)
    return made


def levels(size: Size) -> list[Size]:
    """Returns the sizes of all levels, the coarsest first."""
    number = int(np.log(max(min(size) / COARSEST, 1)) / np.log(1 / FACTOR))
    scales = [FACTOR**k for k in range(number, -1, -1)]
    return [(round(size[0] * scale), round(size[1] * scale)) for scale in scales]


def matched(made: np.ndarray, level: np.ndarray, key: jax.Array) -> np.ndarray:
    """Returns the image `made` with its patches moved to those of `level`, both `[h, w, C]`."""
    x, level = jnp.asarray(made, jnp.float32)[None], jnp.asarray(level, jnp.float32)[None]
    state = optax.adam(RATE).init(x)
    for each in jax.random.split(key, STEPS):
        of_made, of_level = _both(x, level, each)
        # NumPy sorts six times as fast as XLA does on a CPU.
        order = np.argsort(of_made, axis=1)
        wanted = np.empty_like(of_made)
        np.put_along_axis(wanted, order, np.sort(of_level, axis=1), axis=1)
        x, state = _step(x, state, wanted, each)
    return np.asarray(x[0]).clip(-1, 1)


def _projected(image: jax.Array, key: jax.Array) -> jax.Array:
    """Returns projections of every patch of `[1, h, w, C]` onto unit vectors, `[64, patches]`."""
    kernel = jax.random.normal(key, (PATCH, PATCH, image.shape[-1], PROJECTIONS))
    kernel /= jnp.sqrt(jnp.square(kernel).sum((0, 1, 2), keepdims=True))
    axes = ("NHWC", "HWIO", "NHWC")
    found = lax.conv_general_dilated(image, kernel, (1, 1), "VALID", dimension_numbers=axes)
    return found.reshape(-1, PROJECTIONS).T


@jax.jit
def _both(x: jax.Array, level: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _projected(x, key), _projected(level, key)


@jax.jit
def _step(
    x: jax.Array, state: optax.OptState, wanted: jax.Array, key: jax.Array
) -> tuple[jax.Array, optax.OptState]:
    gradient = jax.grad(lambda x: jnp.abs(_projected(x, key) - wanted).mean())(x)
    updates, state = optax.adam(RATE).update(gradient, state)
    return optax.apply_updates(x, updates), state
