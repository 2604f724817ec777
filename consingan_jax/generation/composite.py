"""Masks, aspect ratios and blending of composites (paper, section 4).

Images are `[H, W, C]` in [-1, 1], masks `[H, W]` in [0, 1], 1 where the model's result counts.
"""

import dataclasses
import pathlib

import numpy as np
from scipy import ndimage

from consingan_jax import tasks
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.images import display, formats
from consingan_jax.images.pixels import PixelFormat
from consingan_jax.nn import resize
from consingan_jax.nn.resize import Size

REFERENCE_SIDE = 250  # long side, in pixels, to which radius and blur refer
BLUR_SIGMA = 5.0
MAX_INSIDE = 0.9  # share of a composite; a mask that covers more may be inverted
MIN_DIFFERENCE = 0.15  # on [-1, 1], of a pixel that counts as edited


@dataclasses.dataclass(frozen=True, eq=False)
class CompositeResult:
    """A composite and the image that a model generated from it, at the model's resolution.

    Attributes:
        composite: `[h, w, C]`, the input.
        result: `[h, w, C]`, the output.
        mask: `[h, w]` from 0 to 1, dilated and blurred; None if there is no mask.
        blended: `[h, w, C]`, the result inside the mask, the composite outside; None likewise.
    """

    composite: np.ndarray
    result: np.ndarray
    mask: np.ndarray | None
    blended: np.ndarray | None

    @property
    def final(self) -> np.ndarray:
        """`[h, w, C]`: the blended image if there is a mask, else the result."""
        return self.result if self.blended is None else self.blended

    def side_by_side(self) -> np.ndarray:
        """Returns composite and result in one picture; with a mask composite, mask and blend."""
        if self.mask is None or self.blended is None:
            shown = [self.composite, self.result]
        else:
            mask = np.broadcast_to(2 * self.mask[..., None] - 1, self.composite.shape)
            shown = [self.composite, mask, self.blended]
        return display.grid(shown, columns=len(shown))

    def save(
        self, out: pathlib.Path, encoding: PixelFormat, *, full_size: np.ndarray | None = None
    ) -> list[pathlib.Path]:
        """Writes the images to a directory, in the format of the training image.

        Args:
            out: the directory.
            encoding: pixel format of the training image's file.
            full_size: `[H, W, C]`, the result at the composite's own resolution, to write too.

        Returns:
            The files: side by side first, the largest image last.
        """
        side_by_side, suffix = out / "side_by_side.png", encoding.suffix
        files = [side_by_side]
        # Files that an earlier call left and this one does not write would contradict it.
        for name in ("mask.png", f"blended{suffix}", f"full_size{suffix}"):
            (out / name).unlink(missing_ok=True)
        if self.mask is not None:
            display.save(out / "mask.png", 2 * self.mask[..., None] - 1)
        images = {"result": self.result, "blended": self.blended, "full_size": full_size}
        for name, image in images.items():
            if image is not None:
                files += encoding.save(out / f"{name}{suffix}", image)
        display.save(side_by_side, self.side_by_side())
        return files

    def _repr_png_(self) -> bytes:
        return display.to_png(self.side_by_side())


def check_takes_composites(config: Config) -> None:
    """Raises an InputError if models of this configuration take no composites."""
    if config.task_spec.composite_input is None:
        raise InputError(
            f"this model was trained for {config.task}: composites need one of "
            f"{tasks.names(takes_composite=True)}"
        )


def apply_mask(
    result: np.ndarray, composite: np.ndarray, mask: np.ndarray | None, *, radius: float
) -> CompositeResult:
    """Resizes a composite `[H, W, C]` to a model's result `[h, w, C]` and blends the two.

    The mask is `[H, W]` of 0 and 1, any size, or None; `radius` is that of `soften`.

    Raises:
        InputError: the mask is empty, of other values, or of another aspect ratio.
    """
    size = (result.shape[0], result.shape[1])
    small = composite if composite.shape[:2] == size else resize.fit(composite, size)
    if mask is None:
        return CompositeResult(small, result, None, None)
    inside = np.asarray(mask) > 0.5
    if inside.ndim != 2 or not inside.any() or np.max(mask) > 1:
        raise InputError(f"mask of shape {inside.shape}: give [H, W] of 0 and 1, some of them 1")
    check_aspect(inside.shape, composite.shape)
    soft = soften(inside, size, radius)
    return CompositeResult(small, result, soft, blend(soft, result, small))


