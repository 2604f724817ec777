"""Metrics as functions of images `[H, W, C]` in [-1, 1] (definitions: docs/metrics.md)."""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics


class Estimate(NamedTuple):
    """A mean, its standard error (None if unknown), and the number of values."""

    value: float
    error: float | None
    num: int


class Moments(NamedTuple):
    """Mean `[K]` and covariance `[K, K]` of features."""

    mean: jax.Array
    covariance: jax.Array


def mean(values: Sequence[float]) -> Estimate:
    """Returns the mean of independent values, with its standard error if all are finite."""
    known = len(values) > 1 and np.isfinite(values).all()
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if known else None
    return Estimate(float(np.mean(values)), error, len(values))


def jackknife(value: float, without: np.ndarray) -> Estimate:
    """Returns a statistic with its error, from its values `[n]` without each of n samples."""
    n = len(without)
    variance = np.square(without - without.mean()).sum() * (n - 1) / n
    return Estimate(float(value), float(np.sqrt(variance)) if n > 2 else None, n)


def moments(features: jax.Array) -> Moments:
    """Returns the mean and covariance (n - 1) of features `[..., K]`, in float64."""
    with jax.enable_x64(True):
        return _moments(jnp.asarray(features, jnp.float64))


def frechet_distance(a: Moments, b: Moments) -> float:
    """Returns the Frechet distance `|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))`.

    Over the features at all pixels of one image it is SinGAN's single-image Frechet distance.
    """
    with jax.enable_x64(True):
        return float(_frechet(a, b))


@numerics.jit
def _frechet(a: Moments, b: Moments) -> jax.Array:
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    # tr (S S')^(1/2) by symmetric matrices only: S S' and S^(1/2) S' S^(1/2) have the same
    # eigenvalues. Rounding can make those of singular covariances negative, hence the clips.
    values, vectors = jnp.linalg.eigh(cov_a)
    root = (vectors * jnp.sqrt(values.clip(0))[None]) @ vectors.T
    both = jnp.sqrt(jnp.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    distance = jnp.square(mean_a - mean_b).sum() + jnp.trace(cov_a) + jnp.trace(cov_b) - 2 * both
    return distance.clip(0)


@numerics.jit
def _moments(x: jax.Array) -> Moments:
    x = x.reshape(-1, x.shape[-1])
    mean = x.mean(0)
    centred = x - mean[None]
    return Moments(mean, centred.T @ centred / (len(x) - 1))


def lpips_diversity(features: Sequence[Sequence[jax.Array]]) -> Estimate:
    """Returns the mean LPIPS over all pairs of samples, given their `features.lpips_features`."""
    n = len(features)
    distances = np.zeros((n, n))
    for i, j in itertools.combinations(range(n), 2):
        distances[i, j] = distances[j, i] = lpips(features[i], features[j])
    total = distances.sum()
    without = (total - 2 * distances.sum(0)) / max((n - 1) * (n - 2), 1)
    return jackknife(total / (n * (n - 1)), without)


@numerics.jit
def lpips(a: Sequence[jax.Array], b: Sequence[jax.Array]) -> jax.Array:
    """Returns LPIPS between two images, given their `features.lpips_features`."""
    layers = (jnp.square(x - y).sum(-1).mean() for x, y in zip(a, b, strict=True))
    return functools.reduce(jnp.add, layers)


def pixel_diversity(samples: jax.Array, real: jax.Array) -> tuple[Estimate, Estimate]:
    """Returns the variation of a pixel's intensity (mean over channels) over the samples.

    Args:
        samples: `[N, H, W, C]`, two or more.
        real: `[h, w, C]`, the training image.

    Returns:
        The mean over pixels of the standard deviation, and the root of the mean variance (both with
        n - 1), divided by the standard deviation of the image's intensities.
    """
    values, without = (np.asarray(x, np.float64) for x in _pixel_diversity(samples, real))
    return jackknife(values[0], without[:, 0]), jackknife(values[1], without[:, 1])


@numerics.jit
def _pixel_diversity(samples: jax.Array, real: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns both statistics `[2]`, and both without each sample, `[N, 2]`."""
    n, spread = len(samples), real.mean(-1).std(ddof=1)
    changes = samples.mean(-1) - samples.mean(-1)[:1]  # exactly 0 for equal samples
    squares = jnp.square(changes - changes.mean(0, keepdims=True))

    def both(variance: jax.Array) -> jax.Array:
        return jnp.stack([jnp.sqrt(variance).mean(), jnp.sqrt(variance.mean())]) / spread

    # Leaving out a sample at distance d from the mean removes d^2 n / (n - 1) from the sum.
    total = squares.sum(0)
    without = [(total - one * n / (n - 1)).clip(0) / max(n - 2, 1) for one in squares]
    return both(total / (n - 1)), jnp.stack([both(variance) for variance in without])


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the root mean square difference of two images of equal size."""
    return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64) - b))))


def psnr(error: float) -> float:
    """Converts an `rmse` to the peak signal-to-noise ratio in dB."""
    return float(20 * np.log10(2 / error)) if error else float("inf")
