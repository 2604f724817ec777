"""Files <-> arrays, and pictures made of pictures."""

import base64
import contextlib
import io
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageOps, UnidentifiedImageError

from consingan_jax.errors import InputError
from consingan_jax.files import missing
from consingan_jax.nn import resize

CELL = 640  # pixels, the longer side of a picture in a grid at most
MAX_PIXELS = 10**8  # that a picture may have, unless more is asked for
_WIDE = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def load(
    path: str | pathlib.Path,
    *,
    channels: int = 0,
    background: str | None = "white",
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Reads an image file of any mode, depth and orientation.

    Args:
        path: the file.
        channels: 1 for grey, 3 for colour, 0 for what the file has.
        background: name or #rrggbb of the colour behind transparent pixels; None ignores alpha.
        max_pixels: a picture of more is refused before it is decoded.

    Returns:
        `[H, W, C]`, float32 in [-1, 1].

    Raises:
        InputError: no such file, not an image, or an unknown background colour.
    """
    unit = _to_unit(_opened(path, max_pixels), None if background is None else _colour(background))
    return (2 * _with_channels(unit, channels) - 1).astype(np.float32)


def load_numbers(
    path: str | pathlib.Path,
    *,
    channels: int = 0,
    background: str | None = "white",
    max_pixels: int = MAX_PIXELS,
) -> tuple[np.ndarray, str]:
    """Returns what `load` reads as numbers `[H, W, C]` of the file's depth, and that depth's name.

    The depth is uint8, uint16 or float32; with an alpha that is filled 8 bits may have fractions.
    """
    picture = _opened(path, max_pixels)
    if picture.mode in _WIDE or picture.mode == "F":
        values = np.asarray(picture)[..., None]
        depth = "float32" if picture.mode == "F" else "uint16"
        return np.repeat(values, 3, axis=-1) if channels == 3 else values, depth
    unit = _to_unit(picture, None if background is None else _colour(background))
    return 255 * _with_channels(unit, channels), "uint8"


def load_with_alpha(path: str | pathlib.Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Returns an 8-bit image with its transparency as a channel: `[H, W, 2 or 4]`, uint8."""
    picture = _opened(path, max_pixels)
    mode = "LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA"
    return np.asarray(picture.convert(mode))


def check_pixels(
    path: str | pathlib.Path, height: int, width: int, max_pixels: int = MAX_PIXELS
) -> None:
    """Raises an InputError if a picture has more pixels than may be read."""
    if height * width > max_pixels:
        millions = -(-height * width // 10**6)
        raise InputError(
            f"image {path} has {height}x{width} px, more than {max_pixels / 1e6:g} megapixels: "
            f"shrink it, or give --config.max_megapixels={millions}"
        )


def _opened(path: str | pathlib.Path, max_pixels: int) -> Image.Image:
    """Returns the picture of a file, upright."""
    with _file(path, max_pixels) as file:
        picture = ImageOps.exif_transpose(file)
        picture.load()
    return _in_srgb(picture, path)


def _in_srgb(picture: Image.Image, path: str | pathlib.Path) -> Image.Image:
    """Returns a picture in sRGB, if it has a profile that says it is in something else."""
    data = picture.info.get("icc_profile")
    if not data or picture.mode not in ("L", "RGB", "RGBA", "CMYK"):
        return picture
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return picture
        grey, alpha = picture.mode == "L", picture.mode == "RGBA"
        colours = picture.convert("RGB") if alpha else picture
        mode = "L" if grey else "RGB"
        target = ImageCms.createProfile("sRGB")
        made = ImageCms.profileToProfile(colours, profile, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        warnings.warn(f"image {path}: its colour profile is ignored: {error}", stacklevel=4)
        return picture
    assert made is not None, "not in place"
    if alpha:
        made.putalpha(picture.getchannel("A"))
    return made


@contextlib.contextmanager
def _file(path: str | pathlib.Path, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Yields an image file, open and not decoded; what goes wrong with it is an InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that nobody asks for
            with _limit(max_pixels), Image.open(path) as file:
                check_pixels(path, file.height, file.width, max_pixels)
                yield file
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"image {path}: {missing(path)}") from None
    except IsADirectoryError:
        raise InputError(f"image {path} is a directory: give an image file") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"image {path} has far more than {max_pixels / 1e6:g} megapixels: shrink it, or give "
            "a larger --config.max_megapixels"
        ) from None
    except UnidentifiedImageError:
        raise InputError(f"image {path} is not an image that Pillow can read") from None
    except Exception as error:  # decoders fail on damaged files in all ways
        raise InputError(f"image {path} cannot be read: {error}") from None


@contextlib.contextmanager
def _limit(max_pixels: int) -> Iterator[None]:
    """Lets Pillow open what may be read; its own limit, which is of twice this, stays the least."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None if before is None else max(before, max_pixels)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def is_plain_tiff(path: str | pathlib.Path) -> bool:
    """Returns whether Pillow reads a TIFF as it is: 8 bits a channel, or one channel."""
    try:
        with _file(path, 10**12) as file:
            tags = getattr(file, "tag_v2", {})
            bits, samples = tags.get(_BITS, (1,)), tags.get(_SAMPLES, 1)
            plain = samples == 1 or (max(bits) <= 8 and samples == len(file.getbands()))
            return plain and (file.mode not in ("I", "F") or len(bits) == 1)
    except InputError:  # another reader may know it, or says what is wrong
        return False


def load_picture(
    path: str | pathlib.Path, *, channels: int = 0, background: str | None = "white"
) -> "Pictures":
    """Returns `load` of the same arguments as an array that a notebook shows."""
    return load(path, channels=channels, background=background).view(Pictures)


def has_image_suffix(path: pathlib.Path) -> bool:
    """Returns whether a file is an image by its name."""
    return path.is_file() and path.suffix.lower() in Image.registered_extensions()


_BITS, _SAMPLES, _ORIENTATION = 258, 277, 274  # tags of TIFF and EXIF
_UPRIGHT = {  # by its value, what puts rows and columns as they are meant
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


def orientation(path: str | pathlib.Path) -> int:
    """Returns how a camera held an image file (EXIF): 1 upright, 1 to 8."""
    with _file(path) as file:
        return file.getexif().get(_ORIENTATION, 1)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns pixels `[H, W, ...]` that lie as an orientation says as they are meant."""
    return _UPRIGHT.get(orientation, lambda same: same)(pixels)


def has_alpha(path: str | pathlib.Path) -> bool:
    """Returns whether an image file has transparency."""
    with _file(path) as file:
        return file.has_transparency_data


def has_holes(path: str | pathlib.Path) -> bool:
    """Returns whether an image file has transparent pixels."""
    with _file(path) as file:
        return file.convert("RGBA").getchannel("A").getextrema()[0] == 0


class Pictures(np.ndarray):
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
    if beyond or (low >= 0 and not isinstance(array, Pictures)):
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
    """Writes an image `[H, W, C]` in [-1, 1] to look at, as `shown`, with 8 bits per channel."""
    _to_pil(image).save(path)


def save_numbers(path: str | pathlib.Path, values: np.ndarray) -> None:
    """Writes numbers `[H, W, C]` as they are: uint8 of 1, 3 or 4 channels, or uint16 of one."""
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(path)


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


def data_uri(path: pathlib.Path, side: int, num_bytes: int) -> str:
    """Returns a picture as text for a page, in WebP.

    Args:
        path: its file.
        side: no side becomes longer, in pixels.
        num_bytes: what it may take; a picture with much in it becomes smaller.
    """
    with Image.open(path) as file:
        picture = file.convert("RGB")
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


def _to_unit(picture: Image.Image, behind: np.ndarray | None) -> np.ndarray:
    """Returns `[H, W, 1 or 3]` in [0, 1] with the alpha gone."""
    if picture.mode in _WIDE:
        return np.clip(np.asarray(picture, np.float64)[..., None] / 65535, 0, 1)
    if picture.mode == "F":
        values: np.ndarray = np.nan_to_num(np.asarray(picture, np.float64)[..., None])
        return np.clip(values / (255 if values.max() > 1 else 1), 0, 1)
    if picture.mode in ("1", "L") and not picture.has_transparency_data:
        return np.asarray(picture.convert("L"), np.float64)[..., None] / 255
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("RGB"), np.float64) / 255
    grey = picture.mode in ("LA", "La", "L")
    return _flatten(np.asarray(picture.convert("RGBA"), np.float64) / 255, grey, behind)


def _flatten(rgba: np.ndarray, grey: bool, behind: np.ndarray | None) -> np.ndarray:
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    if behind is not None:
        grey = grey and len(set(behind)) == 1
        colour = alpha * colour + (1 - alpha) * behind
    return colour[..., :1] if grey else colour


def _colour(name: str) -> np.ndarray:
    try:
        return np.array(ImageColor.getrgb(name)[:3]) / 255
    except ValueError:
        raise InputError(
            f"background {name!r} is no colour: give a name such as white, or #rrggbb"
        ) from None


def _with_channels(unit: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3 and unit.shape[-1] == 1:
        return np.repeat(unit, 3, axis=-1)
    if channels == 1 and unit.shape[-1] == 3:
        return unit @ np.array([[0.299], [0.587], [0.114]])  # ITU-R 601 luma
    return unit
