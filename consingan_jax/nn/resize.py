"""Resamples whole images bicubically.

Resampling is separable: one matrix for the rows and one for the columns. The generator upsamples
features in `intervals`.
"""

import functools
from typing import Any

import jax
import numpy as np

Size = tuple[int, int]
"""(height, width) in pixels."""


def cubic_kernel(x: np.ndarray, a: float) -> np.ndarray:
    """Returns Keys' cubic convolution kernel of sharpness `a` at distances `x` (in pixels)."""
    x = np.abs(x)
    return np.where(x <= 1, _near(x, a), np.where(x < 2, _far(x, a), 0.0))


def cubic_weights(fraction: jax.Array, a: float) -> list[jax.Array]:
    """Returns the weights of pixels -1, 0, 1 and 2 for positions in [0, 1]."""
    x = fraction
    return [_far(1 + x, a), _near(x, a), _near(1 - x, a), _far(2 - x, a)]


def _near(x: Any, a: float) -> Any:
    """The kernel at distances of 0 to 1."""
    return (a + 2) * x**3 - (a + 3) * x**2 + 1


def _far(x: Any, a: float) -> Any:
    """The kernel at distances of 1 to 2."""
    return a * (x**3 - 5 * x**2 + 8 * x - 4)


@functools.lru_cache(maxsize=256)
def resize_matrix(
    length: int,
    scale: float,
    new_length: int,
    *,
    kernel_scale: float | None = None,
    mirror_first: bool = True,
) -> np.ndarray:
    """Returns the `[new_length, length]` float64 weights of `resize` along one axis.

    Args:
        length: input pixels.
        scale: output pixels per input pixel.
        new_length: output pixels.
        kernel_scale: the kernel is stretched by its inverse; by default as antialiasing needs it.
        mirror_first: whether the border before the first pixel is mirrored, as that after the last
            is; if not, there are no pixels before the first.
    """
    # Antialiasing: the kernel is as wide as an output pixel.
    shrink = min(scale, 1.0) if kernel_scale is None else kernel_scale
    index, centre = kernel_taps(np.arange(new_length), scale, shrink)
    weight = cubic_kernel((centre[:, None] - index) * shrink, a=-0.5)
    if not mirror_first:
        weight *= index >= 0
    weight /= weight.sum(axis=1, keepdims=True)
    # Mirrored borders repeat the edge pixel (half-sample symmetry), with the period 2 * length.
    index = index % (2 * length)
    index = np.minimum(index, 2 * length - 1 - index)
    matrix = np.zeros((new_length, length))
    np.add.at(matrix, (np.arange(new_length)[:, None], index), weight)
    return matrix


def kernel_taps(rows: np.ndarray, scale: float, shrink: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixels `[n, taps]` under the kernel of output rows, and the rows' positions."""
    centre = (rows + 0.5) / scale - 0.5
    taps = int(np.ceil(4 / shrink)) + 2
    return np.floor(centre - 2 / shrink).astype(int)[:, None] + np.arange(taps), centre


def resize(image: np.ndarray, scale: float, size: Size) -> np.ndarray:
    """Resamples an image with an antialiased cubic (a = -0.5) and mirrored borders.

    Output pixel j lies at input coordinate `(j + 0.5) / scale - 0.5`, with the exact scale instead
    of the ratio of the rounded sizes.

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
    """Resamples an image like `resize`, but each axis by the exact ratio of its lengths."""
    rows, columns = (
        resize_matrix(length, new / length, new)
        for length, new in zip(image.shape[:2], size, strict=True)
    )
    return _apply(rows, columns, image)


def resample(rows: np.ndarray, columns: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Returns an image `[H, W, C]` times a matrix along each axis, float64 and not clipped."""
    image = image.astype(np.float64)
    made: np.ndarray = np.einsum("oh,hwc,pw->opc", rows, image, columns, optimize=True)
    return made


def _apply(rows: np.ndarray, columns: np.ndarray, image: np.ndarray) -> np.ndarray:
    return np.clip(resample(rows, columns, image), -1, 1).astype(np.float32)
