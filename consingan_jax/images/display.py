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

_UNREADABLE = (OSError, SyntaxError, ValueError)  # raised by Pillow on truncated files
CELL = 640  # longest side of an image in a grid, in pixels


class ImageArray(np.ndarray):
    """An array `[H, W, C]` or `[N, H, W, C]` in [-1, 1] that a notebook displays as images."""

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        del context
        return array[()] if return_scalar else array  # results of arithmetic are plain arrays

    def _repr_png_(self) -> bytes | None:
        if self.ndim not in (3, 4) or not self.size:
            return None  # a slice that is not an image is printed as numbers
        return to_png(grid(list(self)) if self.ndim == 4 else self)


def as_picture(name: str, array: Any, channels: int) -> np.ndarray:
    """Returns an image given by a caller as float32 in [-1, 1].

    uint8 and uint16 count from black to white. Floats must be in [-1, 1]; an array without negative
    values is refused, as it is probably meant in [0, 1], unless it is an `ImageArray`.

    Args:
        name: the argument's name, for the message.
        array: `[H, W, C]`.
        channels: required number of channels.

    Raises:
        InputError: the shape, dtype or range is wrong.
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
    # Resampling overshoots [-1, 1] a little. Written so that NaN is refused as well.
    is_outside = not (low >= -2 and high <= 2)
    if is_outside or (low >= 0 and not isinstance(array, ImageArray)):
        raise InputError(
            f"{name} has values from {low:g} to {high:g}: give floats in [-1, 1], as load_image "
            "returns them, or uint8"
        )
    return values.astype(np.float32)


def to_png(image: np.ndarray) -> bytes:
    """Returns an image `[H, W, C]` in [-1, 1] encoded as an 8-bit PNG of the `shown` channels."""
    pixels, buffer = to_uint8(shown(image)), io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def to_figure(image: np.ndarray, name: str, caption: str) -> str:
    """Returns an HTML figure of an image `[H, W, C]`, with its name and a caption in HTML."""
    source = f"data:image/png;base64,{base64.b64encode(to_png(image)).decode()}"
    return (
        f'<figure style="margin:0"><img src="{source}" alt="{name}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def save(path: str | pathlib.Path, image: np.ndarray) -> None:
    """Writes `to_png` of an image `[H, W, C]` in [-1, 1] to a file, atomically."""
    with whole(pathlib.Path(path)) as part:
        part.write_bytes(to_png(image))


def shown(image: np.ndarray) -> np.ndarray:
    """Returns the channels of `[..., C]` to display: the first, or the first three of 3 or more."""
    return image if image.shape[-1] in (1, 3) else image[..., : 3 if image.shape[-1] > 3 else 1]


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Converts values in [-1, 1] to 0 .. 255."""
    return np.clip(np.rint((np.asarray(image) + 1) * 127.5), 0, 255).astype(np.uint8)


def grid(images: Sequence[np.ndarray], *, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Arranges images `[H, W, C]` row by row on a white sheet, in cells as large as the largest."""
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
    """Returns whether a file exists and Pillow can decode all of it."""
    try:
        with Image.open(path) as file:
            file.load()
    except _UNREADABLE:
        return False
    return True


def data_uri(path: pathlib.Path, side: int, num_bytes: int) -> str:
    """Returns an image file as a WebP data URI, or "" if it cannot be read.

    Args:
        path: the file.
        side: limit on the longer side, in pixels.
        num_bytes: limit on the WebP data; a detailed image is shrunk until it fits.
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
    """Returns an image `[H, W, C]` resized so that its longer side is at most `side` pixels."""
    height, width, _ = image.shape
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return resize.fit(image, (max(1, round(height * scale)), max(1, round(width * scale))))
