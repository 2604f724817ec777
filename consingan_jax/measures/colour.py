"""Metrics of pixel colours in images `[H, W, C]` in [-1, 1] (definitions: docs/metrics.md)."""

import numpy as np

from consingan_jax.measures.patches import PROJECTIONS

PARTS = {"dark": (-np.inf, -0.4), "bright": (0.4, np.inf)}  # ranges of intensity


def projections(image: np.ndarray) -> np.ndarray:
    """Projects the colours on fixed directions, `[directions, pixels]`, sorted along each.

    `patches.sliced_wasserstein` of two images' projections is 0 if each colour is as frequent in
    both; a shift of all colours by a vector of length d gives about d / 2.
    """
    directions = np.random.default_rng(0).standard_normal((PROJECTIONS, image.shape[-1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.sort(directions.astype(np.float32) @ image.reshape(-1, image.shape[-1]).T, axis=1)


def chroma(image: np.ndarray, part: str) -> float | None:
    """Returns the mean chroma of the pixels whose intensity lies in a part, a key of `PARTS`.

    Intensity is the mean over channels, and chroma the largest minus the smallest channel: 0 is
    grey, 2 a pure colour. The result is None if the image has no such pixels.
    """
    least, most = PARTS[part]
    intensity = image.mean(-1)
    chosen = image[(least < intensity) & (intensity < most)]
    return float(np.ptp(chosen, axis=-1).mean()) if len(chosen) else None
