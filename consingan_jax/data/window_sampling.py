"""Samples the windows of the training image that an iteration sees."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.nn.critic import patch_size
from consingan_jax.nn.resize import Size

SMALL = 64  # pixels below which a window no longer shows what an image is composed of
# The steps of a sequence that fills the square evenly, whatever part of it is taken: the inverses
# of the plastic number and of its square (Roberts 2018), as fractions of 2^32.
_STEPS = (3242174889, 2447445414)


def window_size(config: Config, stage: int, level: Size) -> Size:
    """Returns (height, width) of the windows that a stage trains on: of the level if it is whole.

    Args:
        config: the configuration.
        stage: the stage.
        level: (height, width) of its level.
    """
    wanted = config.stage(stage).window
    if not wanted:
        return level
    height, width = (
        min(length, round(length * wanted) if wanted < 1 else int(wanted)) for length in level
    )
    return height, width


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


def sample_origins(
    key: jax.Array, numbers: jax.Array, *, level: Size, window: Size
) -> tuple[jax.Array, jax.Array]:
    """Returns where windows begin.

    A start is drawn from [-window, level] and then moved inside, so that a pixel at an edge is seen
    at least half as often as the pixel that is seen most, and as often where the window is less
    than half as long as the level; drawn from the places inside alone, it would hardly ever be.
    The draws of a stage follow one sequence that leaves no gaps.

    Args:
        key: random key of the stage.
        numbers: int32 `[N]`, the windows' numbers, counted through all iterations.
        level: (height, width) of the level.
        window: (height, width) of a window.

    Returns:
        First rows and first columns, int32 `[N]` each.
    """
    number = numbers.astype(jnp.uint32)
    first = jax.random.bits(key, (2,))
    rows, columns = (
        _start(first[axis] + number * jnp.uint32(_STEPS[axis]), level[axis], window[axis])
        for axis in (0, 1)
    )
    return rows, columns


def _start(fraction, whole, length):
    """Returns starts for fractions of 2^32."""
    uniform = (fraction >> 8).astype(jnp.float32) * 2.0**-24
    start = jnp.floor(uniform * (whole + length + 1)).astype(jnp.int32) - length
    return start.clip(0, whole - length)
