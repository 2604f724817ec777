"""Metrics of 7x7 patches, without a network (docs/metrics.md).

Images are `[H, W, C]` in [-1, 1].
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics
from consingan_jax.nn import resize

PATCH = 7  # pixels, side of the patches
PROJECTIONS = 128  # directions of the sliced distance
PLACE_SIDE = 128  # pixels, longest side of the image in which patches are looked up
PLACE_STEP = 2  # pixels between the patches that are looked up
SAME_PLACE = 0.03  # of the side: so far apart two places still count as the same
TILES = 8  # rows and columns of the tiles of shuffled content in a large image


def sliced_wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the sliced Wasserstein-1 distance between the 7x7 patches, or colours, of two images.

    That is the mean, over random directions, of the distance between the sorted projections of
    all of them: 0 where the images hold the same in the same numbers, wherever they are.

    Args:
        a: the first image, as `projections` or `colour.projections` returns it.
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


@numerics.jit
def _projections(image):
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


@numerics.jit
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
