"""The image pyramid: how large each level is, and the levels themselves (paper, section 3)."""

import math

import numpy as np

from consingan_jax.nn import resize

Size = tuple[int, int]


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


def _top_scale(size: Size, max_size: int) -> float:
    return min(max_size / max(size), 1.0)


def _scaled(size: Size, scale: float) -> Size:
    return math.ceil(scale * size[0]), math.ceil(scale * size[1])
