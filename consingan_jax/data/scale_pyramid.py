"""SinGAN's image pyramid: as many levels as the image's size asks for, by one factor."""

import math
from typing import NamedTuple

import numpy as np

from consingan_jax.nn import byte_resize
from consingan_jax.nn.resize import Size


class ScalePlan(NamedTuple):
    """The levels of an image.

    Attributes:
        sizes: (height, width) of every level, coarse to fine; none if the image is too small.
        factor: the size of a level relative to the one above it.
    """

    sizes: list[Size]
    factor: float


def plan(
    size: Size, *, min_size: int, max_size: int, base: float, truncate: bool = False
) -> ScalePlan:
    """Returns the levels for an image size.

    Args:
        size: (height, width) of the image, in pixels.
        min_size: short side of the coarsest level, in pixels, up to rounding.
        max_size: longest side of the top level; a smaller image keeps its size.
        base: the factor to come close to.
        truncate: whether numbers of levels are truncated instead of rounded up, as for
            super-resolution.
    """
    whole = math.trunc if truncate else math.ceil
    longest = max(size)
    count = whole(math.log(min_size / min(size)) / math.log(base)) + 1
    over = whole(math.log(min(max_size, longest) / longest) / math.log(base))
    last = count - over
    top = byte_resize.scaled_size(size, min(max_size / longest, 1))
    factor = (min_size / min(top)) ** (1 / last) if last else 1.0
    sizes = [byte_resize.scaled_size(top, factor ** (last - i)) for i in range(last + 1)]
    return ScalePlan(sizes, factor)


def top_level(image: np.ndarray, max_size: int) -> np.ndarray:
    """Returns an image `[H, W, C]` at the size of the top level, after one pass through bytes."""
    return byte_resize.resize(image, min(max_size / max(image.shape[:2]), 1))


def build(image: np.ndarray, levels: ScalePlan, *, max_size: int) -> list[np.ndarray]:
    """Returns the levels `[1, h, w, C]` of an image `[H, W, C]`, each resampled from the top."""
    top, last = top_level(image, max_size), len(levels.sizes) - 1
    return [byte_resize.resize(top, levels.factor ** (last - i))[None] for i in range(last + 1)]
