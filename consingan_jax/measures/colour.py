"""Metrics of pixel colours, independent of position (docs/metrics.md).

Images are `[H, W, C]` in [-1, 1].
"""

import numpy as np

from consingan_jax.measures.patches import PROJECTIONS

PARTS = {"dark": (-np.inf, -0.4), "bright": (0.4, np.inf)}  # above and below which intensity


def projections(image: np.ndarray) -> np.ndarray:
    """Returns the colours of an image projected on fixed directions, `[directions, pixels]`.

    Those of each direction are sorted. `patches.sliced_wasserstein` of two images' is 0 where they
    hold the same colours in the same numbers; a shift of all colours by a vector of length d gives
    about d / 2.
    """
    directions = np.random.default_rng(0).standard_normal((PROJECTIONS, image.shape[-1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.sort(directions.astype(np.float32) @ image.reshape(-1, image.shape[-1]).T, axis=1)


def chroma(image: np.ndarray, part: str) -> float | None:
    """Returns how colourful the pixels of a part are, from 0 (grey) to 2 (a pure colour).

    That is the mean over them of the largest minus the smallest channel.

    Args:
        image: `[H, W, C]`.
        part: of the intensities (mean over channels): "dark", below -0.4, or "bright", above 0.4.

    Returns:
        None if the image has no such pixels.
    """
    least, most = PARTS[part]
    intensity = image.mean(-1)
    chosen = image[(least < intensity) & (intensity < most)]
    return float(np.ptp(chosen, axis=-1).mean()) if len(chosen) else None