def at_full_size(applied: CompositeResult, composite: np.ndarray) -> np.ndarray:
    """Returns the enlarged result inside the mask, the untouched composite `[H, W, C]` outside."""
    size = (composite.shape[0], composite.shape[1])
    result = resize.fit(applied.result, size)
    if applied.mask is None:
        return result
    # `resize.fit` takes images in [-1, 1].
    mask = resize.fit(2 * applied.mask[..., None] - 1, size)[..., 0] / 2 + 0.5
    return blend(mask, result, composite)


def find_mask(path: str | pathlib.Path) -> pathlib.Path | None:
    """Returns the file `<name>_mask.<ext>` beside a composite, None if there is none.

    A mask with the composite's own suffix takes precedence over other image formats.

    Raises:
        InputError: there are several, all of other formats.
    """
    path = pathlib.Path(path)
    mask = path.with_name(f"{path.stem}_mask{path.suffix}")
    if mask.is_file():
        return mask
    others = [file for file in path.parent.iterdir() if file.stem == mask.stem]
    found = sorted(filter(formats.has_image_suffix, others))
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise InputError(f"beside {path} lie {names}: give --mask=FILE")
    return found[0] if found else None


def difference_mask(composite: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Returns a mask of the pixels in which a composite differs from the training image.

    It is `[h, w]` of 0 and 1, of the size of `real`, without single pixels and holes.

    Raises:
        InputError: the aspect ratios differ, or no pixel does.
    """
    if own_size(composite.shape, real.shape) != real.shape[:2]:
        raise InputError(
            "mask auto compares with the training image, which has another aspect ratio: give a "
            "mask file or none"
        )
    difference = np.abs(resize.fit(composite, real.shape[:2]) - real).max(-1) > MIN_DIFFERENCE
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(difference))
    if not mask.any():
        raise InputError("mask auto found no difference to the training image: give a mask file")
    return mask.astype(np.float32)


def fits(mask: tuple[int, ...], composite: tuple[int, ...]) -> bool:
    """Returns whether the shapes of a mask and its composite have the same aspect ratio."""
    # A mask may be much smaller than its composite, where rounding changes its aspect ratio.
    return 0.95 < mask[0] / mask[1] * composite[1] / composite[0] < 1 / 0.95


def check_aspect(mask: tuple[int, ...], composite: tuple[int, ...]) -> None:
    """Raises an InputError unless the shapes of a mask and its composite fit."""
    if not fits(mask, composite):
        raise InputError(
            f"mask has {mask[0]}x{mask[1]} px, but its composite {composite[0]}x{composite[1]}: "
            "give a mask of the same aspect ratio"
        )


def own_size(shape: tuple[int, ...], model: tuple[int, ...]) -> Size:
    """Returns the (height, width) at which a model works on a composite of some shape.

    It is the model's own size if the aspect ratios agree to a pixel; otherwise the composite's
    aspect ratio, with the model's long side. Shapes have height and width first.
    """
    scale = max(model[:2]) / max(shape[:2])
    size = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    agrees = all(abs(n - m) <= 1 for n, m in zip(size, model, strict=False))
    return (model[0], model[1]) if agrees else size


def soften(mask: np.ndarray, size: Size, radius: float) -> np.ndarray:
    """Returns a mask of another size, dilated by a disk, blurred and scaled to [0, 1].

    The disk's radius and the blur are in pixels at a long side of 250, and scale with it.
    """
    scale = max(size) / REFERENCE_SIDE
    resized = resize.fit(np.where(mask, 1.0, -1.0)[..., None], size)[..., 0]
    # A mask thinner than a pixel falls below 0 everywhere: then its strongest trace is kept.
    inside = resized > min(0, resized.max() - 1e-6)
    dilated = ndimage.distance_transform_edt(~inside) <= radius * scale
    soft = ndimage.gaussian_filter(dilated.astype(np.float64), BLUR_SIGMA * scale)
    low, high = soft.min(), soft.max()
    if high - low < 1e-6:  # the dilated mask covers the image: nothing to scale
        return np.ones(size, np.float32)
    return ((soft - low) / (high - low)).astype(np.float32)


def blend(mask: np.ndarray, result: np.ndarray, composite: np.ndarray) -> np.ndarray:
    """Returns `mask * result + (1 - mask) * composite`, all of one size."""
    weight = mask[..., None]
    return weight * result + (1 - weight) * composite
