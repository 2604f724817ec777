"""Reads masks: class labels of a training image, or the inside of a composite."""

import pathlib
from collections.abc import Callable

import numpy as np

from consingan_jax.data import formats
from consingan_jax.data.image_file import ImageFile
from consingan_jax.data.pixels import natural_range
from consingan_jax.errors import InputError
from consingan_jax.nn.resize import Size

MOST_LABELS = 256  # classes that a mask can have
CROWD = 16 / 255  # of the range; values of a mask that lie closer may be one
LEAST_SHARE = 0.005  # of the pixels, that a class has in a mask with noise
LABELS = 31  # a mask of whole numbers up to it has labels, not brightness
DARK = 16  # of 255; a palette whose number 0 is as dark is one of labels


def read_labels(
    path: str, shape: Size, *, turn: int, max_pixels: int
) -> tuple[np.ndarray, list[str]]:
    """Reads the mask of a training image.

    Values are the file's own numbers, those of a palette where it has colours. In a file that was
    compressed with loss, values that crowd around few are taken as these.

    Args:
        path: the file.
        shape: height and width of the image.
        turn: the EXIF orientation of the image's file.
        max_pixels: a mask of more is refused.

    Returns:
        `[H, W]`, and lines on what was understood.

    Raises:
        InputError: it cannot be read, is coloured, of another size, or has one value or too many.
    """
    try:
        file = formats.read(path, max_pixels=max_pixels, is_mask=True)
    except InputError as error:
        raise InputError(f"config.mask: {error}") from None
    values = file.values if file.labels is None else file.labels[..., None]
    if file.alpha is not None and np.ptp(values) == 0:  # the shape is in the transparency
        values = np.rint(255 * file.alpha).astype(np.uint8)[..., None]
    mask, said = turned_to_fit(values[..., 0], file, turn, lambda size: size == shape)
    if mask.shape != shape:
        raise InputError(
            f"config.mask={path} has {mask.shape[0]}x{mask.shape[1]} px, but the image "
            f"{shape[0]}x{shape[1]}: give a mask of the same size"
        )
    spread = np.ptp(values.astype(np.float64), axis=-1)
    if np.max(spread) > (CROWD * 255 if file.is_lossy else 0):
        raise InputError(f"config.mask={path} is coloured: give a grey one, a value for each class")
    if file.missing is not None:
        raise InputError(f"config.mask={path} has pixels without a value: give each its class")
    mask, lines = _without_noise(mask, file)
    labels = np.unique(mask)
    if not 2 <= len(labels) <= MOST_LABELS:
        raise InputError(
            f"config.mask={path} has {len(labels)} values: give a mask of 2 to {MOST_LABELS}"
        )
    words = "the numbers of its palette" if file.labels is not None else ""
    line = f"mask: {path}, with the values {_words(labels)}"
    return mask, ["; ".join(filter(None, [line, words, said])), *lines]


def _without_noise(mask: np.ndarray, file: ImageFile) -> tuple[np.ndarray, list[str]]:
    """Returns a mask without the noise of a lossy compression, and lines on it."""
    labels, counts = np.unique(mask, return_counts=True)
    width = CROWD * np.ptp(labels.astype(np.float64))
    free, found = np.full(labels.shape, True), []
    while free.any():
        centre = labels[free][counts[free].argmax()]
        near = free & (np.abs(labels - float(centre)) <= width)
        found += [centre] if counts[near].sum() >= LEAST_SHARE * mask.size else []
        free &= ~near
    centres = np.sort(np.array(found, labels.dtype))
    if file.is_lossy and 0 < len(centres) < len(labels):
        between = (centres[1:] / 2.0) + (centres[:-1] / 2.0)
        line = f"mask: its {len(labels)} values are taken as the nearest class"
        rare = f"what has less than {LEAST_SHARE:.1%} of the pixels counts as noise of the JPEG"
        return centres[np.searchsorted(between, mask)], [f"{line}; {rare}"]
    if file.labels is None and len(labels) > max(8, 4 * len(centres)):
        return mask, [
            f"warning: the {len(labels)} values of the mask crowd around {_words(centres)}: if "
            "these are the classes, give a mask with these values alone"
        ]
    return mask, []


def _words(labels: np.ndarray) -> str:
    return ", ".join(f"{label:g}" for label in labels)


def read_inside(
    path: str | pathlib.Path,
    fits: Callable[[tuple[int, ...]], bool],
    *,
    turn: int = 1,
    max_pixels: int = formats.MAX_PIXELS,
) -> tuple[np.ndarray, str]:
    """Reads the mask of a composite, `[H, W]` of 0 and 1.

    Inside is what is brighter than half in one of the channels. In a mask of labels (whole numbers
    up to 31, or those of a palette whose number 0 is black) all but 0 is; negative numbers are not.

    Args:
        path: the file.
        fits: whether a mask of a height and width belongs to the composite.
        turn: the EXIF orientation of the composite's file.
        max_pixels: a mask of more is refused.

    Returns:
        The mask, and words on how it was taken, empty if there is nothing to say.

    Raises:
        InputError: the file cannot be read, or nothing is inside.
    """
    try:
        file = formats.read(path, max_pixels=max_pixels, is_mask=True)
    except InputError as error:
        raise InputError(str(error).replace("image ", "mask ", 1)) from None
    bright = _brightness(file)
    bright = bright if file.alpha is None else bright * file.alpha
    inside = bright > 0.5
    if file.labels is not None and file.values[file.labels == 0].max(initial=0) <= DARK:
        inside = file.labels > 0
    if not inside.any():
        if file.alpha is not None and (file.alpha == 0).any():
            raise InputError(
                f"mask {path} has transparent pixels and no white ones: paint white what the model "
                "shall change, and all else black"
            )
        raise InputError(f"mask {path} is all black: paint white what the model shall change")
    mask, said = turned_to_fit(inside, file, turn, fits)
    return mask.astype(np.float32), said


def _brightness(file: ImageFile) -> np.ndarray:
    """Returns the brightness of the strongest channel, `[H, W]` from 0 to 1; of labels 0 or 1."""
    values: np.ndarray = file.values.astype(np.float64)
    if file.white_is_zero:
        low, high = natural_range(str(file.values.dtype), 0, file.bits)
        values = low + high - values
    values = np.max(np.nan_to_num(values, posinf=0, neginf=0), axis=-1)
    most = values.max()
    whole = file.values.dtype.kind != "f" or most > 1
    if most <= LABELS and whole and (values == np.rint(values)).all():
        return (values > 0).astype(np.float64)
    if most <= 255 and whole:
        return values / 255
    return values / (65535 if file.values.dtype == np.uint16 else max(most, 1))


def turned_to_fit(
    mask: np.ndarray, file: ImageFile, turn: int, fits: Callable[[tuple[int, ...]], bool]
) -> tuple[np.ndarray, str]:
    """Returns a mask `[H, W]` as it lies on its image, and words on how; empty if nothing is said.

    A mask may have been painted on the pixels as they lie in a file that a camera turned. It is
    turned as its image only where it fits so and does not as it is.
    """
    other = formats.upright(mask, turn)
    if turn == 1 or file.orientation != 1 or not fits(other.shape):
        return mask, ""
    if fits(mask.shape):
        return mask, f"taken as upright, though its image was turned (EXIF {turn})"
    return other, f"turned as its image was (EXIF {turn})"
