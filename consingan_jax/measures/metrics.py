"""Metrics as pure functions of images (definitions: docs/metrics.md).

Images are `[H, W, C]` in [-1, 1]. Several of one size are `[N, H, W, C]`.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics


class Estimate(NamedTuple):
    """A mean with its standard error (None if unknown) and the number of things averaged."""

    value: float
    error: float | None
    num: int


class Moments(NamedTuple):
    """Mean `[K]` and covariance `[K, K]` of features."""

    mean: jax.Array
    covariance: jax.Array


def mean(values: Sequence[float]) -> Estimate:
    """Returns the mean of independent values."""
    known = len(values) > 1 and np.isfinite(values).all()
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if known else None
    return Estimate(float(np.mean(values)), None if error is None else float(error), len(values))


def jackknife(value: float, without: np.ndarray) -> Estimate:
    """Returns a statistic of all samples, its error from the statistic without each of them."""
    n = len(without)
    if n < 3:
        return Estimate(float(value), None, n)
    spread = np.square(without - without.mean()).sum() * (n - 1) / n
    return Estimate(float(value), float(np.sqrt(spread)), n)


def moments(features: jax.Array) -> Moments:
    """Returns mean and covariance (n - 1) of features `[..., K]`, in float64."""
    with jax.enable_x64(True):
        return _moments(jnp.asarray(features, jnp.float64))


def frechet_distance(a: Moments, b: Moments) -> float:
    """Returns the Frechet distance `|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))`.

    With the features of one image at all its pixels this is SinGAN's single-image Frechet distance.
    """
    with jax.enable_x64(True):
        return float(_frechet(a, b))


@numerics.jit
def _frechet(a, b):
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    values, vectors = jnp.linalg.eigh(cov_a)
    root = (vectors * jnp.sqrt(values.clip(0))[None]) @ vectors.T
    both = jnp.sqrt(jnp.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    distance = jnp.square(mean_a - mean_b).sum() + jnp.trace(cov_a) + jnp.trace(cov_b) - 2 * both
    return distance.clip(0)


@numerics.jit
def _moments(x):
    x = x.reshape(-1, x.shape[-1])
    mean = x.mean(0)
    centred = x - mean[None]
    return Moments(mean, centred.T @ centred / (len(x) - 1))


def lpips_diversity(features: Sequence[Sequence[jax.Array]]) -> Estimate:
    """Returns the mean LPIPS over all pairs of samples.

    Args:
        features: of every sample, as `features.lpips_features` gives them.
    """
    n = len(features)
    distances = np.zeros((n, n))
    for i, j in itertools.combinations(range(n), 2):
        distances[i, j] = distances[j, i] = lpips(features[i], features[j])
    total = distances.sum()
    if n < 3:
        return Estimate(float(total / (n * (n - 1))), None, n)
    without = (total - 2 * distances.sum(0)) / ((n - 1) * (n - 2))
    return jackknife(total / (n * (n - 1)), without)


@numerics.jit
def lpips(a: Sequence[jax.Array], b: Sequence[jax.Array]) -> jax.Array:
    """Returns LPIPS of two images, given their features."""
    layers = (jnp.square(x - y).sum(-1).mean() for x, y in zip(a, b, strict=True))
    return functools.reduce(jnp.add, layers)


def pixel_diversity(samples: jax.Array, real: jax.Array) -> tuple[Estimate, Estimate]:
    """Returns how much a pixel varies over the samples, against the image's own spread.

    Of intensities; all deviations with n - 1.

    Args:
        samples: `[N, H, W, C]`, two or more.
        real: `[h, w, C]`, the training image.

    Returns:
        The mean over pixels of the standard deviation, and the root of the mean variance; each
        divided by the standard deviation of the image.
    """
    values, without = (np.asarray(x, np.float64) for x in _pixel_diversity(samples, real))
    return jackknife(values[0], without[:, 0]), jackknife(values[1], without[:, 1])


@numerics.jit
def _pixel_diversity(samples, real):
    n, spread = len(samples), intensity(real).std(ddof=1)
    changes = intensity(samples) - intensity(samples)[:1]  # exactly 0 for equal samples
    squares = jnp.square(changes - changes.mean(0, keepdims=True))

    def both(variance):
        return jnp.stack([jnp.sqrt(variance).mean(), jnp.sqrt(variance.mean())]) / spread

    total = squares.sum(0)
    without = [(total - one * n / (n - 1)).clip(0) / max(n - 2, 1) for one in squares]
    return both(total / (n - 1)), jnp.stack([both(variance) for variance in without])


def intensity(images: jax.Array) -> jax.Array:
    """Returns the mean `[...]` over the channels of images `[..., C]`."""
    return images.mean(-1)


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the root mean square difference of two images of one size, on [-1, 1]."""
    return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64) - b))))


def psnr(error: float) -> float:
    """Returns the peak signal-to-noise ratio in dB that belongs to an `rmse`."""
    return float(20 * np.log10(2 / error)) if error else float("inf")
