"""How good and how different samples are: pure functions of images (definitions: docs/metrics.md).

Images are `[H, W, C]` in [-1, 1]. Several of one size are `[N, H, W, C]`.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import resize

PATCH = 7  # pixels, side of the patches
PROJECTIONS = 128  # directions of the sliced distance
PLACE_SIDE = 128  # pixels, longest side of the image in which patches are looked up
PLACE_STEP = 2  # pixels between the patches that are looked up
SAME_PLACE = 0.03  # of the side: so far apart two places still count as the same
TILES = 8  # rows and columns of the tiles of shuffled content in a large image


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
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
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


@jax.jit
def _frechet(a, b):
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    values, vectors = jnp.linalg.eigh(cov_a)
    root = (vectors * jnp.sqrt(values.clip(0))[None]) @ vectors.T
    both = jnp.sqrt(jnp.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    distance = jnp.square(mean_a - mean_b).sum() + jnp.trace(cov_a) + jnp.trace(cov_b) - 2 * both
    return distance.clip(0)


@jax.jit
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


@jax.jit
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


@jax.jit
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


def sliced_wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the sliced Wasserstein-1 distance between the 7x7 patches of two images.

    That is the mean, over random directions, of the distance between the sorted projections of
    all patches: 0 where the images hold the same patches in the same numbers, wherever they are.

    Args:
        a: the first image, as `projections` returns it.
        b: the second.
    """
    if a.shape != b.shape:  # compare the same quantiles
        num = max(a.shape[1], b.shape[1])
        shares = (np.arange(num) + 0.5) / num
        a, b = (x[:, (shares * x.shape[1]).astype(int)] for x in (a, b))
    return float(np.abs(a - b).mean())


def projections(image: jax.Array) -> np.ndarray:
    """Returns the patches of an image projected on fixed directions, `[directions, patches]`.

    Those of each direction are sorted: by numpy, since XLA takes 60 times as long on a CPU.
    """
    return np.sort(np.asarray(_projections(image)), axis=1)


@jax.jit
def _projections(image):
    size = PATCH * PATCH * image.shape[-1]
    directions = jax.random.normal(jax.random.key(0), (size, PROJECTIONS))
    directions /= jnp.linalg.norm(directions, axis=0, keepdims=True)
    projected = jax.lax.conv_general_dilated(
        image[None],
        directions.reshape(PATCH, PATCH, image.shape[-1], PROJECTIONS),
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    return projected.reshape(-1, PROJECTIONS).T


def same_place_share(sample: np.ndarray, real: np.ndarray) -> float:
    """Returns the share of a sample's 7x7 patches that stand where the image has them.

    For every second patch of the sample its nearest neighbour among all patches of the image is
    looked up, both shrunk alike so that the image is at most 128 px long; it counts if the two
    relative places differ by at most 3 % of each side. A copy of the image has a share near 1.

    Args:
        sample: `[H, W, C]`.
        real: `[h, w, C]`.
    """
    scale = PLACE_SIDE / max(real.shape[:2])
    small = (jnp.asarray(_shrunk(image, scale)) for image in (sample, real))
    return float(_same_place_share(*small))


@jax.jit
def _same_place_share(sample, real):
    wanted, known = patches(sample, PLACE_STEP), patches(real, 1)
    lengths = jnp.square(known).sum(1)
    # |q - k|^2 without |q|^2, which does not matter to the nearest.
    nearest = jax.lax.map(
        lambda q: jnp.argmin(lengths - 2 * jnp.dot(known, q, precision=jax.lax.Precision.HIGHEST)),
        wanted,
        batch_size=256,
    )
    far = jnp.abs(places(sample.shape, PLACE_STEP) - jnp.asarray(places(real.shape, 1))[nearest])
    return (far <= SAME_PLACE).all(1).mean()


def patches(image: jax.Array, step: int) -> jax.Array:
    """Returns the patches `[n, 49 C]` of an image, one every `step` pixels."""
    rows, columns = _corners(image.shape, step)
    offsets = np.arange(PATCH)
    rows = (rows[:, None] + offsets)[:, None, :, None]
    columns = (columns[:, None] + offsets)[None, :, None, :]
    return image[rows, columns].reshape(-1, PATCH * PATCH * image.shape[-1])


def places(shape: Sequence[int], step: int) -> np.ndarray:
    """Returns the relative places `[n, 2]`, from 0 to 1, of the patches that `patches` returns."""
    rows, columns = _corners(shape, step)
    ends = max(shape[0] - PATCH, 1), max(shape[1] - PATCH, 1)
    grid = np.meshgrid(rows / ends[0], columns / ends[1], indexing="ij")
    return np.stack(grid, -1).reshape(-1, 2).astype(np.float32)


def _corners(shape, step):
    return np.arange(0, shape[0] - PATCH + 1, step), np.arange(0, shape[1] - PATCH + 1, step)


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = image.shape[:2]
    if scale >= 1:
        return np.asarray(image, np.float32)
    return resize.fit(image, (max(round(height * scale), PATCH), max(round(width * scale), PATCH)))


def shuffled(image: np.ndarray) -> np.ndarray:
    """Returns an image cut into tiles, in another order: its content, nothing in its place.

    There are 8x8 tiles, fewer if they would be smaller than a patch.
    """
    rows, columns = (min(TILES, max(length // PATCH, 1)) for length in image.shape[:2])
    height, width = image.shape[0] // rows, image.shape[1] // columns
    tiles = image[: rows * height, : columns * width].reshape(rows, height, columns, width, -1)
    tiles = tiles.swapaxes(1, 2).reshape(rows * columns, height, width, -1)
    tiles = tiles[np.random.default_rng(0).permutation(len(tiles))]
    tiles = tiles.reshape(rows, columns, height, width, -1).swapaxes(1, 2)
    return tiles.reshape(rows * height, columns * width, -1)


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the root mean square difference of two images of one size, on [-1, 1]."""
    return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64) - b))))


def psnr(error: float) -> float:
    """Returns the peak signal-to-noise ratio in dB that belongs to an `rmse`."""
    return float(20 * np.log10(2 / error)) if error else float("inf")
