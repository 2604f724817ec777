"""A picture's file as an array, whatever its depth and number of channels."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from consingan_jax.config import Config
from consingan_jax.data import deep, image
from consingan_jax.data.encoding import LOSSLESS, Encoding
from consingan_jax.errors import InputError

FAINT = 0.1  # of the range; a picture that uses less is nearly of one brightness
MOST_LABELS = 256  # values that a mask can have


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A picture as a model sees it.

    Attributes:
        pixels: `[H, W, C]`, float32 in [-1, 1]; the mask, if there is one, is the last channel.
        encoding: what its numbers mean.
        notes: what was found, and what should be known; a line each.
    """

    pixels: np.ndarray
    encoding: Encoding
    notes: Sequence[str] = ()


def read(config: Config) -> Source:
    """Reads the training image of a configuration, with its mask if it names one.

    Raises:
        InputError: a file cannot be read, or is not what the configuration says.
    """
    path = pathlib.Path(config.image)
    values, depth = _numbers(path, config)
    low, high = _range(values, depth, config, path)
    suffix = path.suffix.lower() if path.suffix.lower() in LOSSLESS else ".png"
    encoding = Encoding(low, high, depth, suffix)
    pixels, notes = _decoded(path, values, encoding, config), [_found(values, encoding)]
    used = (min(high, values.max()) - max(low, values.min())) / (high - low)
    if used < FAINT:
        low, high = float(values.min()), float(values.max())
        notes.append(
            f"warning: the picture uses {max(0.0, used):.1%} of that range: give "
            f"--config.value_range=data, or LOW,HIGH such as {low:g},{high:g}"
        )
    if config.mask:
        labels, mask = _mask(pathlib.Path(config.mask), pixels.shape)
        encoding = dataclasses.replace(encoding, labels=labels)
        pixels = encoding.with_mask(pixels, mask)
        notes.append(f"mask: {config.mask}, with the values {', '.join(f'{v:g}' for v in labels)}")
    return Source(pixels, encoding, notes)


def read_alike(path: str, config: Config, encoding: Encoding, channels: int) -> np.ndarray:
    """Returns another picture as a model sees it that was trained on one of this encoding."""
    alike, file = dataclasses.replace(config, channels=channels), pathlib.Path(path)
    return _decoded(file, _numbers(file, alike)[0], encoding, alike)


def _decoded(path: pathlib.Path, values: np.ndarray, encoding: Encoding, config: Config):
    """Returns numbers as a picture; that of 8 bits is as exact as the file."""
    if encoding.is_plain and encoding.suffix != ".npy" and values.shape[-1] in (1, 3):
        return image.load(
            path,
            channels=config.channels,
            background=config.background,
            max_pixels=config.max_pixels,
        )
    return encoding.decode(values)


def _found(values: np.ndarray, encoding: Encoding) -> str:
    height, width, count = values.shape
    channels = "1 channel" if count == 1 else f"{count} channels"
    return (
        f"image: {height}x{width} px, {channels} of {encoding.dtype}, "
        f"values {values.min():g} to {values.max():g}; {encoding.words()}"
    )


def _range(
    values: np.ndarray, depth: str, config: Config, path: pathlib.Path
) -> tuple[float, float]:
    """Returns the numbers that are black and white."""
    given = config.value_limits
    if given is not None:
        return given
    if config.value_range == "data":
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if low == high:
            raise InputError(f"image {path}: every value is {low:g}: give a picture")
        return low, high
    if depth.startswith("uint"):
        return 0.0, float(np.iinfo(depth).max)
    return 0.0, 255.0 if np.nanmax(values) > 1 else 1.0


def _numbers(path: pathlib.Path, config: Config) -> tuple[np.ndarray, str]:
    """Returns the numbers `[H, W, C]` of a file, in the channels wanted, and their depth."""
    values, depth = _deep(path, config), ""
    if values is not None:
        depth, alpha = str(values.dtype), values.shape[-1] in (2, 4) and path.suffix == ".png"
        if alpha and config.channels != values.shape[-1]:  # transparency
            values = values[..., :-1]
        if config.channels == 3 and values.shape[-1] == 1:
            values = np.repeat(values, 3, axis=-1)
        elif config.channels == 1 and values.shape[-1] == 3:
            values = (values @ np.array([[0.299], [0.587], [0.114]])).astype(values.dtype)
    elif config.channels in (2, 4) and image.has_alpha(path):
        values, depth = image.load_with_alpha(path, config.max_pixels), "uint8"
    else:
        wanted = config.channels if config.channels in (1, 3) else 0
        values, depth = image.load_numbers(
            path, channels=wanted, background=config.background, max_pixels=config.max_pixels
        )
    return _checked(values, config, path), depth


def _checked(values: np.ndarray, config: Config, path: pathlib.Path) -> np.ndarray:
    if config.channels and values.shape[-1] != config.channels:
        raise InputError(
            f"config.channels={config.channels}: image {path} has {values.shape[-1]}: give that, "
            "or 0"
        )
    return values


def _deep(path: pathlib.Path, config: Config) -> np.ndarray | None:
    """Returns the numbers of a file that Pillow would not give as they are, None of all others."""
    if not path.is_file():
        return None
    suffix, most = path.suffix.lower(), config.max_pixels
    if suffix == ".npy":
        return deep.read_array(path, most)
    if suffix in (".tif", ".tiff"):
        plain = image.is_plain_tiff(path) and config.channels in (0, 1, 3, 4)
        return None if plain else deep.read_tiff(path, most, config.channels)
    return deep.read_png(path, most) if suffix == ".png" and deep.is_png(path) else None


def _mask(path: pathlib.Path, shape: tuple[int, ...]) -> tuple[tuple[float, ...], np.ndarray]:
    """Returns the values of a mask file, and the mask `[H, W]`."""
    try:
        values = _deep(path, Config())
        if values is None:
            values = np.rint(image.load_numbers(path, background=None)[0])
    except InputError as error:
        raise InputError(f"config.mask: {error}") from None
    if values.shape[:2] != shape[:2]:
        raise InputError(
            f"config.mask={path} has {values.shape[0]}x{values.shape[1]} px, but the image "
            f"{shape[0]}x{shape[1]}: give a mask of the same size"
        )
    if values.shape[-1] > 1 and not (values == values[..., :1]).all():
        raise InputError(f"config.mask={path} is coloured: give a grey one, a value for each class")
    labels = np.unique(values[..., 0])
    if not 2 <= len(labels) <= MOST_LABELS:
        raise InputError(
            f"config.mask={path} has {len(labels)} values: give a mask of 2 to {MOST_LABELS}"
        )
    return tuple(labels.tolist()), values[..., 0]
