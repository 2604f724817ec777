"""Files whose depth or channels Pillow does not have: arrays, deep PNG, TIFF of any kind."""

import importlib.util
import pathlib
import struct
from typing import Any

import numpy as np

from consingan_jax.data.image import check_pixels
from consingan_jax.errors import InputError

_PNG = b"\x89PNG\r\n\x1a\n"


def is_png(path: pathlib.Path) -> bool:
    """Returns whether a .png has 16 bits and more than one channel."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or not head.startswith(_PNG):
        return False
    depth, colour = struct.unpack("BB", head[24:26])
    return depth == 16 and colour != 0


def read_png(path: pathlib.Path, max_pixels: int) -> np.ndarray:
    """Returns the numbers `[H, W, C]` of a .png, uint16; raises as `read_tiff`."""
    _needs("imagecodecs", path)
    import imagecodecs

    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    check_pixels(path, height, width, max_pixels)
    try:
        return _planes(imagecodecs.png_decode(content), path)
    except Exception as error:  # decoders fail on damaged files in all ways
        raise InputError(f"image {path} cannot be read: {error}") from None


def read_array(path: pathlib.Path, max_pixels: int) -> np.ndarray:
    """Returns the numbers `[H, W, C]` of a .npy; raises as `read_tiff`."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # so far its shape alone
    except Exception as error:  # headers are parsed as Python's own
        raise InputError(
            f"image {path} cannot be read: {str(error).rstrip('.')}; give an array of numbers as "
            "numpy.save writes it"
        ) from None
    if not isinstance(values, np.ndarray):
        raise InputError(f"image {path} holds several arrays: give one")
    height, width = [*values.shape, 1, 1][:2]
    check_pixels(path, height, width, max_pixels)
    if values.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise InputError(f"image {path} is of {values.dtype}: give uint8, uint16 or float32")
    wanted = np.float32 if values.dtype == np.float64 else values.dtype
    return _planes(np.array(values, wanted), path)


def read_tiff(path: pathlib.Path, max_pixels: int, channels: int) -> np.ndarray:
    """Returns the numbers `[H, W, C]` of a TIFF.

    Args:
        path: the file.
        max_pixels: a picture of more is refused.
        channels: how many are wanted; where it is the number of pages these are the channels, and
            the first page counts otherwise.

    Raises:
        InputError: it cannot be read, is too large, or what reads it is not installed.
    """
    _needs("tifffile", path)
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages.first
            check_pixels(path, page.imagelength, page.imagewidth, max_pixels)
            if len(file.pages) > 1 and channels == len(file.pages):
                values = np.stack([one.asarray() for one in file.pages], axis=-1)
            else:
                values = page.asarray()
                if values.ndim == 3 and page.planarconfig == 2:  # channels first
                    values = np.moveaxis(values, 0, -1)
    except InputError:
        raise
    except Exception as error:  # decoders fail on damaged files in all ways
        raise InputError(f"image {path} cannot be read: {error}") from None
    if values.dtype not in (np.uint8, np.uint16, np.float32):
        if values.dtype.kind not in "iuf":
            raise InputError(f"image {path} is of {values.dtype}: give numbers")
        values = values.astype(np.float32)
    return _planes(values, path)


def write(file: pathlib.Path, values: np.ndarray) -> None:
    """Writes numbers `[H, W, C]` as a .png or a TIFF.

    Raises:
        InputError: what writes it is not installed.
    """
    if file.suffix == ".png":
        _needs("imagecodecs", file)
        import imagecodecs

        file.write_bytes(imagecodecs.png_encode(values))
        return
    _needs("tifffile", file)
    import tifffile

    colour = values.shape[-1] in (3, 4) and values.dtype != np.float32
    planes = values[..., 0] if values.shape[-1] == 1 else values
    kind = "rgb" if colour else "minisblack"
    planar = None if values.shape[-1] == 1 else "contig"
    tifffile.imwrite(file, planes, photometric=kind, planarconfig=planar)


def _needs(module: str, file: pathlib.Path) -> None:
    if importlib.util.find_spec(module) is None:
        raise InputError(
            f"{file}: its depth or channels need {module}: "
            "python -m pip install tifffile imagecodecs (the extra depth)"
        )


def _planes(values: np.ndarray, path: pathlib.Path) -> np.ndarray:
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not values.size:
        raise InputError(f"image {path} has the shape {values.shape}: give [H, W] or [H, W, C]")
    return values
