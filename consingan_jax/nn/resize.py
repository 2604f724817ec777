"""The two resamplers: `resize` makes pyramid levels, `upsample` lifts features between stages.

Both are separable, so each is a pair of small matrices, one for the rows and one for the columns.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

Size = tuple[int, int]
"""Height and width, in pixels; of every picture and level in this package."""


def cubic_kernel(x: np.ndarray, a: float) -> np.ndarray:
    """Returns Keys' cubic convolution kernel of sharpness `a` at distances `x` (in pixels)."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@functools.lru_cache(maxsize=256)
def resize_matrix(length: int, scale: float, new_length: int) -> np.ndarray:
    """Returns the `[new_length, length]` float64 weights of `resize` along one axis."""
    shrink = min(scale, 1.0)
    taps = int(np.ceil(4 / shrink)) + 2
    centre = (np.arange(new_length) + 0.5) / scale - 0.5
    index = np.floor(centre - 2 / shrink).astype(int)[:, None] + np.arange(taps)
    weight = cubic_kernel((centre[:, None] - index) * shrink, a=-0.5)
    weight /= weight.sum(axis=1, keepdims=True)
    index = index % (2 * length)  # half-sample symmetry has period 2 * length
    index = np.minimum(index, 2 * length - 1 - index)
    matrix = np.zeros((new_length, length))
    np.add.at(matrix, (np.arange(new_length)[:, None], index), weight)
    return matrix


def resize(image: np.ndarray, scale: float, size: Size) -> np.ndarray:
    """Resamples an image with an antialiased cubic (a = -0.5) and mirrored borders.

    Output pixel j sits at input coordinate `(j + 0.5) / scale - 0.5`: the exact scale decides,
    not the ratio of the rounded sizes.

    Args:
        image: `[H, W, C]`, values in [-1, 1].
        scale: output pixels per input pixel, the same along both axes.
        size: height and width of the result.

    Returns:
        `[*size, C]`, float32, clipped to [-1, 1].
    """
    rows = resize_matrix(image.shape[0], scale, size[0])
    columns = resize_matrix(image.shape[1], scale, size[1])
    return _apply(rows, columns, image)


def fit(image: np.ndarray, size: Size) -> np.ndarray:
    """Resamples an image as `resize` does, to exactly `size`, each axis by its own factor.

    Args:
        image: `[H, W, C]`, values in [-1, 1].
        size: height and width of the result.

    Returns:
        `[*size, C]`, float32, clipped to [-1, 1].
    """
    rows, columns = (
        resize_matrix(length, new / length, new)
        for length, new in zip(image.shape[:2], size, strict=True)
    )
    return _apply(rows, columns, image)


def _apply(rows: np.ndarray, columns: np.ndarray, image: np.ndarray) -> np.ndarray:
    result = np.einsum("oh,hwc,pw->opc", rows, image.astype(np.float64), columns, optimize=True)
    return np.clip(result, -1, 1).astype(np.float32)


@functools.lru_cache(maxsize=256)
def upsample_matrix(length: int, new_length: int) -> np.ndarray:
    """Returns the `[new_length, length]` float32 weights of `upsample` along one axis."""
    step = (length - 1) / (new_length - 1) if new_length > 1 else 0.0
    position = np.arange(new_length) * step
    index = np.floor(position).astype(int)[:, None] + np.arange(-1, 3)
    weight = cubic_kernel(position[:, None] - index, a=-0.75)
    matrix = np.zeros((new_length, length))
    np.add.at(matrix, (np.arange(new_length)[:, None], index.clip(0, length - 1)), weight)
    return matrix.astype(np.float32)


def upsample(x: jax.Array, size: Size) -> jax.Array:
    """Resamples features bicubically (a = -0.75), corners on corners, border pixels repeated.

    Args:
        x: `[N, H, W, C]`.
        size: height and width of the result.

    Returns:
        `[N, *size, C]`.
    """
    rows, columns = (
        jnp.asarray(upsample_matrix(length, new))
        for length, new in zip(x.shape[1:3], size, strict=True)
    )
    # In float32: bfloat16 would round the weights, and constant features would not stay constant.
    wide = x.astype(jnp.float32)
    wide = jnp.einsum("oh,nhwc->nowc", rows, wide, precision=jax.lax.Precision.HIGHEST)
    wide = jnp.einsum("pw,nowc->nopc", columns, wide, precision=jax.lax.Precision.HIGHEST)
    return wide.astype(x.dtype)
