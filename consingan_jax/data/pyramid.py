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

WORTH = 1.5  # how much larger than the coarsest level the finest should be, in a pyramid of a kind


def _new_exponent(level: int, last: int) -> float:
    """ConSinGAN's rule: many levels near the coarse end, few near the fine end."""
    if last == 1:  # the general formula is 0/0 here; level 0 is the coarsest, so one full step
        return 1.0
    return (last - 1) / math.log(last) * math.log(last - level) + 1


def _geometric_exponent(level: int, last: int) -> float:
    """SinGAN's rule: every level is larger than the one below by the same factor."""
    return float(last - level)


RULES = {"new": _new_exponent, "geometric": _geometric_exponent}


def scales(size: Size, *, num_stages: int, min_size: int, max_size: int, rule: str) -> list[float]:
    """Returns the top level's scale against the image, then each level's against the top level.

    Args:
        size: height and width of the image, in pixels.
        num_stages: number of levels, at least 1.
        min_size: short side of the coarsest level, in pixels.
        max_size: longest side of the top level, in pixels; a smaller image keeps its size.
        rule: "new" (ConSinGAN) or "geometric" (SinGAN, used for harmonization).

    Returns:
        `[top, level 0, ..., level num_stages - 1]`; the last entry is 1.
    """
    top = _top_scale(size, max_size)
    last = num_stages - 1
    if last == 0:
        return [top, 1.0]
    r = (min_size / min(_scaled(size, top))) ** (1 / last)
    return [top, *(r ** RULES[rule](level, last) for level in range(last)), 1.0]


def sizes(size: Size, *, num_stages: int, min_size: int, max_size: int, rule: str) -> list[Size]:
    """Returns the (height, width) of every level, coarse to fine; arguments as for `scales`."""
    top, *levels = scales(
        size, num_stages=num_stages, min_size=min_size, max_size=max_size, rule=rule
    )
    return [_scaled(_scaled(size, top), scale) for scale in levels]


def build(
    image: np.ndarray, *, num_stages: int, min_size: int, max_size: int, rule: str
) -> list[np.ndarray]:
    """Returns the levels of `image`, coarse to fine.

    Args:
        image: `[H, W, C]`, float32 in [-1, 1].
        num_stages: as for `scales`, like the remaining arguments.
        min_size: see `scales`.
        max_size: see `scales`.
        rule: see `scales`.

    Returns:
        One array `[1, h, w, C]` per level, float32 in [-1, 1], each made from the top level.
    """
    _, *levels = scales(
        image.shape[:2], num_stages=num_stages, min_size=min_size, max_size=max_size, rule=rule
    )
    full = top_level(image, max_size)
    return [resize.resize(full, s, _scaled(full.shape[:2], s))[None] for s in levels]


def top_level(image: np.ndarray, max_size: int) -> np.ndarray:
    """Returns an image `[H, W, C]` shrunk so that it is at most `max_size` px long."""
    scale = _top_scale(image.shape[:2], max_size)
    return resize.resize(image, scale, _scaled(image.shape[:2], scale))


def arguments(config: Config) -> dict[str, Any]:
    """Returns the keyword arguments of `scales`, `sizes` and `build` that a configuration means."""
    rule = config.task_spec.pyramid_rule if config.pyramid_rule == "task" else config.pyramid_rule
    return {
        "num_stages": config.num_stages,
        "min_size": config.min_size,
        "max_size": config.max_size,
        "rule": rule,
    }


def level_sizes(config: Config, image_size: Size) -> list[Size]:
    """Returns the (height, width) of every level that a configuration makes of an image.

    Raises:
        InputError: they cannot be trained on: `min_size` is larger than the top level's short side,
            a level is smaller than the patch that the critic looks at, or as large as the one
            below. Says with which settings this image can, if it can at all.
    """
    settings, patch = arguments(config), patch_size(config.num_layers)
    fault = _fault(image_size, patch, settings)
    if fault is None:
        return sizes(image_size, **settings)

    def works(growth: float) -> Iterator[dict[str, int]]:
        for changes in _mends(image_size, patch, settings):
            changed = settings | changes
            if _fault(image_size, patch, changed) is None:
                levels = sizes(image_size, **changed)
                if min(levels[-1]) >= growth * min(levels[0]):
                    yield changes

    # The first that is worth its stages, or the first of all; no more than that is looked at.
    changes = next(works(WORTH), None) or next(works(1), None)
    if changes:
        words = " ".join(f"--config.{name}={value}" for name, value in changes.items())
        raise InputError(f"{fault}: give {words}")
    raise InputError(
        f"{fault}: the image has {image_size[0]}x{image_size[1]} px; give one of {patch} px a side "
        "or more, or fewer num_layers"
    )


def warnings(config: Config, levels: Sequence[Size]) -> list[str]:
    """Returns a line where the levels are hardly different, else none."""
    first, last = levels[0], levels[-1]
    if len(levels) == 1 or min(last) >= WORTH * min(first):
        return []
    return [
        f"warning: the pyramid grows from {first[0]}x{first[1]} to {last[0]}x{last[1]} px only: "
        f"give a larger max_size (now {config.max_size}) or a smaller min_size "
        f"(now {config.min_size})"
    ]


def _fault(image_size: Size, patch: int, settings: dict[str, Any]) -> str | None:
    """Returns in words why levels cannot be trained on, None if they can."""
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


def _mends(image_size: Size, patch: int, settings: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Yields other settings to try, those that change least first."""
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


def _top_scale(size: Size, max_size: int) -> float:
    return min(max_size / max(size), 1.0)


def _scaled(size: Size, scale: float) -> Size:
    return math.ceil(scale * size[0]), math.ceil(scale * size[1])
