"""Converts between the pixel values of a file and arrays in [-1, 1]."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from consingan_jax.data import formats
from consingan_jax.data.image_file import ImageFile
from consingan_jax.data.profiles import FLOAT_WHITE
from consingan_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class PixelFormat:
    """How the numbers of a file stand for brightness.

    Attributes:
        low: the number that is black, -1 in an array; above `high` where the smallest is white.
        high: the number that is white, 1 in an array.
        dtype: of the numbers.
        suffix: of the files to write.
        labels: what the last channel can be, sorted, where it is a mask; else empty.
        alpha: whether the last of 2 or 4 channels, before the mask, is transparency.
        profile: whether colour files are said to be sRGB, because the training image said so.
    """

    low: float = 0.0
    high: float = 255.0
    dtype: str = "uint8"
    suffix: str = ".png"
    labels: tuple[float, ...] = ()
    alpha: bool = False
    profile: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest number."""
        return min(self.low, self.high), max(self.low, self.high)

    @property
    def white_is_zero(self) -> bool:
        """Whether the smallest number is white."""
        return self.low > self.high

    def unit(self, values: np.ndarray) -> np.ndarray:
        """Returns numbers as brightness from 0 to 1; beyond the range is cut."""
        return np.clip((values.astype(np.float64) - self.low) / (self.high - self.low), 0, 1)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Returns numbers `[H, W, C]` as an image, float32 in [-1, 1]."""
        if values.dtype in (np.uint8, np.uint16):  # each number once, not each pixel
            every = np.arange(np.iinfo(values.dtype).max + 1)
            return (2 * self.unit(every) - 1).astype(np.float32)[values]
        return (2 * self.unit(values) - 1).astype(np.float32)

    def encode(self, picture: np.ndarray) -> np.ndarray:
        """Returns an image `[H, W, C]` as the numbers of a file, its mask not among them."""
        picture = np.asarray(picture)
        unit = np.clip((picture[..., :-1] if self.labels else picture) / 2 + 0.5, 0, 1)
        unit = unit.astype(np.float64)  # float32 rounds the largest int32 up
        values = self.low + (self.high - self.low) * unit
        if self._has_alpha(values.shape[-1]):
            values[..., -1] = natural_range(self.dtype, 1)[1] * unit[..., -1]
        return (values if self.dtype == "float32" else np.rint(values)).astype(self.dtype)

    def _has_alpha(self, channels: int) -> bool:
        return self.alpha and channels in (2, 4)

    def numbers(self, picture: np.ndarray) -> np.ndarray:
        """Returns an image `[H, W, C]` as numbers of one type, its mask as the last channel."""
        values, mask = self.encode(picture), self.mask(picture)
        if mask is not None:
            values = np.concatenate([values, mask[..., None]], axis=-1)
        return values.astype(self.number_type)

    @property
    def number_type(self) -> np.dtype:
        """The type of `numbers`: as the file's, wide enough for the mask's values."""
        return np.result_type(self.dtype, *([self._label_type] if self.labels else []))

    @property
    def _label_type(self) -> np.dtype:
        if any(label != round(label) for label in self.labels):
            return np.dtype(np.float32)
        return np.result_type(*(np.min_scalar_type(round(label)) for label in self.labels))

    def mask(self, picture: np.ndarray) -> np.ndarray | None:
        """Returns the mask of an image, `[H, W]`, each value one of `labels`; None without."""
        return self.nearest(np.asarray(picture)[..., -1]) if self.labels else None

    def with_mask(self, picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns an image with a mask `[H, W]` of `labels` as one more channel."""
        channel = self._places()[np.searchsorted(self.labels, mask)]
        return np.concatenate([picture, channel[..., None].astype(np.float32)], axis=-1)

    def nearest(self, channel: np.ndarray) -> np.ndarray:
        """Returns a channel in [-1, 1] as the labels that are nearest to it."""
        last = len(self.labels) - 1
        place = np.rint((channel.astype(np.float64) + 1) / 2 * last).clip(0, last).astype(np.intp)
        return np.array(self.labels)[place].astype(self._label_type)

    def _places(self) -> np.ndarray:
        """Returns where on [-1, 1] the labels lie: all equally far apart, whatever they are."""
        return np.linspace(-1, 1, len(self.labels))

    def of_other(self, file: ImageFile) -> "PixelFormat":
        """Returns the format of another image, such as a composite, for a model of this one.

        Numbers of the same type count as those of this one, and so do floats where this range is
        not simply all that its type can be. All others count by the range of their own type.
        """
        dtype, inverted = str(file.values.dtype), file.white_is_zero
        low, high = self.limits
        has_units = (low, high) != natural_range(self.dtype, high)
        if dtype != self.dtype and not (dtype == "float32" and has_units):
            return of_file(file)
        inverted = self.white_is_zero if inverted is None else inverted
        if inverted != self.white_is_zero:
            low, high = self._mirror(high), self._mirror(low)
        return PixelFormat(*((high, low) if inverted else (low, high)), dtype)

    def with_alpha(self, file: ImageFile) -> ImageFile:
        """Returns an array whose last channel is transparency, as `save` writes it."""
        alpha = file.values[..., -1] / natural_range(str(file.values.dtype), 1)[1]
        return dataclasses.replace(file, values=file.values[..., :-1], alpha=alpha)

    def _mirror(self, values: Any) -> Any:
        """Returns numbers with black and white exchanged, as viewers do with white-is-zero."""
        unsigned = self.dtype.startswith("uint")
        return (np.iinfo(self.dtype).max if unsigned else self.low + self.high) - values

    def check(self, path: pathlib.Path, channels: int) -> None:
        """Raises an InputError unless `save` can write images of so many channels, mask included.

        Args:
            path: the file to write.
            channels: of the image as the model has it.
        """
        about = (self.dtype, channels - bool(self.labels))
        if reason := formats.refusal(path.suffix.lower(), *about, alpha=self.alpha):
            others = ", ".join(formats.writable(*about, alpha=self.alpha))
            raise InputError(f"out={path}: {reason}: give a name ending in {others} or .zarr")

    def save(self, path: pathlib.Path, picture: np.ndarray) -> list[pathlib.Path]:
        """Writes an image in its own numbers, and its mask beside it as NAME_mask.png or .npy.

        Args:
            path: the file, with a suffix that `check` lets pass.
            picture: `[H, W, C]` in [-1, 1].

        Returns:
            The files that were written.
        """
        values, mask = self.encode(picture), self.mask(picture)
        if self.white_is_zero and path.suffix.lower() == ".png":  # which cannot say it: looks alike
            colours = slice(0, -1 if self._has_alpha(values.shape[-1]) else None)
            values[..., colours] = self._mirror(values[..., colours].astype(np.float64))
        formats.write(path, values, **self.meaning(values.shape[-1]))
        if mask is None:
            return [path]
        suffix = ".png" if mask.dtype in (np.uint8, np.uint16) else ".npy"
        beside = path.with_name(f"{path.stem}_mask{suffix}")
        formats.write(beside, mask[..., None])
        return [path, beside]

    def meaning(self, channels: int) -> dict[str, bool]:
        """Returns what a file of so many channels is told of its numbers; see `formats.write`."""
        about = {"white_is_zero": self.white_is_zero, "profile": self.profile}
        return {"alpha": self._has_alpha(channels), **about}

    def words(self) -> str:
        """Returns in words what is black and what is white."""
        return f"{self.low:g} is black and {self.high:g} is white"

    def to_dict(self) -> dict[str, Any]:
        """Returns it in plain JSON types."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}

    @classmethod
    def restore(cls, saved: dict[str, Any] | None) -> "PixelFormat":
        """Returns what `to_dict` returned; earlier versions knew 8 bits alone."""
        if saved is None:
            return cls()
        saved = {"alpha": saved["suffix"] == ".png", **saved}  # before it was said
        return cls(**{**saved, "labels": tuple(saved["labels"])})


def of_file(
    file: ImageFile, limits: tuple[float, float] | None = None, *, from_data: bool = False
) -> PixelFormat:
    """Returns the format of an image file.

    Args:
        file: the image.
        limits: the smallest and the largest number; None: all that the type can be.
        from_data: whether these are the image's own least and largest number instead.

    Raises:
        InputError: the range is empty, or the file's type cannot hold it.
    """
    dtype = str(file.values.dtype)
    natural = natural_range(dtype, file.extremes[1], file.bits)
    if from_data:
        limits = file.extremes
        if limits[0] == limits[1]:
            raise InputError(f"image {file.path}: every value is {limits[0]:g}: give an image")
    least, most = natural_range(dtype, 0)
    if limits and dtype != "float32" and not least <= limits[0] < limits[1] <= most:
        raise InputError(
            f"config.value_range={limits[0]:g},{limits[1]:g}: image {file.path} is of {dtype}: "
            f"give numbers from {least:g} to {most:g}"
        )
    low, high = limits or natural
    low, high = (high, low) if file.white_is_zero else (low, high)
    return PixelFormat(low, high, dtype, profile=bool(file.profile))


def natural_range(dtype: str, largest: float, bits: int = 0) -> tuple[float, float]:
    """Returns the smallest and the largest number of a type.

    Args:
        dtype: the type; floats count to 1, or to 255.
        largest: number that there is; it decides of floats.
        bits: how many of the type's count; 0: all.
    """
    if dtype == "float32":
        return 0.0, 255.0 if largest > FLOAT_WHITE else 1.0
    about = np.iinfo(dtype)
    unused = about.bits - (bits or about.bits)
    return float(about.min >> unused), float(about.max >> unused)
