"""Writes tiled BigTIFF files."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tifffile

from consingan_jax.files import whole
from consingan_jax.images import formats
from consingan_jax.tiled.zarr import ZarrArray

SIDE = 256  # of the tiles in the file, pixels; a size that viewers read quickly
LONGEST = 2**31 - 1  # pixels a side; the format allows 2**32 - 1, but GDAL uses signed integers


def about(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns the description that `write` stored in a file; None for other files."""
    try:
        with tifffile.TiffFile(path) as file:
            return dict(json.loads(file.pages.first.description))
    except (OSError, ValueError, TypeError, IndexError, tifffile.TiffFileError):
        return None


def write(
    path: pathlib.Path, array: ZarrArray, about: Mapping[str, Any], meaning: Mapping[str, bool]
) -> None:
    """Copies an array to a BigTIFF, a page for each frame, uncompressed.

    Args:
        path: the file; it appears when it is complete.
        array: `[H, W, C]` or `[T, H, W, C]`.
        about: description of the first page, stored as JSON.
        meaning: as for `formats.tiff_tags`.
    """
    *frames, height, width, channels = array.shape
    with whole(path) as part, tifffile.TiffWriter(part, bigtiff=True, byteorder="<") as writer:
        for frame in range(frames[0] if frames else 1):
            writer.write(
                _tiles(array, frame),
                shape=(height, width, channels) if channels > 1 else (height, width),
                dtype=array.dtype,
                tile=(SIDE, SIDE),
                description=json.dumps(about) if frame == 0 else None,
                metadata=None,
                **formats.tiff_tags(channels, **meaning),
            )


def _tiles(array: ZarrArray, frame: int) -> Iterator[np.ndarray]:
    """Yields the tiles of a page row by row, zero-padded on the right and at the bottom."""
    height, width, channels = array.shape[-3:]
    for top in range(0, height, SIDE):
        for left in range(0, width, SIDE):
            size = (min(SIDE, height - top), min(SIDE, width - left))
            tile = np.zeros((SIDE, SIDE, channels), array.dtype)
            tile[: size[0], : size[1]] = array.read(top, left, *size, frame)
            yield tile if channels > 1 else tile[..., 0]
