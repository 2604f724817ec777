"""Metrics of structure: whether patches and features of one image exist in another.

Each patch or feature of one image is compared with its nearest neighbour in the other. From the
sample to the training image that is coherence, which shows smeared or invented details; from the
training image to the sample it is completeness, which shows missing ones (Simakov et al., 2008).
A copy is perfect in both: read them beside `patches.copy_rate` and the diversity.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics
from consingan_jax.measures import patches

QUERIES = 512  # patches or features drawn from an image; their nearest neighbours are exact
BATCH = 256  # queries whose distances to all candidates are in memory at a time
FLAT = 0.02  # standard deviation below which a patch shows nothing but noise


class Nearest(NamedTuple):
    """Mean distance to the nearest neighbour, from the sample and from the training image."""

    coherence: float
    completeness: float


def of_patches(sample: np.ndarray, real: np.ndarray, side: int) -> Nearest:
    """Compares patches `[side, side, C]` of images `[H, W, C]` by root mean square difference."""
    one, other = _patches(sample, side), _patches(real, side)
    return Nearest(_mean(_rms, one, other), _mean(_rms, other, one))


def of_edges(sample: np.ndarray, real: np.ndarray, side: int) -> Nearest:
    """Compares patches without their mean and contrast by 1 - cosine; flat patches are left out.

    Blur lowers all differences of `of_patches`, but not these: a soft edge has another shape than
    a sharp one.
    """
    (one, is_flat_one), (other, is_flat_other) = (
        _normalised(_patches(image, side)) for image in (sample, real)
    )
    return Nearest(
        _mean(_cosine, one[~is_flat_one], other), _mean(_cosine, other[~is_flat_other], one)
    )


def of_features(sample: jax.Array, real: jax.Array) -> Nearest:
    """Compares features `[N, h, w, K]` of a network by 1 - cosine."""
    one, other = (_unit(np.asarray(x).reshape(-1, x.shape[-1])) for x in (sample, real))
    return Nearest(_mean(_cosine, one, other), _mean(_cosine, other, one))


def _mean(distance: Callable, queries: np.ndarray, candidates: np.ndarray) -> float:
    """Returns the mean distance of a fixed draw of queries `[n, K]` to candidates `[m, K]`."""
    if len(queries) > QUERIES:
        drawn = np.random.default_rng(0).choice(len(queries), QUERIES, replace=False)
        queries = queries[np.sort(drawn)]
    return float(np.mean(distance(queries, candidates))) if len(queries) else float("nan")


@numerics.jit
def _rms(queries: jax.Array, candidates: jax.Array) -> jax.Array:
    lengths = jnp.square(candidates).sum(1)

    def nearest(query: jax.Array) -> jax.Array:
        # |q - c|^2 without |q|^2, which is the same for all c; the distance itself from the
        # difference, since the sum of such large terms is not exact near 0.
        products = jnp.dot(candidates, query, precision=jax.lax.Precision.HIGHEST)
        difference = query - candidates[jnp.argmin(lengths - 2 * products)]
        return jnp.sqrt(jnp.square(difference).mean())

    return jax.lax.map(nearest, queries, batch_size=BATCH)


@numerics.jit
def _cosine(queries: jax.Array, candidates: jax.Array) -> jax.Array:
    def nearest(query: jax.Array) -> jax.Array:
        return 1 - jnp.dot(candidates, query, precision=jax.lax.Precision.HIGHEST).max()

    return jax.lax.map(nearest, queries, batch_size=BATCH)


def _patches(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(patches.patches(jnp.asarray(image), 1, side))


def _normalised(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns patches of mean 0 and length 1, and which ones are flat, whose vectors are 0."""
    # Flat candidates stay, as zeros that are never the nearest: shapes that depended on an image's
    # content would compile the program again for each.
    centred = vectors - vectors.mean(1, keepdims=True)
    is_flat = centred.std(1) < FLAT
    return np.where(is_flat[:, None], 0, _unit(centred)), is_flat


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-10)
