"""Zarr version 3 arrays. The only module that imports TensorStore."""

import pathlib
import re

import numpy as np
import tensorstore

from consingan_jax.errors import InputError, from_tensorstore
from consingan_jax.tiled.store import Store

_NO_PATH = re.compile(r"[\\\udc80-\udcff]")  # what TensorStore cannot name


class Zarr(Store):
    """A directory of Zarr version 3: a file for each tile of each frame, compressed without loss.

    A file appears when it is complete.
    """

    longest = 2**53 - 1  # every reader of JSON has the whole numbers up to here

    def __init__(self, path: pathlib.Path, *about):
        """Names the picture, as any store."""
        super().__init__(path, *about)
        self._place = path.resolve().as_posix()
        if _NO_PATH.search(self._place):
            raise InputError(
                f"out={path}: a .zarr cannot lie in a path with \\ or with what is no text: "
                "give another --out"
            )

    def open(self) -> None:
        """Makes the array, or opens it."""
        chunk = [*(1 for _ in self.shape[:-3]), *self.tile, self.shape[-1]]
        zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
        order = {"configuration": {"endian": "little"}} if self.dtype.itemsize > 1 else {}
        metadata = {
            "shape": self.shape,
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "codecs": [{"name": "bytes", **order}, zstd],
        }
        place = {"driver": "file", "path": self._place}
        spec = {"driver": "zarr3", "kvstore": place, "metadata": metadata}
        try:
            with from_tensorstore(self.path):
                self._array = tensorstore.open(spec, open=True, create=True).result()
        except ValueError:
            raise self.damaged("zarr.json is of another picture") from None

    def write(self, top: int, left: int, pixels: np.ndarray) -> None:
        """Writes a window."""
        height, width = pixels.shape[-3:-1]
        with from_tensorstore(self.path):
            self._array[..., top : top + height, left : left + width, :] = pixels

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Returns a window of the first frame."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        window: tuple[int | slice, ...] = (*(0 for _ in self.shape[:-3]), rows, columns)
        try:
            with from_tensorstore(self.path):
                return np.asarray(self._array[window].read().result())
        except ValueError:
            raise self.damaged("a file in it cannot be read") from None
