"""Zarr version 3 arrays. The only module that imports TensorStore."""

import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore

from consingan_jax.errors import InputError, from_tensorstore

LONGEST = 2**53 - 1  # pixels a side: every reader of JSON has the whole numbers up to here
CACHE_BYTES = 2**28  # of decompressed chunks that are read again soon
_NO_PATH = re.compile(r"[\\\udc80-\udcff]")  # what TensorStore cannot name


class ZarrArray:
    """An image or the frames of an animation, written window by window.

    A chunk file appears when it is complete, and black chunks are written too: the chunks that
    exist are the windows that are done.

    Attributes:
        path: of the directory.
        shape: `[H, W, C]` or `[T, H, W, C]`.
        window: (height, width) of a chunk; each has one frame.
        dtype: of the numbers, least byte first.
    """

    def __init__(
        self,
        path: pathlib.Path,
        shape: tuple[int, ...],
        window: tuple[int, int],
        dtype: npt.DTypeLike = np.uint8,
    ):
        """Describes the array; touches nothing.

        Raises:
            InputError: it is too large, or TensorStore cannot name the path.
        """
        self.path, self.shape, self.window = path, shape, window
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._place = path.resolve().as_posix()
        if _NO_PATH.search(self._place):
            raise InputError(
                f"out={path}: a .zarr cannot lie in a path with \\ or with what is no text: "
                "give another --out"
            )
        if max(shape[-3:-1]) > LONGEST:
            raise InputError(f"out={path}: a .zarr has at most {LONGEST} px a side: give less")

    def num_bytes(self) -> int:
        """Returns how many bytes its pixels take at most, in whole chunks."""
        *frames, height, width, channels = self.shape
        down, across = self.window
        chunks = -(-height // down) * -(-width // across)
        return math.prod(frames) * chunks * down * across * channels * self.dtype.itemsize

    def attributes(self) -> dict[str, Any] | None:
        """Returns the attributes of the array that is there; None if it is no array."""
        try:
            found = json.loads((self.path / "zarr.json").read_text("utf-8"))
            return dict(found.get("attributes", {}))
        except (OSError, ValueError, AttributeError, TypeError):
            return None

    def open(self, attributes: Mapping[str, Any]) -> None:
        """Creates the array, or opens it.

        Raises:
            InputError: what is there is another array, or damaged.
            OSError: the disk is full, or the place cannot be written.
        """
        chunk = [*(1 for _ in self.shape[:-3]), *self.window, self.shape[-1]]
        zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
        order = {"configuration": {"endian": "little"}} if self.dtype.itemsize > 1 else {}
        metadata = {
            "shape": self.shape,
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "codecs": [{"name": "bytes", **order}, zstd],
            "attributes": dict(attributes),
        }
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": self._place},
            "metadata": metadata,
            "store_data_equal_to_fill_value": True,
            "recheck_cached_data": "open",
        }
        cache = tensorstore.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
        try:
            with from_tensorstore(self.path):
                opened = tensorstore.open(spec, open=True, create=True, context=cache)
                self._array = opened.result()
        except ValueError:
            raise self._damaged("zarr.json is of another picture") from None

    def has(self, top: int, left: int) -> bool:
        """Returns whether the window at (top, left), a multiple of the chunks, is written."""
        place = f"{top // self.window[0]}/{left // self.window[1]}/0"
        frames = self.shape[:-3]
        names = [f"{k}/{place}" for k in range(frames[0])] if frames else [place]
        return all((self.path / "c" / name).is_file() for name in names)

    def write(self, top: int, left: int, pixels: np.ndarray) -> None:
        """Writes a window `[..., h, w, C]`; when it returns, the disk has the bytes."""
        height, width = pixels.shape[-3:-1]
        with from_tensorstore(self.path):
            self._array[..., top : top + height, left : left + width, :] = pixels

    def read(self, top: int, left: int, height: int, width: int, frame: int = 0) -> np.ndarray:
        """Returns a window `[h, w, C]` of one frame."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        place = (*(frame for _ in self.shape[:-3]), rows, columns)
        try:
            with from_tensorstore(self.path):
                return np.asarray(self._array[place].read().result())
        except ValueError:
            raise self._damaged("a file in it cannot be read") from None

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self.path} is damaged ({reason}): delete it to start again")
