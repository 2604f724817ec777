"""Loads what a run trains on: configuration, images, and the run that a fine-tuning starts from."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.data import loading, pyramid, window_sampling
from consingan_jax.data.loading import LoadedImage
from consingan_jax.data.pixels import PixelFormat
from consingan_jax.errors import InputError
from consingan_jax.generation.architecture import architecture
from consingan_jax.generation.composite import own_size
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load
from consingan_jax.nn.layers import Architecture
from consingan_jax.nn.resize import Size


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingInputs:
    """What a run works on.

    Attributes:
        config: the configuration as it counts.
        pixels: `[H, W, C]`, the training image.
        levels: its pyramid, each `[1, h, w, C]`.
        composite: `[H, W, C]`, what to watch or to fine-tune on; None without `config.naive`.
        source: the checkpoint that a fine-tuning starts from, else None.
        warnings: what was found, and what will work, but hardly as wanted; a line each.
        encoding: what the numbers in the picture's file mean.
    """

    config: Config
    pixels: np.ndarray
    levels: list[np.ndarray]
    composite: np.ndarray | None
    source: pathlib.Path | None
    warnings: Sequence[str] = ()
    encoding: PixelFormat = dataclasses.field(default_factory=PixelFormat)

    @property
    def sizes(self) -> list[Size]:
        """Height and width of every level."""
        return [level.shape[1:3] for level in self.levels]

    @property
    def arch(self) -> Architecture:
        """The architecture for this image."""
        return architecture(self.config, channels=self.pixels.shape[-1])


def load_inputs(config: Config) -> TrainingInputs:
    """Reads what a run works on; writes nothing.

    Raises:
        InputError: a picture is missing or cannot work, or the run to start from cannot.
    """
    start, notes = None, []
    if config.fine_tune:
        start, model = _source(pathlib.Path(config.fine_tune))
        config = config.fine_tuned(model.config)
        pixels, encoding = model.real[0], model.encoding
    else:
        if config.images:
            raise InputError(
                f"config.images={config.images}: a set of images is trained by "
                "`consingan train FOLDER`, in Python by `Sweep`; give config.image for one"
            )
        if not config.image:
            raise InputError("config.image is missing: give the file of the training image")
        found = loading.read(config)
        pixels, encoding, notes = np.asarray(found.pixels), found.encoding, list(found.notes)
    sizes = pyramid.level_sizes(config, pixels.shape[:2])
    warnings = [*pyramid.warnings(config, sizes), *window_sampling.check(config, sizes)]
    arguments = pyramid.arguments(config)
    if start:  # its training image has the top level's size already
        arguments["max_size"] = max(pixels.shape[:2])
    levels = pyramid.build(pixels, **arguments)
    lines, composite = [*notes, *warnings], None
    if config.naive:
        other = _composite(config, levels, encoding)
        composite, lines = other.pixels, [*lines, *other.notes]
    return TrainingInputs(config, pixels, levels, composite, start, lines, encoding)


def _source(run: pathlib.Path) -> tuple[pathlib.Path, Model]:
    """Returns the last checkpoint of a finished run, and its model."""
    found = checkpoint.read_latest(run / "checkpoints", lambda path: (path, load(path)))
    if found is None:
        raise InputError(f"config.fine_tune={run} is no run: give the directory of a finished run")
    path, model = found
    if not model.finished:
        raise InputError(f"config.fine_tune={run} is a {model.describe()}: train it to its end")
    return path, model


def _composite(config: Config, levels: list[np.ndarray], encoding: PixelFormat) -> LoadedImage:
    real = levels[-1][0]
    try:
        found = loading.read_alike(config.naive, config, encoding, real.shape[-1])
    except InputError as error:
        raise InputError(f"config.naive: {error}") from None
    height, width, _ = found.pixels.shape
    if config.fine_tune and own_size((height, width), real.shape) != real.shape[:2]:
        raise InputError(
            f"config.naive={config.naive} has {height}x{width} px: to "
            f"fine-tune on it, give the aspect ratio of the training image, "
            f"{real.shape[0]}x{real.shape[1]}"
        )
    return found
