"""Accumulates a thumbnail of an image that never fits in memory."""

import numpy as np

SIDE = 1024  # pixels, the longer side of the copy at most


class Preview:
    """A small copy of a picture: each pixel is the mean of a square."""

    def __init__(self, height: int, width: int, channels: int):
        """Begins with nothing of a picture of this size."""
        self._scale = -(-max(height, width) // SIDE)
        self._areas = np.multiply.outer(self._lengths(height), self._lengths(width))[..., None]
        self._sums = np.zeros((*self._areas.shape[:2], channels))

    def add(self, top: int, left: int, pixels: np.ndarray) -> None:
        """Adds a part `[h, w, C]` of the picture, in numbers of any type."""
        rows, row_starts = self._squares(top, pixels.shape[0])
        columns, column_starts = self._squares(left, pixels.shape[1])
        wide = np.uint64 if pixels.dtype.kind == "u" else np.float64
        sums = np.add.reduceat(pixels, row_starts, axis=0, dtype=wide)
        self._sums[rows, columns] += np.add.reduceat(sums, column_starts, axis=1)

    def pixels(self) -> np.ndarray:
        """Returns `[h, w, C]`, means of the numbers, once all parts are there."""
        return self._sums / self._areas

    def _lengths(self, length: int) -> np.ndarray:
        """Returns the sides of the squares along an axis; the last one may be cut off."""
        return np.diff(np.append(np.arange(0, length, self._scale), length))

    def _squares(self, start: int, length: int) -> tuple[slice, np.ndarray]:
        """Returns the squares that a part touches, and where in it each begins."""
        first, last = start // self._scale, -(-(start + length) // self._scale)
        return slice(first, last), np.maximum(np.arange(first, last) * self._scale - start, 0)
