"""Accumulates a thumbnail of an image that never fits in memory."""

import numpy as np

SIDE = 1024  # maximum of the longer side, pixels


class Preview:
    """A reduced copy of an image, each pixel the mean of a square block."""

    def __init__(self, height: int, width: int, channels: int):
        """Starts empty; `height` and `width` are those of the whole image."""
        self._scale = -(-max(height, width) // SIDE)
        self._areas = np.multiply.outer(self._lengths(height), self._lengths(width))[..., None]
        self._sums = np.zeros((*self._areas.shape[:2], channels))

    def add(self, top: int, left: int, pixels: np.ndarray) -> None:
        """Adds a part `[h, w, C]` of the image; each pixel must be added exactly once."""
        rows, row_starts = self._blocks(top, pixels.shape[0])
        columns, column_starts = self._blocks(left, pixels.shape[1])
        # Sums of integers are exact, so the order of the parts does not matter.
        wide = np.uint64 if pixels.dtype.kind == "u" else np.float64
        sums = np.add.reduceat(pixels, row_starts, axis=0, dtype=wide)
        self._sums[rows, columns] += np.add.reduceat(sums, column_starts, axis=1)

    def pixels(self) -> np.ndarray:
        """Returns the means `[h, w, C]`, once all parts are added."""
        return self._sums / self._areas

    def _lengths(self, length: int) -> np.ndarray:
        """Returns the sides of the blocks along an axis; the last one may be shorter."""
        return np.diff(np.append(np.arange(0, length, self._scale), length))

    def _blocks(self, start: int, length: int) -> tuple[slice, np.ndarray]:
        """Returns the blocks that a part overlaps, and where each begins within the part."""
        first, last = start // self._scale, -(-(start + length) // self._scale)
        return slice(first, last), np.maximum(np.arange(first, last) * self._scale - start, 0)
