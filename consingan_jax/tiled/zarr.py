"""Reads and writes Zarr version 3 arrays. The only module that imports TensorStore."""

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

LONGEST = 2**53 - 1  # pixels a side; JSON readers with doubles are exact up to here
CACHE_BYTES = 2**28  # for decompressed chunks; a row of TIFF tiles reads each several times
_UNSUPPORTED = re.compile(r"[\\\udc80-\udcff]")  # in paths of TensorStore


class ZarrArray:
    """An image or the frames of an animation, written window by window.

    Chunk files appear when they are complete, black ones too, so the chunks that exist tell which
    windows are done.

    Attributes:
        path: path of the directory.
        shape: `[H, W, C]` or `[T, H, W, C]`.
        window: (height, width) of a chunk, which has one frame.
        dtype: type of the pixel values, little-endian.
    """

    def __init__(
        self,
        path: pathlib.Path,
        shape: tuple[int, ...],
        window: tuple[int, int],
        dtype: npt.DTypeLike = np.uint8,
    ):
        """Describes the array; writes nothing.

        Raises:
            InputError: the array is too large, or TensorStore does not support the path.
        """
        self.path, self.shape, self.window = path, shape, window
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._place = path.resolve().as_posix()
        if _UNSUPPORTED.search(self._place):
            raise InputError(
                f"out={path}: a .zarr cannot lie in a path with a backslash or an undecodable "
                "byte: give another --out"
            )
        if max(shape[-3:-1]) > LONGEST:
            raise InputError(f"out={path}: a .zarr has at most {LONGEST} px a side: give less")

    def num_bytes(self) -> int:
        """Returns the uncompressed size of all chunks, an upper bound of that on disk."""
        *frames, height, width, channels = self.shape
        down, across = self.window
        chunks = -(-height // down) * -(-width // across)
        return math.prod(frames) * chunks * down * across * channels * self.dtype.itemsize

    def attributes(self) -> dict[str, Any] | None:
        """Returns the attributes of the array on disk; None if there is none."""
        try:
            found = json.loads((self.path / "zarr.json").read_text("utf-8"))
            return dict(found.get("attributes", {}))
        except (OSError, ValueError, AttributeError, TypeError):
            return None

    def open(self, attributes: Mapping[str, Any]) -> None:
        """Opens the array, or creates it.

        Raises:
            InputError: the array on disk is damaged, or differs from this one.
            OSError: the disk is full, or the directory cannot be written.
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
            "store_data_equal_to_fill_value": True,  # or black chunks would seem missing
            "recheck_cached_data": "open",  # not at every read: the lock keeps others away
        }
        cache = tensorstore.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
        try:
            with from_tensorstore(self.path):
                opened = tensorstore.open(spec, open=True, create=True, context=cache)
                self._array = opened.result()
        except ValueError:
            raise self._damaged("zarr.json describes another image") from None

    def has(self, top: int, left: int) -> bool:
        """Returns whether the chunk that begins at (top, left) is written, in all frames."""
        place = f"{top // self.window[0]}/{left // self.window[1]}/0"
        frames = self.shape[:-3]
        names = [f"{k}/{place}" for k in range(frames[0])] if frames else [place]
        return all((self.path / "c" / name).is_file() for name in names)

    def write(self, top: int, left: int, pixels: np.ndarray) -> None:
        """Writes a window `[..., h, w, C]`; blocks until the chunks are on disk."""
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
            raise self._damaged("a chunk cannot be read") from None

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self.path} is damaged ({reason}): delete it to start again")
