"""What the numbers of a picture's file mean, and how pictures go back to such a file."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from consingan_jax.data import deep, image

LOSSLESS = (".png", ".tif", ".tiff", ".npy")  # written as they came; all else as .png
_OF_PIL = {"uint8": (1, 3, 4), "uint16": (1,)}  # by depth, the channels that Pillow writes as .png


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How the numbers of a file stand for brightness.

    Attributes:
        low: the number that is black, -1 in an array.
        high: the number that is white, 1 in an array.
        dtype: of the numbers.
        suffix: of the files to write.
        labels: what the last channel can be, sorted, where it is a mask; else empty.
    """

    low: float = 0.0
    high: float = 255.0
    dtype: str = "uint8"
    suffix: str = ".png"
    labels: tuple[float, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is what every picture of 8 bits has."""
        return (self.low, self.high, self.dtype) == (0.0, 255.0, "uint8")

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Returns numbers `[H, W, C]` as a picture, float32 in [-1, 1]; beyond the range is cut."""
        unit = (values.astype(np.float64) - self.low) / (self.high - self.low)
        return (2 * np.clip(np.nan_to_num(unit), 0, 1) - 1).astype(np.float32)

    def encode(self, picture: np.ndarray) -> np.ndarray:
        """Returns a picture `[H, W, C]` as the numbers of a file, its mask not among them."""
        picture = np.asarray(picture)
        unit = np.clip((picture[..., :-1] if self.labels else picture) / 2 + 0.5, 0, 1)
        values = self.low + (self.high - self.low) * unit.astype(np.float64)
        if np.issubdtype(np.dtype(self.dtype), np.integer):
            values = np.rint(values)
        return values.astype(self.dtype)

    def numbers(self, picture: np.ndarray) -> np.ndarray:
        """Returns a picture `[H, W, C]` as numbers of one type, its mask as the last channel."""
        values, mask = self.encode(picture), self.mask(picture)
        if mask is not None:
            values = np.concatenate([values, mask[..., None]], axis=-1)
        return values.astype(self.number_type)

    @property
    def number_type(self) -> np.dtype:
        """The type of `numbers`: as the file's, wide enough for the mask's values."""
        return np.result_type(self.dtype, np.min_scalar_type(int(max(self.labels, default=0))))

    def mask(self, picture: np.ndarray) -> np.ndarray | None:
        """Returns the mask of a picture, `[H, W]`, each value one of `labels`; None without."""
        if not self.labels:
            return None
        return self.nearest(np.asarray(picture)[..., -1])

    def with_mask(self, picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns a picture with a mask `[H, W]` of `labels` as one more channel."""
        channel = self._places()[np.searchsorted(self.labels, mask)]
        return np.concatenate([picture, channel[..., None].astype(np.float32)], axis=-1)

    def nearest(self, channel: np.ndarray) -> np.ndarray:
        """Returns a channel in [-1, 1] as the labels that are nearest to it."""
        labels = np.array(self.labels)
        found = labels[np.abs(channel[..., None] - self._places()).argmin(-1)]
        return found.astype(np.uint8 if labels.max() < 256 else np.uint16)

    def _places(self) -> np.ndarray:
        """Returns where on [-1, 1] the labels lie: all equally far apart, whatever they are."""
        return np.linspace(-1, 1, len(self.labels))

    def save(self, path: pathlib.Path, picture: np.ndarray) -> pathlib.Path:
        """Writes a picture in its own depth, and its mask beside it as NAME_mask.png.

        Args:
            path: the file but for its suffix, which this one has.
            picture: `[H, W, C]` in [-1, 1].

        Returns:
            The file.

        Raises:
            InputError: what writes such files is not installed.
        """
        values, mask = self.encode(picture), self.mask(picture)
        file = path.with_name(path.name + self.suffix)
        if self.suffix == ".npy":
            np.save(file, values)
        elif self.suffix == ".png" and values.shape[-1] in _OF_PIL.get(self.dtype, ()):
            image.save_numbers(file, values)
        else:
            deep.write(file, values)
        if mask is not None:
            image.save_numbers(path.with_name(f"{path.name}_mask.png"), mask[..., None])
        return file

    def words(self) -> str:
        """Returns in words what is black and what is white."""
        return f"{self.low:g} is black and {self.high:g} is white"

    def to_dict(self) -> dict[str, Any]:
        """Returns it in plain JSON types."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}

    @classmethod
    def restore(cls, saved: dict[str, Any] | None) -> "Encoding":
        """Returns what `to_dict` returned; earlier versions knew 8 bits alone."""
        if saved is None:
            return cls()
        return cls(**{**saved, "labels": tuple(saved["labels"])})
