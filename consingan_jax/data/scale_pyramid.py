"""SinGAN's image pyramid: as many levels as the image's size asks for, by one factor."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.nn import byte_resize
from consingan_jax.nn.critic import patch_size
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
    return ScalePlan(sizes_below(top, factor, last + 1), factor)


def sizes_below(top: Size, factor: float, number: int) -> list[Size]:
    """Returns the sizes of so many levels, coarse to fine, the last of which is `top`."""
    return [byte_resize.scaled_size(top, factor**i) for i in reversed(range(number))]


def top_level(image: np.ndarray, max_size: int, *, through_bytes: bool = True) -> np.ndarray:
    """Returns an image `[H, W, C]` in [-1, 1] at the size of the top level."""
    scale = min(max_size / max(image.shape[:2]), 1)
    if through_bytes:
        # A file of 8 bits exactly as the published program reads it: the cut that follows depends
        # on the last bit.
        levels = np.rint((image + 1) * 127.5)
        as_read = byte_resize.from_bytes(levels.astype(np.float64))
        image = as_read if np.abs(as_read - image).max() < 1e-5 else image
    return byte_resize.resize(image, scale, through_bytes=through_bytes)


def build(
    image: np.ndarray, levels: ScalePlan, *, max_size: int, through_bytes: bool = True
) -> list[np.ndarray]:
    """Returns the levels `[1, h, w, C]` of an image `[H, W, C]`, each resampled from the top."""
    top = top_level(image, max_size, through_bytes=through_bytes)
    scales = (levels.factor**i for i in reversed(range(len(levels.sizes))))
    return [byte_resize.resize(top, s, through_bytes=through_bytes)[None] for s in scales]


def of_config(config: Config, image: np.ndarray) -> tuple[Config, list[np.ndarray]]:
    """Returns a configuration with its number of levels, and the levels of an image `[H, W, C]`.

    Raises:
        InputError: the image is too small, or the configuration asks for another number.
    """
    size, patch = (image.shape[0], image.shape[1]), patch_size(config.num_layers)
    levels = plan(
        size,
        min_size=config.min_size,
        max_size=config.max_size,
        base=config.scale_factor,
        truncate=config.task_spec.can_enlarge,
    )
    number, sizes = len(levels.sizes), levels.sizes
    if number < 1 or min(size) <= config.min_size or (number > 1 and sizes[0] == sizes[1]):
        raise InputError(
            f"config.min_size={config.min_size}: the image has {size[0]}x{size[1]} px, which "
            "leaves no smaller level: give a smaller min_size, or a larger max_size or image"
        )
    if min(sizes[0]) < patch:
        raise InputError(
            f"config.min_size={config.min_size}: the coarsest level would be {sizes[0][0]}x"
            f"{sizes[0][1]} px, but the critic looks at patches of {patch}x{patch}: give {patch}"
        )
    if config.num_stages not in (0, number):
        raise InputError(
            f"config.num_stages={config.num_stages}: this image has {number} levels, by "
            f"scale_factor {config.scale_factor}: leave it out, or give another scale_factor"
        )
    through_bytes = config.resampling == "bytes"
    made = build(image, levels, max_size=config.max_size, through_bytes=through_bytes)
    return dataclasses.replace(config, num_stages=number), made
