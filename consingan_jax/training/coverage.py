"""Which windows of the training image an iteration looks at."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.nn.critic import patch_size
from consingan_jax.nn.resize import Size

SMALL = 64  # pixels below which a window no longer shows what an image is composed of


def window_size(config: Config, stage: int, level: Size) -> Size:
    """Returns (height, width) of the windows that a stage trains on: of the level if it is whole.

    A part of each side is counted in the critic's patches: two windows of half a side hold every
    patch of the level once, so that they overlap by what a patch is longer than a pixel.

    Args:
        config: the configuration.
        stage: the stage.
        level: (height, width) of its level.
    """
    wanted, overlap = config.window_of(stage), patch_size(config.num_layers) - 1
    if not wanted:
        return level
    parts = [
        -int(-(length - overlap) * wanted // 1) + overlap if wanted < 1 else int(wanted)
        for length in level
    ]
    height, width = (min(pair) for pair in zip(parts, level, strict=True))
    return height, width


def places(level: Size, window: Size, *, patch: int) -> np.ndarray:
    """Returns where the windows of a level begin, so that together they hold all patches.

    As few as that takes, evenly spread. So each patch counts alike, at the border too, where random
    places would hardly ever look; where the windows do not fit without a rest, some count twice.

    Args:
        level: (height, width) of the level.
        window: (height, width) of a window.
        patch: side of the critic's patch.

    Returns:
        First rows and first columns, int32 `[windows, 2]`.
    """
    starts = []
    for whole, length in zip(level, window, strict=True):
        count = -(-(whole - patch + 1) // (length - patch + 1))
        starts.append(np.rint(np.linspace(0, whole - length, count)).astype(np.int32))
    return np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)


def chosen(key: jax.Array, step: jax.Array, num: int, total: int) -> jax.Array:
    """Returns which of the windows an iteration takes.

    All of them come once before any comes again, in an order that is drawn anew each time.

    Args:
        key: random key of the stage.
        step: int32 scalar, the iteration.
        num: how many it takes.
        total: how many there are.

    Returns:
        int32 `[num]`, below `total`.
    """

    def one(number):
        order = jax.random.permutation(jax.random.fold_in(key, number // total), total)
        return order[number % total]

    return jax.vmap(one)(step * num + jnp.arange(num))


def check(config: Config, sizes: Sequence[Size]) -> list[str]:
    """Returns warnings about windows that are small, a line each.

    Args:
        config: the configuration.
        sizes: (height, width) of every level.

    Raises:
        InputError: a window is smaller than what the critic looks at.
    """
    patch, lines = patch_size(config.num_layers), []
    for stage, level in enumerate(sizes):
        window = window_size(config, stage, level)
        cut = [w for w, whole in zip(window, level, strict=True) if w < whole]
        if cut and min(cut) < patch:
            raise InputError(
                f"config.window={config.window} is {min(cut)} px at stage {stage}, but the critic "
                f"looks at patches of {patch}x{patch} px: give {patch} px or more, or 0 for whole "
                "levels"
            )
        if cut and min(cut) < SMALL:
            lines.append(
                f"config.window={config.window} is {min(cut)} px at stage {stage}: windows below "
                f"{SMALL} px lose the structure of the image"
            )
    return lines
