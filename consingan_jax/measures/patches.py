"""Metrics of 7x7 patches in images `[H, W, C]` in [-1, 1] (definitions: docs/metrics.md)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics
from consingan_jax.nn import resize

PATCH = 7  # side of a patch, pixels
PROJECTIONS = 128  # directions of the sliced distance
PLACE_SIDE = 128  # longest side of the image for `copy_rate`, pixels
PLACE_STEP = 2  # distance of the sample's patches for `copy_rate`, pixels
SAME_PLACE = 0.03  # largest distance of two places that count as the same, part of the side
TILES = 8  # most rows and columns of tiles in `shuffled`


def sliced_wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the sliced Wasserstein-1 distance between the patches or the colours of two images.

    It is the mean distance between their sorted `projections` or `colour.projections`, and 0 if
    each patch or colour is as frequent in both images.
    """
    if a.shape != b.shape:  # different numbers of patches: compare the same quantiles
        num = max(a.shape[1], b.shape[1])
        shares = (np.arange(num) + 0.5) / num
        a, b = (x[:, (shares * x.shape[1]).astype(int)] for x in (a, b))
    return float(np.abs(a - b).mean())


def projections(image: jax.Array) -> np.ndarray:
    """Projects the patches on fixed directions, `[directions, patches]`, sorted along each."""
    # Sorted by numpy, because XLA takes 60 times as long on a CPU.
    return np.sort(np.asarray(_projections(image)), axis=1)


@numerics.jit
def _projections(image: jax.Array) -> jax.Array:
    size = PATCH * PATCH * image.shape[-1]
    directions = jax.random.normal(numerics.key(0), (size, PROJECTIONS))
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


def copy_rate(sample: np.ndarray, real: np.ndarray) -> float:
    """Returns the share of patches of `[H, W, C]` that are copied from their place in `[h, w, C]`.

    Both are first shrunk by one factor, so that the image is at most 128 px long. Every second
    patch of the sample counts if its nearest neighbour among all patches of the image lies at the
    same relative place, up to 3 % of each side. A copy of the image has a share near 1.
    """
    scale = PLACE_SIDE / max(real.shape[:2])
    small = (jnp.asarray(_shrunk(image, scale)) for image in (sample, real))
    return float(_same_place_share(*small))


@numerics.jit
def _same_place_share(sample: jax.Array, real: jax.Array) -> jax.Array:
    wanted, known = patches(sample, PLACE_STEP), patches(real, 1)
    lengths = jnp.square(known).sum(1)
    # |q - k|^2 without |q|^2, which is the same for all k.
    nearest = jax.lax.map(
        lambda q: jnp.argmin(lengths - 2 * jnp.dot(known, q, precision=jax.lax.Precision.HIGHEST)),
        wanted,
        batch_size=256,
    )
    far = jnp.abs(places(sample.shape, PLACE_STEP) - jnp.asarray(places(real.shape, 1))[nearest])
    return (far <= SAME_PLACE).all(1).mean()


def patches(image: jax.Array, step: int, side: int = PATCH) -> jax.Array:
    """Returns the patches `[n, side * side * C]` of an image at every `step` pixels."""
    rows, columns = _corners(image.shape, step, side)
    offsets = np.arange(side)
    rows = (rows[:, None] + offsets)[:, None, :, None]
    columns = (columns[:, None] + offsets)[None, :, None, :]
    return image[rows, columns].reshape(-1, side * side * image.shape[-1])


def places(shape: Sequence[int], step: int) -> np.ndarray:
    """Returns the relative places `[n, 2]` in [0, 1] of the patches that `patches` returns."""
    rows, columns = _corners(shape, step, PATCH)
    ends = max(shape[0] - PATCH, 1), max(shape[1] - PATCH, 1)
    grid = np.meshgrid(rows / ends[0], columns / ends[1], indexing="ij")
    return np.stack(grid, -1).reshape(-1, 2).astype(np.float32)


def _corners(shape: Sequence[int], step: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(0, shape[0] - side + 1, step), np.arange(0, shape[1] - side + 1, step)


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = image.shape[:2]
    if scale >= 1:
        return np.asarray(image, np.float32)
    return resize.fit(image, (max(round(height * scale), PATCH), max(round(width * scale), PATCH)))


def shuffled(image: np.ndarray) -> np.ndarray:
    """Permutes the tiles of an image: the same content, but at other places.

    There are 8x8 tiles, or fewer if they would be smaller than a patch.
    """
    rows, columns = (min(TILES, max(length // PATCH, 1)) for length in image.shape[:2])
    height, width = image.shape[0] // rows, image.shape[1] // columns
    tiles = image[: rows * height, : columns * width].reshape(rows, height, columns, width, -1)
    tiles = tiles.swapaxes(1, 2).reshape(rows * columns, height, width, -1)
    tiles = tiles[np.random.default_rng(0).permutation(len(tiles))]
    tiles = tiles.reshape(rows, columns, height, width, -1).swapaxes(1, 2)
    return tiles.reshape(rows * height, columns * width, -1)
