"""Base class of on-disk images that are written window by window."""

import abc
import math
import pathlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from consingan_jax.errors import InputError


class Store(abc.ABC):
    """A picture, or the frames of an animation.

    Attributes:
        path: of the file or the directory.
        shape: `[H, W, C]`, or `[T, H, W, C]` for an animation.
        tile: (height, width) of the pieces that the format keeps whole.
        dtype: of the numbers, least byte first.
        meaning: what is said of them, where the format can.
        longest: how many pixels a side may have.
    """

    longest: int

    def __init__(
        self,
        path: pathlib.Path,
        shape: tuple[int, ...],
        tile: tuple[int, int],
        dtype: npt.DTypeLike = np.uint8,
        meaning: Mapping[str, bool] = MappingProxyType({}),
    ):
        """Names the picture; touches nothing.

        Args:
            path: of the file or the directory.
            shape: `[H, W, C]` or `[T, H, W, C]`.
            tile: (height, width) of the windows that will be written.
            dtype: of the numbers.
            meaning: what is said of them, as for `formats.write`.

        Raises:
            InputError: the format cannot hold it, or not at this path.
        """
        self.path, self.shape, self.tile, self.meaning = path, shape, tile, meaning
        self.dtype = np.dtype(dtype).newbyteorder("<")
        height, width = shape[-3:-1]
        if max(height, width) > self.longest:
            raise InputError(
                f"out={path}: {path.suffix} holds at most {self.longest} px a side, not "
                f"{height}x{width}: give another suffix or a smaller size"
            )

    def num_bytes(self) -> int:
        """Returns how many bytes its pixels take at most, in whole tiles."""
        *frames, height, width, channels = self.shape
        down, across = self.tile
        tiles = -(-height // down) * -(-width // across)
        return math.prod(frames) * tiles * down * across * channels * self.dtype.itemsize

    @abc.abstractmethod
    def open(self) -> None:
        """Makes the picture, all black, or opens the one that is there.

        Raises:
            InputError: what is there is another picture, or damaged.
            OSError: the disk is full, or the place cannot be written.
        """

    @abc.abstractmethod
    def write(self, top: int, left: int, pixels: np.ndarray) -> None:
        """Writes a window `[..., h, w, C]`; when it returns, the disk has the bytes.

        Raises:
            OSError: the disk is full.
        """

    @abc.abstractmethod
    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Returns a window `[h, w, C]` of the first frame."""

    def damaged(self, reason: object) -> InputError:
        """Returns the error that says that what is there is not this picture."""
        return InputError(f"{self.path} is damaged ({reason}): delete it to start again")
