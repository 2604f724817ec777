"""Loads training images and composites as arrays in [-1, 1], and reports how they were read."""

import dataclasses
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import ImageColor

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.images import formats, masks, pixels
from consingan_jax.images.display import ImageArray
from consingan_jax.images.formats import MAX_PIXELS
from consingan_jax.images.image_file import ImageFile
from consingan_jax.images.pixels import PixelFormat

FAINT = 0.1  # fraction of the range; an image that spans less is warned of
CUT = 0.01  # fraction of the values; more outside of the range are warned of
LUMA = np.array([[0.299], [0.587], [0.114]])  # ITU-R BT.601


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image as a model sees it.

    Attributes:
        pixels: `[H, W, C]`, float32 in [-1, 1]; the mask, if any, is the last channel.
        encoding: meaning of the values of its file.
        notes: how it was read, and warnings, a line each.
        orientation: EXIF orientation of the file, from which it was turned upright.
        is_faint: whether it spans a small part of its range.
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

    Integers are scaled from the range of their dtype; floats from [0, 1], or from [0, 255] if a
    value is above 2. Content that is not used is reported as a Python warning.

    Args:
        path: the file.
        channels: 1 for grey, 3 for colour, 2 or 4 with alpha as a channel, 0 as the file has it.
        background: name or #rrggbb of the colour behind transparent pixels; None ignores alpha.
        max_pixels: limit on height times width, checked before decoding.

    Returns:
        `[H, W, C]`, float32 in [-1, 1], as an array that a notebook displays as an image.

    Raises:
        InputError: the file is missing or not an image, or the colour is unknown.
    """
    file = formats.read(path, channels=channels, max_pixels=max_pixels)
    encoding = pixels.of_file(file)
    least, most = file.extremes
    # A dark 8-bit image is dark; at other depths it has probably another range.
    may_be_faint = least < most and encoding.dtype != "uint8"
    faint = _faint("picture", file, encoding) if may_be_faint else []
    for line in [*_losses("picture", file, encoding), *faint]:
        warnings.warn(line.removeprefix("warning: "), stacklevel=2)
    return _scaled(file, encoding, channels, background)


def read(config: Config) -> LoadedImage:
    """Reads the training image of a configuration, and its mask if there is one.

    Raises:
        InputError: a file cannot be read, or does not fit the configuration.
    """
    file = formats.read(config.image, channels=config.channels, max_pixels=config.max_pixels)
    from_data = config.value_range == "data"
    encoding = pixels.of_file(file, config.value_limits, from_data=from_data)
    levels = _scaled(file, encoding, config.channels, config.background)
    _check_channels(levels, file, config.channels)
    alpha = file.alpha is not None and config.channels in (2, 4)
    suffixes = formats.writable(encoding.dtype, levels.shape[-1], alpha=alpha)
    suffix = file.path.suffix.lower() if file.path.suffix.lower() in suffixes else suffixes[0]
    encoding = dataclasses.replace(encoding, alpha=alpha, suffix=suffix)
    notes = _notes("image", file, encoding, config.channels, config.background)
    if config.mask:
        mask, mask_notes = masks.read_labels(
            config.mask, levels.shape[:2], turn=file.orientation, max_pixels=config.max_pixels
        )
        encoding = dataclasses.replace(encoding, labels=tuple(np.unique(mask).tolist()))
        levels = encoding.with_mask(levels, mask).view(ImageArray)
        notes += mask_notes
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
    """Reads another image, such as a composite, for a model.

    Its values are scaled by its own dtype and polarity; see `PixelFormat.of_other`.

    Args:
        path: the file.
        config: the model's configuration.
        encoding: format of the model's training image.
        channels: required number of channels.
        name: what the notes call the image.
    """
    file = formats.read(path, channels=channels, max_pixels=config.max_pixels)
    if encoding.alpha and file.white_is_zero is None and file.values.shape[-1] == channels:
        file = encoding.with_alpha(file)  # an array cannot say which channel is alpha
    own = encoding.of_other(file)
    levels = _scaled(file, own, channels, config.background)
    _check_channels(levels, file, channels)
    notes = _notes(name, file, own, channels, config.background)
    return LoadedImage(levels, own, notes, file.orientation)


def _scaled(
    file: ImageFile, encoding: PixelFormat, channels: int, background: str | None
) -> ImageArray:
    """Returns an image in [-1, 1] with the channels wanted, `[H, W, C]`."""
    values = file.values
    if file.missing is not None:
        values = np.where(file.missing[..., None], encoding.low, values)
    colour = np.zeros(3) if background is None else _rgb(background)  # refuses unknown ones always
    is_copy = channels in (0, values.shape[-1]) or (channels == 3 and values.shape[-1] == 1)
    if file.alpha is None and is_copy:  # `decode` has a table for this, which is faster
        return _with_channels(encoding.decode(values), channels).view(ImageArray)
    unit = encoding.unit(values)
    if file.alpha is not None and channels in (2, 4):
        unit = np.concatenate([_with_channels(unit, channels - 1), file.alpha[..., None]], axis=-1)
    elif file.alpha is not None and background is not None:
        alpha = file.alpha[..., None]
        # A grey image stays grey unless the background has a colour.
        colour = colour[:1] if unit.shape[-1] == 1 and len(set(colour)) == 1 else colour
        unit = alpha * unit + (1 - alpha) * colour
    return (2 * _with_channels(unit, channels) - 1).astype(np.float32).view(ImageArray)


def _with_channels(unit: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3 and unit.shape[-1] == 1:
        return np.repeat(unit, 3, axis=-1)
    return unit @ LUMA if channels == 1 and unit.shape[-1] == 3 else unit


def _rgb(name: str) -> np.ndarray:
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


def _notes(
    name: str, file: ImageFile, encoding: PixelFormat, channels: int, background: str
) -> list[str]:
    """Returns a line that says how a file was read, followed by the warnings."""
    (height, width, count), (least, most) = file.values.shape, file.extremes
    parts = [
        f"{name}: {height}x{width} px, {count} channel{'s' * (count > 1)} of {file.values.dtype}, "
        f"values {least:g} to {most:g}",
        f"{encoding.low:g} is black and {encoding.high:g} is white",
        *file.notes,
    ]
    if file.alpha is not None:
        parts += [f"transparency: {'a channel' if channels in (2, 4) else f'on {background}'}"]
    if file.orientation != 1:
        parts += [f"turned upright (EXIF {file.orientation})"]
    lost = [f"warning: {line}" for line in _losses(name, file, encoding)]
    return ["; ".join(parts), *lost, *_faint(name, file, encoding)]


def _losses(name: str, file: ImageFile, encoding: PixelFormat) -> list[str]:
    """Returns sentences on the content of a file that is not used, or is changed."""
    lines, (low, high), (least, most) = list(file.warnings), encoding.limits, file.extremes
    if file.missing is not None:
        reason = "NaN or infinite" if file.nodata is None else f"nodata, {file.nodata:g}"
        share = f"{file.missing.sum()} pixels ({file.missing.mean():.2%})"
        lines.append(f"image {file.path}: {share} have no value ({reason}): they become black")
    is_outside = least < low or most > high
    if is_outside and (cut := ((file.known < low) | (file.known > high)).mean()) > CUT:
        hint = _range_hint(name, file)
        lines.append(f"{cut:.1%} of the values are beyond {low:g} to {high:g} and are cut: {hint}")
    return lines


def _faint(name: str, file: ImageFile, encoding: PixelFormat) -> list[str]:
    """Returns a warning if an image spans less than `FAINT` of its range."""
    (low, high), (least, most) = encoding.limits, file.extremes
    used = (min(high, most) - max(low, least)) / (high - low)
    if used >= FAINT:
        return []
    median = encoding.decode(np.median(file.known)[None])[0]
    tone = "nearly black" if median < -0.8 else "nearly white" if median > 0.8 else "faint"
    line = f"warning: the {name} uses {max(0.0, used):.1%} of that range, it is {tone}"
    return [f"{line}: {_range_hint(name, file)}"]


def _range_hint(name: str, file: ImageFile) -> str:
    if name == "picture":
        return "give floats from 0 to 1, or from 0 to 255"
    if name != "image":
        return "give it in the numbers of the training image"
    least, most = file.extremes
    return f"give --config.value_range=data, or LOW,HIGH such as {least:g},{most:g}"
