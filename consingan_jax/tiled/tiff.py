"""Tiled BigTIFF files."""

import io
import itertools
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from consingan_jax.data import formats
from consingan_jax.files import whole
from consingan_jax.tiled.store import Store

SIDE = 256  # pixels, of the tiles in the file: what viewers like


class Tiff(Store):
    """A BigTIFF with a page for each frame, not compressed, so that every tile has its place.

    The file has its full length from the beginning and takes room as it is written.
    """

    longest = 2**31 - 1  # the format has 2**32 - 1, but GDAL counts with a sign

    def __init__(self, path: pathlib.Path, shape: tuple[int, ...], tile: tuple[int, int], *about):
        """Names the picture, as any store."""
        super().__init__(path, shape, (SIDE, SIDE), *about)
        self._num_pages = math.prod(shape[:-3])
        self._grid = -(-shape[-3] // SIDE), -(-shape[-2] // SIDE)  # tiles down and across
        self._tile_bytes = SIDE * SIDE * shape[-1] * self.dtype.itemsize

    def open(self) -> None:
        """Makes the file, or opens it."""
        import tifffile

        if not self.path.exists():
            with whole(self.path) as part:
                self._create(part)
        try:
            with tifffile.TiffFile(self.path) as file:
                found = (len(file.pages), *file.pages[0].shape)
                self._start = file.pages[0].dataoffsets[0]
        except (tifffile.TiffFileError, IndexError) as error:
            raise self.damaged(error) from None
        length = self.path.stat().st_size
        if found != (self._num_pages, *self._page()) or length != self._start + self.num_bytes():
            raise self.damaged("it has another size")

    def write(self, top: int, left: int, pixels: np.ndarray) -> None:
        """Writes a window, and again what shares a tile of the file with it."""
        with self.path.open("r+b") as file:
            for number, page in enumerate(pixels.reshape(-1, *pixels.shape[-3:])):
                height, width = page.shape[:2]
                runs, count = self._runs(number, top, left, height, width)
                region = self._load(file, runs, count)
                y, x = top % SIDE, left % SIDE
                region[y : y + height, x : x + width] = page
                _save(file, runs, region)
            file.flush()
            os.fsync(file.fileno())

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Returns a window of the first page."""
        with self.path.open("rb") as file:
            region = self._load(file, *self._runs(0, top, left, height, width))
        y, x = top % SIDE, left % SIDE
        return region[y : y + height, x : x + width]

    def _create(self, path: pathlib.Path) -> None:
        """Writes pages without pixels, then where the pixels will be."""
        import tifffile

        count = math.prod(self._grid)
        with tifffile.TiffWriter(path, bigtiff=True, byteorder="<") as writer:
            for _ in range(self._num_pages):
                writer.write(
                    itertools.repeat(b"", count),
                    shape=self._page(),
                    dtype=self.dtype,
                    tile=(SIDE, SIDE),
                    metadata=None,
                    **formats.tiff_tags(self.shape[-1], **self.meaning),
                )
        end = path.stat().st_size
        with tifffile.TiffFile(path, mode="r+") as file:
            for page in file.pages:
                assert isinstance(page, tifffile.TiffPage)
                start, end = end, end + count * self._tile_bytes
                page.tags["TileOffsets"].overwrite(list(range(start, end, self._tile_bytes)))
                page.tags["TileByteCounts"].overwrite([self._tile_bytes] * count)
        os.truncate(path, end)

    def _page(self) -> tuple[int, ...]:
        """Returns the shape of a page as tifffile has it."""
        return self.shape[-3:] if self.shape[-1] > 1 else self.shape[-3:-1]

    def _runs(self, page: int, top: int, left: int, height: int, width: int):
        """Returns the places in the file of each row of tiles under a window, and their number."""
        down, across = self._grid
        rows = range(top // SIDE, -(-(top + height) // SIDE))
        first, last = left // SIDE, -(-(left + width) // SIDE)
        numbers = [(page * down + row) * across + first for row in rows]
        return [self._start + number * self._tile_bytes for number in numbers], last - first

    def _load(self, file: io.BufferedIOBase, runs: Sequence[int], count: int) -> np.ndarray:
        """Returns the pixels `[h, w, C]` of whole tiles, `count` in each run."""
        tiles = np.empty((len(runs), count, SIDE, SIDE, self.shape[-1]), self.dtype)
        for place, row in zip(runs, tiles, strict=True):
            file.seek(place)
            file.readinto(row.view(np.uint8).data)
        return tiles.swapaxes(1, 2).reshape(len(runs) * SIDE, count * SIDE, self.shape[-1])


def _save(file: io.BufferedIOBase, runs: Sequence[int], region: np.ndarray) -> None:
    """Writes the pixels of whole tiles."""
    tiles = region.reshape(len(runs), SIDE, -1, SIDE, region.shape[-1]).swapaxes(1, 2)
    for place, row in zip(runs, tiles, strict=True):
        file.seek(place)
        file.write(row.tobytes())
