"""Loads the inputs of a training: configuration, images, and the source of a fine-tuning."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.data import exclusion, pyramid, scale_pyramid, window_sampling
from consingan_jax.errors import InputError
from consingan_jax.generation.architecture import architecture
from consingan_jax.generation.composite import own_size
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load
from consingan_jax.images import loading
from consingan_jax.images.loading import LoadedImage
from consingan_jax.images.pixels import PixelFormat
from consingan_jax.nn.resize import Size

PYRAMIDS = {"consingan": pyramid.of_config, "singan": scale_pyramid.of_config}
"""The pyramid of every method: of a configuration and an image, the resolved one and the levels."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingInputs:
    """The inputs of a training.

    Attributes:
        config: the configuration, resolved: with the number of levels, and in a fine-tuning with
            the fields of its source.
        pixels: `[H, W, C]`, the training image, with a part that is not learned filled smoothly.
        levels: its pyramid, each `[1, h, w, C]`.
        composite: `[H, W, C]`, shown or fine-tuned on; None without `config.naive`.
        source: the checkpoint that a fine-tuning starts from, else None.
        warnings: lines on how the images were read, and on settings that work but hardly well.
        encoding: the meaning of the numbers in the image's file.
        holes: for each level `[h, w]`, True in the part that is not learned; None if all is.
    """

    config: Config
    pixels: np.ndarray
    levels: list[np.ndarray]
    composite: np.ndarray | None
    source: pathlib.Path | None
    warnings: Sequence[str] = ()
    encoding: PixelFormat = dataclasses.field(default_factory=PixelFormat)
    holes: list[np.ndarray] | None = None

    @property
    def sizes(self) -> list[Size]:
        """(height, width) of every level."""
        return [level.shape[1:3] for level in self.levels]

    @property
    def arch(self) -> Any:
        """The architecture for this image."""
        return architecture(self.config, channels=self.pixels.shape[-1], sizes=self.sizes)


def load_inputs(config: Config) -> TrainingInputs:
    """Reads the inputs of a training; writes nothing.

    Raises:
        InputError: a picture is missing or cannot work, or the source of a fine-tuning cannot.
    """
    source, hole, lines = None, None, list[str]()
    if config.fine_tune:
        source, model = _source(pathlib.Path(config.fine_tune))
        config = config.fine_tuned(model.config)
        pixels, encoding = model.real[0], model.encoding
    else:
        _check_image(config)
        image = loading.read(config)
        pixels, encoding, lines = np.asarray(image.pixels), image.encoding, [*image.notes]
        if config.exclude:
            hole, line = exclusion.read(config, pixels.shape[:2], turn=image.orientation)
            lines.append(line)
            # Before the levels are made, so that nothing of the hole is in any of them.
            pixels = exclusion.fill(pixels, hole)
    config, levels = PYRAMIDS[config.method](config, pixels)
    sizes = [level.shape[1:3] for level in levels]
    lines += [*pyramid.warnings(config, sizes), *window_sampling.check(config, sizes)]
    holes, composite = None, None
    if hole is not None:
        top = exclusion.touched(hole, sizes[-1])
        lines += exclusion.check(config, top, sizes)
        holes = [exclusion.touched(top, size) for size in sizes]
    if config.naive:
        image = _composite(config, levels[-1][0], encoding)
        composite = image.pixels
        lines += image.notes
    return TrainingInputs(config, pixels, levels, composite, source, lines, encoding, holes)


def _check_image(config: Config) -> None:
    if config.images:
        raise InputError(
            f"config.images={config.images}: several images are trained by "
            "`consingan train FOLDER`, in Python by `Sweep`; give config.image for one"
        )
    if not config.image:
        raise InputError("config.image is missing: give the file of the training image")


def _source(run: pathlib.Path) -> tuple[pathlib.Path, Model]:
    """Returns the last checkpoint of a finished run, and its model."""
    found = checkpoint.read_latest(run / "checkpoints", lambda path: (path, load(path)))
    if found is None:
        raise InputError(
            f"config.fine_tune={run} is not a run: give the directory of a finished run"
        )
    path, model = found
    if not model.finished:
        raise InputError(f"config.fine_tune={run} is a {model.describe()}: train it to its end")
    return path, model


def _composite(config: Config, real: np.ndarray, encoding: PixelFormat) -> LoadedImage:
    try:
        found = loading.read_alike(config.naive, config, encoding, real.shape[-1])
    except InputError as error:
        raise InputError(f"config.naive: {error}") from None
    height, width, _ = found.pixels.shape
    if config.fine_tune and own_size((height, width), real.shape) != real.shape[:2]:
        raise InputError(
            f"config.naive={config.naive} has {height}x{width} px: to fine-tune on it, give it the "
            f"aspect ratio of the training image, {real.shape[0]}x{real.shape[1]}"
        )
    return found
