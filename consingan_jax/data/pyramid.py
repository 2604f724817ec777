"""The image pyramid: level sizes and levels (paper, section 3)."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.nn import resize
from consingan_jax.nn.critic import patch_size
from consingan_jax.nn.resize import Size

MIN_GROWTH = 1.5  # a pyramid of which the finest level is less times the coarsest is warned of


def _new_exponent(level: int, last: int) -> float:
    """ConSinGAN's rule: many levels near the coarse end, few near the fine end."""
    if last == 1:  # the formula is 0/0 here; level 0 is the coarsest, so one full step
        return 1.0
    return (last - 1) / math.log(last) * math.log(last - level) + 1


def _geometric_exponent(level: int, last: int) -> float:
    """SinGAN's rule: every level is larger than the one below by the same factor."""
    return float(last - level)


RULES = {"new": _new_exponent, "geometric": _geometric_exponent}


def sizes(size: Size, *, num_stages: int, min_size: int, max_size: int, rule: str) -> list[Size]:
    """Returns the (height, width) of every level, coarse to fine.

    Args:
        size: (height, width) of the image, in pixels.
        num_stages: number of levels, at least 1.
        min_size: short side of the coarsest level, in pixels.
        max_size: longest side of the top level, in pixels; a smaller image keeps its size.
        rule: "new" (ConSinGAN) or "geometric" (SinGAN, used for harmonization).
    """
    top = _scaled(size, _top_scale(size, max_size))
    return [_scaled(top, scale) for scale in _scales(top, num_stages, min_size, rule)]


def build(
    image: np.ndarray, *, num_stages: int, min_size: int, max_size: int, rule: str
) -> list[np.ndarray]:
    """Returns the levels of an image, coarse to fine, each resampled from the top level.

    Args:
        image: `[H, W, C]`, float32 in [-1, 1].
        num_stages, min_size, max_size, rule: as for `sizes`.

    Returns:
        `[1, h, w, C]` for each level, float32 in [-1, 1].
    """
    full = top_level(image, max_size)
    scales = _scales(full.shape[:2], num_stages, min_size, rule)
    return [resize.resize(full, s, _scaled(full.shape[:2], s))[None] for s in scales]


def top_level(image: np.ndarray, max_size: int) -> np.ndarray:
    """Returns an image `[H, W, C]` shrunk to at most `max_size` pixels on its longer side."""
    scale = _top_scale(image.shape[:2], max_size)
    return resize.resize(image, scale, _scaled(image.shape[:2], scale))


def arguments(config: Config) -> dict[str, Any]:
    """Returns the keyword arguments of `sizes` and `build` for a configuration."""
    rule = config.task_spec.pyramid_rule if config.pyramid_rule == "task" else config.pyramid_rule
    settings = {name: getattr(config, name) for name in ("num_stages", "min_size", "max_size")}
    return {**settings, "rule": rule}


def of_config(config: Config, image: np.ndarray) -> tuple[Config, list[np.ndarray]]:
    """Returns a configuration as it is, and the levels of an image `[H, W, C]`.

    Raises:
        InputError: as `level_sizes`.
    """
    level_sizes(config, (image.shape[0], image.shape[1]))
    settings = arguments(config)
    if config.fine_tune:  # its training image has the top level's size already
        settings["max_size"] = max(image.shape[:2])
    return config, build(image, **settings)


def level_sizes(config: Config, image_size: Size) -> list[Size]:
    """Returns the (height, width) of every level for an image size.

    Raises:
        InputError: the levels cannot be trained on: `min_size` exceeds the top level's short side,
            a level is smaller than the critic's patch, or as large as the one below. The message
            names settings that work for this image, if there are any.
    """
    settings, patch = arguments(config), patch_size(config.num_layers)
    fault = _fault(image_size, patch, settings)
    if fault is None:
        return sizes(image_size, **settings)
    # Settings under which the levels hardly grow would be warned of next: a last resort.
    mend = _mend(image_size, patch, settings, MIN_GROWTH) or _mend(image_size, patch, settings, 1)
    if mend:
        flags = " ".join(f"--config.{name}={value}" for name, value in mend.items())
        raise InputError(f"{fault}: give {flags}")
    raise InputError(
        f"{fault}: the image has {image_size[0]}x{image_size[1]} px; give one of {patch} px a side "
        "or more, or fewer num_layers"
    )


def warnings(config: Config, levels: Sequence[Size]) -> list[str]:
    """Returns a warning if the finest of some level sizes is hardly larger than the coarsest."""
    first, last = levels[0], levels[-1]
    if len(levels) == 1 or min(last) >= MIN_GROWTH * min(first):
        return []
    return [
        f"warning: the pyramid grows from {first[0]}x{first[1]} to {last[0]}x{last[1]} px only: "
        f"give a larger max_size (now {config.max_size}) or a smaller min_size "
        f"(now {config.min_size})"
    ]


def _fault(image_size: Size, patch: int, settings: dict[str, Any]) -> str | None:
    """Returns why the levels cannot be trained on, or None if they can."""
    levels, min_size = sizes(image_size, **settings), settings["min_size"]
    if len(levels) > 1 and min_size > min(levels[-1]):
        return (
            f"config.min_size={min_size} is larger than the short side of the top level, "
            f"{min(levels[-1])} px"
        )
    for level, (height, width) in enumerate(levels):
        if min(height, width) < patch:
            return (
                f"level {level} of the pyramid would be {height}x{width} px, but the critic looks "
                f"at patches of {patch}x{patch}"
            )
        if level and levels[level - 1] == (height, width):
            return (
                f"levels {level - 1} and {level} of the pyramid would both be {height}x{width} px"
            )
    return None


def _mend(
    image_size: Size, patch: int, settings: dict[str, Any], growth: float
) -> dict[str, int] | None:
    """Returns the smallest change to the settings that works and lets the levels grow enough."""
    for changes in _changes(image_size, patch, settings):
        changed = settings | changes
        if _fault(image_size, patch, changed) is None:
            levels = sizes(image_size, **changed)
            if min(levels[-1]) >= growth * min(levels[0]):
                return changes
    return None


def _changes(image_size: Size, patch: int, settings: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Yields changes to the settings, from small to large, lazily as there may be thousands."""
    longest = max(image_size)
    larger = [{"max_size": side} for side in range(settings["max_size"] + 50, longest, 50)]
    larger.append({"max_size": longest})
    near = sorted(range(patch, min(image_size)), key=lambda side: abs(side - settings["min_size"]))
    others = [{"min_size": side} for side in near]
    fewer = [{"num_stages": number} for number in range(settings["num_stages"] - 1, 0, -1)]
    yield from others
    yield from larger
    yield from (large | other for large in larger for other in others)
    yield from fewer
    yield from (few | larger[-1] for few in fewer)
    yield from (few | larger[-1] | other for few in fewer for other in others)


def _scales(top: Size, num_stages: int, min_size: int, rule: str) -> list[float]:
    """Returns the scale of every level against the top level, whose scale is 1."""
    last = num_stages - 1
    step = (min_size / min(top)) ** (1 / max(last, 1))
    return [*(step ** RULES[rule](level, last) for level in range(last)), 1.0]


def _top_scale(size: Size, max_size: int) -> float:
    return min(max_size / max(size), 1.0)


def _scaled(size: Size, scale: float) -> Size:
    # Rounded up, as in the published program: other sizes would not reproduce its levels.
    return math.ceil(scale * size[0]), math.ceil(scale * size[1])
