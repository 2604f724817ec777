"""What a run works on: configuration, pictures, and the run that it starts from."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from consingan_jax import checkpoint
from consingan_jax import config as config_lib
from consingan_jax.data import image, pyramid
from consingan_jax.generation import composite as composite_lib
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load


@dataclasses.dataclass(frozen=True)
class Job:
    """What a run works on.

    Attributes:
        config: the configuration as it counts.
        pixels: `[H, W, C]`, the training image.
        levels: its pyramid, each `[1, h, w, C]`.
        composite: `[H, W, C]`, what to watch or to fine-tune on; None without `config.naive`.
        source: the checkpoint that a fine-tuning starts from, else None.
    """

    config: dict[str, Any]
    pixels: np.ndarray
    levels: list[np.ndarray]
    composite: np.ndarray | None
    source: pathlib.Path | None


def prepare(config: Mapping[str, Any]) -> Job:
    """Reads what a run works on, after checking the configuration; writes nothing.

    Raises:
        ValueError: a field of the configuration, a picture, or the run to start from cannot work.
    """
    config_lib.check(config)
    source = None
    if config["fine_tune"]:
        source, model = _source(pathlib.Path(config["fine_tune"]))
        config = config_lib.fine_tuned(config, model.config)
        pixels = np.asarray(model.real[0])
    else:
        pixels = image.load(
            config["image"], channels=config["channels"], background=config["background"]
        )
    config_lib.level_sizes(config, pixels.shape[:2])
    arguments = config_lib.pyramid_arguments(config)
    if source:  # its training image has the top level's size already
        arguments["max_size"] = max(pixels.shape[:2])
    levels = pyramid.build(pixels, **arguments)
    composite = _composite(config, levels) if config["naive"] else None
    return Job(dict(config), pixels, levels, composite, source)


def _source(run: pathlib.Path) -> tuple[pathlib.Path, Model]:
    """Returns the last checkpoint of a finished run, and its model."""
    path = checkpoint.latest_step(run / "checkpoints")
    if path is None:
        raise ValueError(f"config.fine_tune={run} is no run: give the directory of a finished run")
    model = load(path)
    if not model.finished:
        raise ValueError(f"config.fine_tune={run} is a {model.describe()}: train it to its end")
    return path, model


def _composite(config: Mapping[str, Any], levels: list[np.ndarray]) -> np.ndarray:
    real = levels[-1][0]
    try:
        picture = image.load(
            config["naive"], channels=real.shape[-1], background=config["background"]
        )
    except ValueError as error:
        raise ValueError(f"config.naive: {error}") from None
    if config["fine_tune"] and composite_lib.own_size(picture.shape, real.shape) != real.shape[:2]:
        raise ValueError(
            f"config.naive={config['naive']} has {picture.shape[0]}x{picture.shape[1]} px: to "
            f"fine-tune on it, give the aspect ratio of the training image, "
            f"{real.shape[0]}x{real.shape[1]}"
        )
    return picture
