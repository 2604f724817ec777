"""Reads masks: class labels of a training image, or the inside of a composite."""

import pathlib
from collections.abc import Callable

import numpy as np

from consingan_jax.errors import InputError
from consingan_jax.images import formats
from consingan_jax.images.image_file import ImageFile
from consingan_jax.images.pixels import natural_range
from consingan_jax.nn.resize import Size

MAX_CLASSES = 256
CLUSTER_RADIUS = 16 / 255  # of the range; closer values may be one class with noise
MIN_SHARE = 0.005  # fraction of the pixels that a cluster needs to be a class
MAX_LABEL = 31  # integers up to this are labels, not brightness
DARK = 16  # of 255; label 0 of a palette of labels is at most this bright


def read_labels(
    path: str, shape: Size, *, turn: int, max_pixels: int
) -> tuple[np.ndarray, list[str]]:
    """Reads the mask of a training image.

    Labels are the values of the file, or the palette's indices if the palette has colours. After
    lossy compression, values are rounded to the nearest class.

    Args:
        path: the file.
        shape: (height, width) of the image.
        turn: EXIF orientation of the image's file.
        max_pixels: limit on height times width.

    Returns:
        `[H, W]`, and lines on how it was read.

    Raises:
        InputError: the mask is unreadable, coloured, of another size, or has too few or too many
            labels.
    """
    try:
        file = formats.read(path, max_pixels=max_pixels, is_mask=True)
    except InputError as error:
        raise InputError(f"config.mask: {error}") from None
    values = file.values if file.labels is None else file.labels[..., None]
    if file.alpha is not None and np.ptp(values) == 0:  # one colour: alpha is the mask
        values = np.rint(255 * file.alpha).astype(np.uint8)[..., None]
    mask, note = _turned_to_fit(values[..., 0], file, turn, lambda size: size == shape)
    if mask.shape != shape:
        raise InputError(
            f"config.mask={path} has {mask.shape[0]}x{mask.shape[1]} px, but the image "
            f"{shape[0]}x{shape[1]}: give a mask of the same size"
        )
    spread = np.ptp(values.astype(np.float64), axis=-1)
    if np.max(spread) > (CLUSTER_RADIUS * 255 if file.is_lossy else 0):
        raise InputError(f"config.mask={path} is coloured: give a grey one, a value for each class")
    if file.missing is not None:
        raise InputError(f"config.mask={path} has pixels without a value: give each its class")
    mask, lines = _without_noise(mask, file)
    labels = np.unique(mask)
    if not 2 <= len(labels) <= MAX_CLASSES:
        raise InputError(
            f"config.mask={path} has {len(labels)} values: give a mask of 2 to {MAX_CLASSES}"
        )
    palette = "the numbers of its palette" if file.labels is not None else ""
    line = f"mask: {path}, with the values {_words(labels)}"
    return mask, ["; ".join(filter(None, [line, palette, note])), *lines]


def _without_noise(mask: np.ndarray, file: ImageFile) -> tuple[np.ndarray, list[str]]:
    """Rounds the labels of a lossy file to classes; warns if those of another file need it."""
    labels, counts = np.unique(mask, return_counts=True)
    radius = CLUSTER_RADIUS * np.ptp(labels.astype(np.float64))
    free, found = np.full(labels.shape, True), []
    # Greedy clustering: the most frequent free label takes all free ones that are near.
    while free.any():
        centre = labels[free][counts[free].argmax()]
        near = free & (np.abs(labels - float(centre)) <= radius)
        found += [centre] if counts[near].sum() >= MIN_SHARE * mask.size else []
        free &= ~near
    centres = np.sort(np.array(found, labels.dtype))
    if file.is_lossy and 0 < len(centres) < len(labels):
        between = (centres[1:] / 2.0) + (centres[:-1] / 2.0)  # a sum of uint8 would overflow
        line = f"mask: its {len(labels)} values are taken as the nearest class"
        rare = f"what has less than {MIN_SHARE:.1%} of the pixels counts as noise of the JPEG"
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

    A pixel is inside if any channel is brighter than half. In a mask of labels (integers up to 31,
    or a palette whose entry 0 is black) every label but 0 is inside, and no negative one.

    Args:
        path: the file.
        fits: whether a mask of this (height, width) belongs to the composite.
        turn: EXIF orientation of the composite's file.
        max_pixels: limit on height times width.

    Returns:
        The mask, and a note on its orientation, which may be empty.

    Raises:
        InputError: the file cannot be read, or no pixel is inside.
    """
    try:
        file = formats.read(path, max_pixels=max_pixels, is_mask=True)
    except InputError as error:
        raise InputError(str(error).replace("image ", "mask ", 1)) from None
    inside = _brightness(file) * (1 if file.alpha is None else file.alpha) > 0.5
    if file.labels is not None and file.values[file.labels == 0].max(initial=0) <= DARK:
        inside = file.labels > 0
    if not inside.any():
        if file.alpha is not None and (file.alpha == 0).any():
            raise InputError(
                f"mask {path} has transparent pixels and no white ones: paint white what the model "
                "shall change, and all else black"
            )
        raise InputError(f"mask {path} is all black: paint white what the model shall change")
    mask, note = _turned_to_fit(inside, file, turn, fits)
    return mask.astype(np.float32), note


def _brightness(file: ImageFile) -> np.ndarray:
    """Returns the strongest channel, `[H, W]` in [0, 1]; for a mask of labels, 0 or 1."""
    values: np.ndarray = file.values.astype(np.float64)
    if file.white_is_zero:
        values = sum(natural_range(str(file.values.dtype), 0, file.bits)) - values
    values = np.max(np.nan_to_num(values, posinf=0, neginf=0), axis=-1)
    most = values.max()
    # Any dtype may hold an 8-bit mask, so that the values decide what is white.
    is_integer = file.values.dtype.kind != "f" or most > 1
    if most <= MAX_LABEL and is_integer and (values == np.rint(values)).all():
        return (values > 0).astype(np.float64)
    if most <= 255 and is_integer:
        return values / 255
    return values / (65535 if file.values.dtype == np.uint16 else max(most, 1))


def _turned_to_fit(
    mask: np.ndarray, file: ImageFile, turn: int, fits: Callable[[tuple[int, ...]], bool]
) -> tuple[np.ndarray, str]:
    """Returns a mask `[H, W]` in the orientation of its image, and a note if it may be wrong.

    A mask may have been painted on the stored pixels of a photo that has an EXIF orientation. It is
    turned like the photo only if it fits in that way alone.
    """
    turned = formats.upright(mask, turn)
    if turn == 1 or file.orientation != 1 or not fits(turned.shape):
        return mask, ""
    if fits(mask.shape):
        return mask, f"taken as upright, though its image was turned (EXIF {turn})"
    return turned, f"turned as its image was (EXIF {turn})"
