"""Converts between the pixel values of a file and arrays in [-1, 1]."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from consingan_jax.errors import InputError
from consingan_jax.images import formats
from consingan_jax.images.image_file import ImageFile
from consingan_jax.images.profiles import FLOAT_WHITE


@dataclasses.dataclass(frozen=True)
class PixelFormat:
    """Which pixel values of a file are black and white, and how images are written back.

    Attributes:
        low: the value of black, -1 in an array; above `high` if the smallest value is white.
        high: the value of white, 1 in an array.
        dtype: of the values.
        suffix: of the files to write.
        labels: sorted labels of the mask in the last channel; empty without a mask.
        alpha: whether the last of 2 or 4 channels, not counting the mask, is transparency.
        profile: whether files with colours embed the sRGB profile, as the training image had one.
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
        """The smallest and the largest value."""
        return min(self.low, self.high), max(self.low, self.high)

    @property
    def white_is_zero(self) -> bool:
        """Whether the smallest value is white."""
        return self.low > self.high

    def unit(self, values: np.ndarray) -> np.ndarray:
        """Converts file values to brightness in [0, 1], clipped, in float64."""
        return np.clip((values.astype(np.float64) - self.low) / (self.high - self.low), 0, 1)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Converts file values `[H, W, C]` to an image, float32 in [-1, 1]."""
        if values.dtype in (np.uint8, np.uint16):  # a table is faster, and needs less memory
            every = np.arange(np.iinfo(values.dtype).max + 1)
            return (2 * self.unit(every) - 1).astype(np.float32)[values]
        return (2 * self.unit(values) - 1).astype(np.float32)

    def encode(self, image: np.ndarray) -> np.ndarray:
        """Converts an image `[H, W, C]` in [-1, 1] to file values, without its mask."""
        image = np.asarray(image)
        unit = np.clip((image[..., :-1] if self.labels else image) / 2 + 0.5, 0, 1)
        unit = unit.astype(np.float64)  # float32 would round the largest int32 up, out of range
        values = self.low + (self.high - self.low) * unit
        if self._has_alpha(values.shape[-1]):
            values[..., -1] = natural_range(self.dtype, 1)[1] * unit[..., -1]
        return (values if self.dtype == "float32" else np.rint(values)).astype(self.dtype)

    def _has_alpha(self, channels: int) -> bool:
        return self.alpha and channels in (2, 4)

    def numbers(self, image: np.ndarray) -> np.ndarray:
        """Converts an image `[H, W, C]` to `number_type`, with its mask as the last channel."""
        values, mask = self.encode(image), self.mask(image)
        if mask is not None:
            values = np.concatenate([values, mask[..., None]], axis=-1)
        return values.astype(self.number_type)

    @property
    def number_type(self) -> np.dtype:
        """The smallest dtype that holds both file values and labels."""
        return np.result_type(self.dtype, *([self._label_type] if self.labels else []))

    @property
    def _label_type(self) -> np.dtype:
        if any(label != round(label) for label in self.labels):
            return np.dtype(np.float32)
        return np.result_type(*(np.min_scalar_type(round(label)) for label in self.labels))

    def mask(self, image: np.ndarray) -> np.ndarray | None:
        """Returns the nearest labels of the mask channel, `[H, W]`; None without a mask."""
        if not self.labels:
            return None
        last = len(self.labels) - 1
        position = (np.asarray(image)[..., -1].astype(np.float64) + 1) / 2 * last
        index = np.rint(position).clip(0, last).astype(np.intp)
        return np.array(self.labels)[index].astype(self._label_type)

    def with_mask(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns an image with a mask `[H, W]` of `labels` as one more channel."""
        # Labels are spaced evenly on [-1, 1]: their numbers say nothing about distance.
        channel = np.linspace(-1, 1, len(self.labels))[np.searchsorted(self.labels, mask)]
        return np.concatenate([image, channel[..., None].astype(np.float32)], axis=-1)

    def of_other(self, file: ImageFile) -> "PixelFormat":
        """Returns the format of another image, such as a composite, for a model of this format.

        The range is that of this format for values of its dtype, and for floats if it is not simply
        the range of its dtype (hence in units such as Hounsfield's); otherwise the file's own.
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
        """Splits off the alpha of an array, which `save` writes as the last channel."""
        alpha = file.values[..., -1] / natural_range(str(file.values.dtype), 1)[1]
        return dataclasses.replace(file, values=file.values[..., :-1], alpha=alpha)

    def _mirror(self, values: Any) -> Any:
        """Exchanges black and white as viewers do with white-is-zero: within the whole dtype."""
        unsigned = self.dtype.startswith("uint")
        return (np.iinfo(self.dtype).max if unsigned else self.low + self.high) - values

    def check(self, path: pathlib.Path, channels: int) -> None:
        """Raises an InputError unless `save` can write an image, of `channels` with the mask."""
        kind = (self.dtype, channels - bool(self.labels))
        if reason := formats.refusal(path.suffix.lower(), *kind, alpha=self.alpha):
            others = ", ".join(formats.writable(*kind, alpha=self.alpha))
            raise InputError(f"out={path}: {reason}: give a name ending in {others} or .zarr")

    def save(self, path: pathlib.Path, image: np.ndarray) -> list[pathlib.Path]:
        """Writes an image in file values, and its mask beside it as NAME_mask.png or .npy.

        Args:
            path: the file, which has passed `check`.
            image: `[H, W, C]` in [-1, 1].

        Returns:
            The files written.
        """
        values, mask = self.encode(image), self.mask(image)
        if self.white_is_zero and path.suffix.lower() == ".png":
            # A PNG has no tag for it; with mirrored values it looks the same.
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
        """Returns the keyword arguments of `formats.write` that describe the values."""
        return {
            "alpha": self._has_alpha(channels),
            "white_is_zero": self.white_is_zero,
            "profile": self.profile,
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain JSON types."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}

    @classmethod
    def restore(cls, saved: dict[str, Any] | None) -> "PixelFormat":
        """Returns the format of `to_dict`; None, of models before formats were saved, is 8-bit."""
        if saved is None:
            return cls()
        saved = {"alpha": saved["suffix"] == ".png", **saved}  # older versions saved no alpha
        return cls(**{**saved, "labels": tuple(saved["labels"])})


def of_file(
    file: ImageFile, limits: tuple[float, float] | None = None, *, from_data: bool = False
) -> PixelFormat:
    """Returns the format of an image file.

    Args:
        file: the image.
        limits: the smallest and the largest value; None for the range of the dtype.
        from_data: whether to use the image's own smallest and largest value instead.

    Raises:
        InputError: the range is empty, or exceeds the dtype.
    """
    dtype = str(file.values.dtype)
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
    low, high = limits or natural_range(dtype, file.extremes[1], file.bits)
    low, high = (high, low) if file.white_is_zero else (low, high)
    return PixelFormat(low, high, dtype, profile=bool(file.profile))


def natural_range(dtype: str, largest: float, bits: int = 0) -> tuple[float, float]:
    """Returns the smallest and the largest value of a dtype.

    Args:
        dtype: of the values.
        largest: of the values; for floats it decides whether white is 1 or 255.
        bits: significant bits of a value; 0 for all.
    """
    if dtype == "float32":
        return 0.0, 255.0 if largest > FLOAT_WHITE else 1.0
    info = np.iinfo(dtype)
    unused = info.bits - (bits or info.bits)
    return float(info.min >> unused), float(info.max >> unused)
