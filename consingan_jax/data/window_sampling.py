"""Samples the windows of the training image that an iteration sees."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.nn.critic import patch_size
from consingan_jax.nn.resize import Size

SMALL = 64  # pixels; smaller windows no longer show the composition of an image
# Increments of the R2 sequence (Roberts 2018), which fills the square evenly however many of its
# points are taken: the inverses of the plastic number and of its square, as fractions of 2^32.
_INCREMENTS = (3242174889, 2447445414)


def window_size(config: Config, stage: int, level: Size) -> Size:
    """Returns the (height, width) of a stage's windows, given that of its level."""
    wanted = config.stage(stage).window
    if not wanted:
        return level
    height, width = (
        min(length, round(length * wanted) if wanted < 1 else int(wanted)) for length in level
    )
    return height, width


def check(config: Config, sizes: Sequence[Size]) -> list[str]:
    """Returns a warning for each stage whose windows are small.

    Args:
        config: the configuration.
        sizes: (height, width) of every level.

    Raises:
        InputError: a window is smaller than the critic's patch.
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
    """Samples the first row and column of windows from a low-discrepancy sequence.

    Origins are uniform on [-window, level] and then clamped into the level. A pixel at an edge is
    thus seen at least half as often as any other, and as often if the window is less than half as
    long as the level; with origins uniform inside the level it would hardly ever be seen.

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
    # uint32 arithmetic wraps at 2^32, which is the sequence's modulus of 1.
    rows, columns = (
        _origin(first[axis] + number * jnp.uint32(_INCREMENTS[axis]), level[axis], window[axis])
        for axis in (0, 1)
    )
    return rows, columns


def _origin(fraction: jax.Array, level: int, window: int) -> jax.Array:
    """Returns the origins along one axis for fractions of 2^32."""
    uniform = (fraction >> 8).astype(jnp.float32) * 2.0**-24  # float32 holds 24 bits exactly
    origin = jnp.floor(uniform * (level + window + 1)).astype(jnp.int32) - window
    return origin.clip(0, level - window)
