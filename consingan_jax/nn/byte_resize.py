"""Resampling through 8 bits, as SinGAN does wherever an image changes its size.

An image is cut to bytes, resampled without rounding, and converted back. The functions of a pixel
take arrays of numpy and of JAX; they compute in single precision, which decides the levels.
"""

import math
from typing import Any

import numpy as np

from consingan_jax.nn.resize import Size, resample, resize_matrix


def to_bytes(x: Any) -> Any:
    """Returns the levels 0 .. 255 of values in [-1, 1], uint8, cut rather than rounded."""
    return (((x.astype(np.float32) + 1) / 2).clip(0, 1) * 255).astype(np.uint8)


def from_bytes(levels: Any) -> Any:
    """Returns the values, float32 in [-1, 1], of levels that need not be whole numbers."""
    return (((levels / 255).astype(np.float32) - 0.5) * 2).clip(-1, 1)


def scaled_size(size: Size, scale: float) -> Size:
    """Returns the (height, width) of an image that is resampled by a factor."""
    return math.ceil(scale * size[0]), math.ceil(scale * size[1])


def resize(image: np.ndarray, scale: float, *, through_bytes: bool = True) -> np.ndarray:
    """Resamples `[H, W, C]` in [-1, 1] by one factor, to a size that is rounded up.

    A factor of 1 only passes it through bytes, which makes most dark levels darker by one.
    """
    if scale == 1:
        return from_bytes(to_bytes(image).astype(float)) if through_bytes else image.clip(-1, 1)
    size = scaled_size((image.shape[0], image.shape[1]), scale)
    rows, columns = (
        resize_matrix(length, scale, new, mirror_first=False)
        for length, new in zip(image.shape[:2], size, strict=True)
    )
    return _apply(rows, columns, image, through_bytes)


def resize_to(image: np.ndarray, size: Size, *, through_bytes: bool = True) -> np.ndarray:
    """Resamples `[H, W, C]` in [-1, 1] to a size, each axis by its own factor."""
    factors = [new / length for length, new in zip(image.shape[:2], size, strict=True)]
    # The published program decides by the height whether the kernels of both axes are stretched.
    rows, columns = (
        resize_matrix(
            *(length, factor, new),
            kernel_scale=factor if factors[0] < 1 else 1.0,
            mirror_first=False,
        )
        for length, factor, new in zip(image.shape[:2], factors, size, strict=True)
    )
    return _apply(rows, columns, image, through_bytes)


def _apply(
    rows: np.ndarray, columns: np.ndarray, image: np.ndarray, through_bytes: bool
) -> np.ndarray:
    made = resample(rows, columns, to_bytes(image) if through_bytes else image)
    return from_bytes(made) if through_bytes else made.clip(-1, 1).astype(np.float32)
