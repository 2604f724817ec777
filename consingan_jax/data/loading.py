"""Loads training images and composites as arrays in [-1, 1], and reports what was understood."""

import dataclasses
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import ImageColor

from consingan_jax.config import Config
from consingan_jax.data import formats, masks, pixels
from consingan_jax.data.display import ImageArray
from consingan_jax.data.formats import MAX_PIXELS
from consingan_jax.data.image_file import ImageFile
from consingan_jax.data.pixels import PixelFormat
from consingan_jax.errors import InputError

FAINT = 0.1  # of the range; an image that uses less is nearly of one brightness
CUT = 0.01  # of the pixels; more beyond the range are worth a warning
LUMA = np.array([[0.299], [0.587], [0.114]])  # ITU-R BT.601


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image as a model sees it.

    Attributes:
        pixels: `[H, W, C]`, float32 in [-1, 1]; the mask, if there is one, is the last channel.
        encoding: what the numbers of its file mean.
        notes: what was understood, and warnings; a line each.
        orientation: the EXIF orientation by which it was turned upright.
        is_faint: whether it uses little of the range of its numbers.
    """

    pixels: ImageArray
    encoding: PixelFormat
    notes: Sequence[str] = ()
    orientation: int = 1
    is_faint: bool = False


def load(
    path: str | pathlib.Path,
    *,
    channels: int = 0,
    background: str | None = "white",
    max_pixels: int = MAX_PIXELS,
) -> ImageArray:
    """Reads an image file of any format, depth and orientation.

    Whole numbers count from the least to the largest of their type, floats from 0 to 1, or to 255
    where one is above 2. What could not be used of the file is said as a Python warning.

    Args:
        path: the file.
        channels: 1 for grey, 3 for colour, 2 or 4 with alpha as a channel, 0 for what the file has.
        background: name or #rrggbb of the colour behind transparent pixels; None ignores alpha.
        max_pixels: an image of more is refused before it is decoded.

    Returns:
        `[H, W, C]`, float32 in [-1, 1], as an array that a notebook shows.

    Raises:
        InputError: no such file, not an image, or an unknown background colour.
    """
    file = formats.read(path, channels=channels, max_pixels=max_pixels)
    encoding = pixels.of_file(file)
    least, most = file.extremes
    looked_at = least < most and encoding.dtype != "uint8"  # of 8 bits a dark one is dark
    faint = _faint("picture", file, encoding) if looked_at else []
    for line in [*_losses("picture", file, encoding), *faint]:
        warnings.warn(line.removeprefix("warning: "), stacklevel=2)
    return levels_of(file, encoding, channels, background)


def read(config: Config) -> LoadedImage:
    """Reads the training image of a configuration, with its mask if it names one.

    Raises:
        InputError: a file cannot be read, or is not what the configuration says.
    """
    file = formats.read(config.image, channels=config.channels, max_pixels=config.max_pixels)
    from_data = config.value_range == "data"
    encoding = pixels.of_file(file, config.value_limits, from_data=from_data)
    levels = levels_of(file, encoding, config.channels, config.background)
    _check_channels(levels, file, config.channels)
    alpha = file.alpha is not None and config.channels in (2, 4)
    can = formats.writable(encoding.dtype, levels.shape[-1], alpha=alpha)
    suffix = file.path.suffix.lower() if file.path.suffix.lower() in can else can[0]
    encoding = dataclasses.replace(encoding, alpha=alpha, suffix=suffix)
    notes = _understood("image", file, encoding, config.channels, config.background)
    if config.mask:
        mask, said = masks.read_labels(
            config.mask, levels.shape[:2], turn=file.orientation, max_pixels=config.max_pixels
        )
        encoding = dataclasses.replace(encoding, labels=tuple(np.unique(mask).tolist()))
        levels = encoding.with_mask(levels, mask).view(ImageArray)
        notes += said
    is_faint = bool(_faint("image", file, encoding))
    return LoadedImage(levels, encoding, notes, file.orientation, is_faint)


def read_alike(
    path: str | pathlib.Path,
    config: Config,
    encoding: PixelFormat,
    channels: int,
    *,
    name: str = "composite",
) -> LoadedImage:
    """Reads another image for a model that was trained on one of this format.

    Its numbers count by its own type and polarity: see `PixelFormat.of_other`.

    Args:
        path: the file.
        config: of the model.
        encoding: of its training image.
        channels: how many it must have.
        name: of what it is, in the lines on it.
    """
    file = formats.read(path, channels=channels, max_pixels=config.max_pixels)
    if encoding.alpha and file.white_is_zero is None and file.values.shape[-1] == channels:
        file = encoding.with_alpha(file)  # an array does not say what its channels are
    own = encoding.of_other(file)
    levels = levels_of(file, own, channels, config.background)
    _check_channels(levels, file, channels)
    notes = _understood(name, file, own, channels, config.background)
    return LoadedImage(levels, own, notes, file.orientation)


def levels_of(
    file: ImageFile, encoding: PixelFormat, channels: int, background: str | None
) -> ImageArray:
    """Returns the image of a file in the channels wanted, `[H, W, C]` in [-1, 1]."""
    values = file.values
    if file.missing is not None:
        values = np.where(file.missing[..., None], encoding.low, values)
    behind = np.zeros(3) if background is None else _colour(background)
    plain = channels in (0, values.shape[-1]) or (channels == 3 and values.shape[-1] == 1)
    if file.alpha is None and plain:
        return _with_channels(encoding.decode(values), channels).view(ImageArray)
    unit = encoding.unit(values)
    if file.alpha is not None and channels in (2, 4):
        unit = np.concatenate([_with_channels(unit, channels - 1), file.alpha[..., None]], axis=-1)
    elif file.alpha is not None and background is not None:
        alpha = file.alpha[..., None]
        behind = behind[:1] if unit.shape[-1] == 1 and len(set(behind)) == 1 else behind
        unit = alpha * unit + (1 - alpha) * behind
    return (2 * _with_channels(unit, channels) - 1).astype(np.float32).view(ImageArray)


def _with_channels(unit: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3 and unit.shape[-1] == 1:
        return np.repeat(unit, 3, axis=-1)
    return unit @ LUMA if channels == 1 and unit.shape[-1] == 3 else unit


def _colour(name: str) -> np.ndarray:
    try:
        return np.array(ImageColor.getrgb(name)[:3]) / 255
    except ValueError:
        raise InputError(
            f"background {name!r} is no colour: give a name such as white, or #rrggbb"
        ) from None


def _check_channels(levels: np.ndarray, file: ImageFile, channels: int) -> None:
    if channels and levels.shape[-1] != channels:
        raise InputError(
            f"config.channels={channels}: image {file.path} has {levels.shape[-1]}: give that, or 0"
        )


def _understood(
    name: str, file: ImageFile, encoding: PixelFormat, channels: int, background: str
) -> list[str]:
    """Returns a line on what was understood of a file, and warnings; a line each."""
    height, width, count = file.values.shape
    parts = [
        f"{name}: {height}x{width} px, {count} channel{'s' * (count > 1)} of {file.values.dtype}, "
        f"values {file.extremes[0]:g} to {file.extremes[1]:g}",
        encoding.words(),
        *file.notes,
    ]
    if file.alpha is not None:
        behind = "a channel" if channels in (2, 4) else f"on {background}"
        parts.append(f"transparency: {behind}")
    if file.orientation != 1:
        parts.append(f"turned upright (EXIF {file.orientation})")
    lost = [f"warning: {line}" for line in _losses(name, file, encoding)]
    return ["; ".join(parts), *lost, *_faint(name, file, encoding)]


def _losses(name: str, file: ImageFile, encoding: PixelFormat) -> list[str]:
    """Returns sentences on what of a file is not used, or not as it is."""
    lines, missing, (low, high) = list(file.warnings), file.missing, encoding.limits
    least, most = file.extremes
    if missing is not None:
        what = "NaN or infinite" if file.nodata is None else f"nodata, {file.nodata:g}"
        share = f"{missing.sum()} pixels ({missing.mean():.2%})"
        lines.append(f"image {file.path}: {share} have no value ({what}): they become black")
    beyond = least < low or most > high
    if beyond and (cut := ((file.known < low) | (file.known > high)).mean()) > CUT:
        mend = _mend(name, file)
        lines.append(f"{cut:.1%} of the values are beyond {low:g} to {high:g} and are cut: {mend}")
    return lines


def _faint(name: str, file: ImageFile, encoding: PixelFormat) -> list[str]:
    """Returns the warning of an image that uses little of its range, if it does."""
    (low, high), (least, most) = encoding.limits, file.extremes
    used = (min(high, most) - max(low, least)) / (high - low)
    if used >= FAINT:
        return []
    median = encoding.decode(np.median(file.known)[None])[0]
    tone = "nearly black" if median < -0.8 else "nearly white" if median > 0.8 else "faint"
    words = f"the {name} uses {max(0.0, used):.1%} of that range, it is {tone}"
    return [f"warning: {words}: {_mend(name, file)}"]


def _mend(name: str, file: ImageFile) -> str:
    if name == "picture":
        return "give floats from 0 to 1, or from 0 to 255"
    if name != "image":
        return "give it in the numbers of the training image"
    least, most = file.extremes
    return f"give --config.value_range=data, or LOW,HIGH such as {least:g},{most:g}"
