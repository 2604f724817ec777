"""Keeps a hole, a part of the training image, out of the training (`config.exclude`).

A pixel of a level belongs to the hole if it covers any part of it. Real patches that touch the hole
are not shown to the critic, and the hole has no reconstruction loss. Instead z* has new noise there
in every iteration, so that the model learns to fill the hole in a way that fits its surroundings.
"""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from scipy import ndimage

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.images import masks
from consingan_jax.nn.critic import patch_size
from consingan_jax.nn.intervals import Interval, crop, span
from consingan_jax.nn.resize import Size

LEAST_PATCHES = 0.05  # of the critic's patches at a level, to learn from
FEW_PATCHES = 0.25  # fewer are warned of


@struct.dataclass(eq=False)
class Exclusion:
    """What a stage needs to keep a hole out of its losses; the weights are 1 on average.

    Attributes:
        pixels: `[1, h, w, 1]`, weights of the pixels: 0 in the hole.
        patches: `[1, h - p + 1, w - p + 1, 1]`, weights of the critic's patches of p pixels a side,
            at their first row and column: 0 where a patch touches the hole.
        holes: for this level and each below `[1, h_k, w_k, 1]`, 1 in the hole, else 0.
    """

    pixels: jax.Array
    patches: jax.Array
    holes: tuple[jax.Array, ...]

    def weights(self, window: Sequence[Interval]) -> dict[str, jax.Array]:
        """Returns `pixels` and `patches` in N windows, given the windows' rows and columns."""
        fewer = self.pixels.shape[1] - self.patches.shape[1]
        places = [span(n.length - fewer, n.start, n.whole - fewer) for n in window]
        return {"pixels": _cut(self.pixels, window), "patches": _cut(self.patches, places)}


def _cut(level: jax.Array, window: Sequence[Interval]) -> jax.Array:
    return crop(level, [span(length) for length in level.shape[1:3]], window)


def of_holes(holes: Sequence[np.ndarray], patch: int) -> Exclusion:
    """Returns the exclusion of a stage, given the hole `[h, w]` of its level and of all below."""
    free = (~holes[-1], free_patches(holes[-1], patch))
    pixels, patches = as_images(each / each.mean() for each in free)
    return Exclusion(pixels=pixels, patches=patches, holes=as_images(holes))


def as_images(grids: Iterable[np.ndarray]) -> tuple[jax.Array, ...]:
    """Returns grids `[h, w]` as images `[1, h, w, 1]`."""
    return tuple(jnp.asarray(grid, jnp.float32)[None, ..., None] for grid in grids)


def read(config: Config, shape: Size, *, turn: int) -> tuple[np.ndarray, str]:
    """Reads the hole of a training image: white in the mask `config.exclude`.

    Args:
        config: the configuration.
        shape: (height, width) of the image.
        turn: EXIF orientation of the image's file.

    Returns:
        `[H, W]`, True in the hole, and a line on how it was read.

    Raises:
        InputError: the mask is unreadable, of another size, empty, or covers the whole image.
    """
    path = config.exclude
    try:
        mask, note = masks.read_inside(
            path, lambda size: size == shape, turn=turn, max_pixels=config.max_pixels
        )
    except InputError as error:
        reason = str(error).replace("what the model shall change", "what is to be left out")
        raise InputError(f"config.exclude: {reason}") from None
    if mask.shape != shape:
        raise InputError(
            f"config.exclude={path} has {mask.shape[0]}x{mask.shape[1]} px, but the image "
            f"{shape[0]}x{shape[1]}: give a mask of the same size"
        )
    if mask.all():
        raise InputError(
            f"config.exclude={path} is white everywhere: paint black what is to be learned"
        )
    line = f"exclude: {path}, {mask.mean():.1%} of the image"
    return mask > 0, "; ".join(filter(None, [line, note]))


def fill(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Returns an image `[H, W, C]` whose hole `[H, W]` is interpolated smoothly from its border."""
    if not hole.any():
        return image
    # Average what is known over 2x2 pixels, again and again until nothing is missing, and take what
    # is missing from the next coarser level.
    height, width = hole.shape
    even = ((0, height % 2), (0, width % 2), (0, 0))
    known = np.pad(np.where(hole, 0.0, 1.0)[..., None], even)
    total = np.pad(np.where(hole[..., None], 0.0, image), even)
    blocks = (known.shape[0] // 2, 2, known.shape[1] // 2, 2)
    known, total = (x.reshape(*blocks, x.shape[-1]).sum((1, 3)) for x in (known, total))
    coarse = fill(total / np.maximum(known, 1), known[..., 0] == 0)
    smooth = ndimage.zoom(coarse, (2, 2, 1), order=1, mode="nearest", grid_mode=True)
    return np.where(hole[..., None], smooth[:height, :width], image).astype(image.dtype)


def touched(hole: np.ndarray, size: Size) -> np.ndarray:
    """Returns which pixels of a grid of another size cover a part of a hole `[H, W]`."""
    for axis, length in enumerate(size):
        ends = np.arange(length + 1) * hole.shape[axis]
        first, last = ends[:-1] // length, -(-ends[1:] // length)
        before = np.insert(hole.cumsum(axis), 0, 0, axis)
        hole = before.take(last, axis) > before.take(first, axis)
    return hole


def free_patches(hole: np.ndarray, patch: int) -> np.ndarray:
    """Returns which patches of a level do not touch its hole `[h, w]`: `[h - p + 1, w - p + 1]`."""
    for axis in (0, 1):
        hole = np.lib.stride_tricks.sliding_window_view(hole, patch, axis).any(-1)
    return ~hole


def check(config: Config, hole: np.ndarray, sizes: Sequence[Size]) -> list[str]:
    """Returns a warning for each level of which a hole `[H, W]` leaves few patches.

    Raises:
        InputError: it leaves too few.
    """
    patch, lines = patch_size(config.num_layers), []
    for level, size in enumerate(sizes):
        share = free_patches(touched(hole, size), patch).mean()
        found = (
            f"config.exclude={config.exclude} leaves {share:.1%} of the critic's patches of "
            f"{patch}x{patch} px at level {level} ({size[0]}x{size[1]} px)"
        )
        if share < LEAST_PATCHES:
            raise InputError(
                f"{found}, too few to learn from: give a smaller hole, a larger min_size (now "
                f"{config.min_size}) or fewer num_layers"
            )
        if share < FEW_PATCHES:
            lines.append(f"warning: {found}")
    return lines
