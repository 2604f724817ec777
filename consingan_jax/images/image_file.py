"""Content of an image file in its own pixel values, and the checks that all decoders share."""

import dataclasses
import functools
import importlib.util
import pathlib
from typing import Any, NamedTuple

import numpy as np

from consingan_jax.errors import InputError


class DecodeOptions(NamedTuple):
    """Number of channels wanted (0: as the file has them), and the pixel limit of an image."""

    channels: int
    max_pixels: int


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFile:
    """Pixel values as a file stores them, and the metadata that gives them a meaning.

    Attributes:
        path: the file.
        values: `[H, W, C]` without alpha: uint8, int16, uint16, int32, uint32 or float32.
        alpha: `[H, W]`, opacity in [0, 1]; None without transparency.
        labels: `[H, W]`, palette indices; None unless the file has a palette with colours.
        space: "L" (every channel is a grey of its own), "RGB", "CMYK", "LAB", or "" if unknown.
        white_is_zero: whether the smallest value is white; None if the format cannot say.
        nodata: the value that marks a missing pixel.
        bits: significant bits of a value; 0 for all bits of the dtype.
        profile: ICC profile.
        orientation: EXIF orientation, 1 to 8.
        is_lossy: whether the compression is lossy.
        notes: remarks on the decoding, a few words each.
        warnings: sentences on content that was ignored.
    """

    path: pathlib.Path
    values: np.ndarray
    alpha: np.ndarray | None = None
    labels: np.ndarray | None = None
    space: str = ""
    white_is_zero: bool | None = False
    nodata: float | None = None
    bits: int = 0
    profile: bytes = b""
    orientation: int = 1
    is_lossy: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @functools.cached_property
    def missing(self) -> np.ndarray | None:
        """`[H, W]`, whether a pixel is nodata or not finite; None if no pixel is."""
        is_float = self.values.dtype == np.float32
        if not is_float and self.nodata is None:
            return None
        missing = ~np.isfinite(self.values)
        if self.nodata is not None:
            # The tag is decimal text: only after rounding to float32 does it equal the pixels.
            missing |= self.values == (np.float32(self.nodata) if is_float else self.nodata)
        return missing.any(-1) if missing.any() else None

    @functools.cached_property
    def known(self) -> np.ndarray:
        """Values of all pixels that are neither missing nor fully transparent, flattened."""
        known = None if self.missing is None else ~self.missing
        if self.alpha is not None and (self.alpha > 0).any():
            known = self.alpha > 0 if known is None else known & (self.alpha > 0)
        return (self.values if known is None else self.values[known]).reshape(-1)

    @functools.cached_property
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest known value."""
        return float(self.known.min()), float(self.known.max())


def is_installed(module: str) -> bool:
    """Returns whether a library is installed."""
    return importlib.util.find_spec(module.replace("-", "_")) is not None


def require(module: str, path: pathlib.Path, extra: str) -> None:
    """Raises an InputError if a library that a file needs is not installed."""
    if not is_installed(module):
        raise InputError(
            f"image {path} needs {module}: python -m pip install {module} (the extra {extra})"
        )


def check_pixels(path: pathlib.Path, height: int, width: int, options: DecodeOptions) -> None:
    """Raises an InputError if an image has more pixels than may be decoded."""
    if height * width > options.max_pixels:
        raise InputError(
            f"image {path} has {height}x{width} px, more than {options.max_pixels / 1e6:g} "
            f"megapixels: shrink it, or give --config.max_megapixels={-(-height * width // 10**6)}"
        )


def supported(values: np.ndarray, path: pathlib.Path) -> np.ndarray:
    """Returns values as `[H, W, C]` in a dtype that `ImageFile` has.

    Raises:
        InputError: the array is not numeric, needs more than 32 bits, or is not an image.
    """
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not values.size:
        raise InputError(f"image {path} has the shape {values.shape}: give [H, W] or [H, W, C]")
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return 255 * values.astype(np.uint8)
    dtype: Any = {"f": "f4", "i": "i2" if size < 4 else "i4", "u": f"u{size}"}.get(kind)
    if kind in "iu" and size == 8:  # NumPy's default integer: the values decide whether 32 bits do
        least, most, types = values.min(), values.max(), (np.iinfo("i4"), np.iinfo("u4"))
        dtype = next((t.dtype for t in types if t.min <= least and most <= t.max), None)
    if dtype is None:
        raise InputError(f"image {path} is of {values.dtype}: give float32 or smaller numbers")
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, hence `missing`
        return np.asarray(values, dtype)


def split_alpha(
    values: np.ndarray, path: pathlib.Path, alpha: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns `supported` values, and the opacity `[H, W]` that was their last channel.

    Args:
        values: the array that a library decoded.
        path: its file.
        alpha: "straight", "associated" if colours are premultiplied, or "" without alpha.
    """
    values = supported(values, path)
    if not alpha:
        return values, None
    top = 1.0 if values.dtype == np.float32 else float(np.iinfo(values.dtype).max)
    values, opacity = values[..., :-1], np.clip(values[..., -1] / top, 0, 1)
    if alpha == "associated":
        straight = values / np.maximum(opacity, 1e-6)[..., None]
        values = (straight if top == 1 else straight.clip(0, top).round()).astype(values.dtype)
    return values, opacity


def unused_pages(count: int, used: int, kind: str, *, selectable: bool = False) -> tuple[str, ...]:
    """Returns a warning if only some pages are used; `selectable` ones could become channels."""
    hint = f"; --config.channels={count} takes all as channels" if selectable else ""
    return () if count == used else (f"only the first of {count} {kind} is used{hint}",)
