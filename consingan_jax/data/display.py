"""Images for display: 8-bit conversion, PNG, grids, thumbnails, notebook arrays."""

import base64
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from consingan_jax.errors import InputError
from consingan_jax.files import whole
from consingan_jax.nn import resize

_UNREADABLE = (OSError, SyntaxError, ValueError)  # what Pillow raises of a file that is cut off
CELL = 640  # pixels, the longer side of a picture in a grid at most


class ImageArray(np.ndarray):
    """An array `[H, W, C]` or `[N, H, W, C]` of images in [-1, 1] that a notebook shows as such."""

    def __array_wrap__(self, array, context=None, return_scalar=False):
        del context
        return array[()] if return_scalar else array  # what is computed is an ordinary array

    def _repr_png_(self) -> bytes | None:
        if self.ndim not in (3, 4) or not self.size:
            return None  # a part of it that is no picture: shown as numbers
        return to_png(grid(list(self)) if self.ndim == 4 else self)


def as_picture(name: str, array: Any, channels: int) -> np.ndarray:
    """Returns an array that a caller gives as a picture, float32 in [-1, 1].

    Whole numbers of 8 or 16 bits count from black to white. What this package made is taken as it
    is; of other floating point numbers those are refused that are meant in [0, 1] or [0, 255].

    Args:
        name: of the argument.
        array: `[H, W, C]`.
        channels: how many it must have.

    Raises:
        InputError: it is no such picture.
    """
    values = np.asarray(array)
    if values.ndim != 3 or values.shape[-1] != channels or not values.size:
        raise InputError(f"{name} of shape {values.shape}: give [H, W, {channels}]")
    if values.dtype in (np.uint8, np.uint16):
        white = np.iinfo(values.dtype).max
        return (2 * (values / white) - 1).astype(np.float32)
    if not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"{name} of type {values.dtype}: give uint8, uint16, or floats in [-1, 1]")
    low, high = float(values.min()), float(values.max())
    beyond = not (low >= -2 and high <= 2)  # resampled and generated pictures exceed a little
    if beyond or (low >= 0 and not isinstance(array, ImageArray)):
        raise InputError(
            f"{name} has values from {low:g} to {high:g}: give floats in [-1, 1], as load_image "
            "returns them, or uint8"
        )
    return values.astype(np.float32)


def to_png(image: np.ndarray) -> bytes:
    """Returns an image `[H, W, C]` in [-1, 1] as the bytes of a .png."""
    buffer = io.BytesIO()
    _to_pil(image).save(buffer, "PNG")
    return buffer.getvalue()


def save(path: str | pathlib.Path, image: np.ndarray) -> None:
    """Writes an image `[H, W, C]` in [-1, 1] to look at, as `shown`, as a .png of 8 bits."""
    with whole(pathlib.Path(path)) as part:
        part.write_bytes(to_png(image))


def shown(image: np.ndarray) -> np.ndarray:
    """Returns an image `[..., C]` as people look at it: its first channel, or its first three."""
    return image if image.shape[-1] in (1, 3) else image[..., : 3 if image.shape[-1] > 3 else 1]


def _to_pil(image: np.ndarray) -> Image.Image:
    pixels = to_uint8(shown(image))
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Returns values in [-1, 1] as 0 .. 255."""
    return np.clip(np.rint((np.asarray(image) + 1) * 127.5), 0, 255).astype(np.uint8)


def grid(images: Sequence[np.ndarray], *, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Returns images `[H, W, C]` side by side on white, row by row, each as `shown`.

    Images may differ in size; every cell is as large as the largest.
    """
    images = [shown(image) for image in images]
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    height = max(image.shape[0] for image in images) + gap
    width = max(image.shape[1] for image in images) + gap
    shape = (rows * height - gap, columns * width - gap, images[0].shape[-1])
    sheet = np.ones(shape, np.float32)
    for i, image in enumerate(images):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def is_readable(path: pathlib.Path) -> bool:
    """Returns whether a file is there and holds a whole picture."""
    try:
        with Image.open(path) as file:
            file.load()
    except _UNREADABLE:
        return False
    return True


def data_uri(path: pathlib.Path, side: int, num_bytes: int) -> str:
    """Returns a picture as text for a page, in WebP; empty if it cannot be read.

    Args:
        path: its file.
        side: no side becomes longer, in pixels.
        num_bytes: what it may take; a picture with much in it becomes smaller.
    """
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except _UNREADABLE:
        return ""
    data = b""
    for _ in range(16):
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=82)
        data = buffer.getvalue()
        if len(data) <= num_bytes:
            break
        side = max(1, round(0.8 * max(picture.size)))
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """Returns an image `[H, W, C]` with no side longer than `side` pixels."""
    height, width, _ = image.shape
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return resize.fit(image, (max(1, round(height * scale)), max(1, round(width * scale))))
