"""Defines the data of a trained model: its arrays, and the metadata saved with them."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from consingan_jax import checkpoint, tasks
from consingan_jax.config import Config
from consingan_jax.data.noise import ReconstructionNoise
from consingan_jax.generation.architecture import NETWORKS
from consingan_jax.images.pixels import PixelFormat
from consingan_jax.nn.layers import Params
from consingan_jax.nn.resize import Size


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedGenerator:
    """A trained generator and everything needed to sample from it.

    `Model` adds the methods that users call. The functions that those methods share with other
    modules take this class, so that they need not import `Model`.

    Attributes:
        params: the generator's parameters; those of ConSinGAN are `{"head", "stages": [...],
            "tail"}`.
        fixed: the noise z* that reconstructs the training image.
        noise_amps: `[stages]`, amplitude of each stage's noise.
        real: `[1, H, W, C]`, the training image at the model's own resolution.
        arch: architecture of the networks.
        sizes: (height, width) of each stage.
        config: the resolved training configuration.
        step: number of iterations done in the last stage.
        per_pixel: whether noise is drawn pixel by pixel; models of format 1 draw whole grids.
        encoding: pixel format of the training image's file: type, range, mask labels.
        hole: `[H, W]`, True in the part of `real` that was not learned (`config.exclude`), which is
            filled smoothly; None if all was.
    """

    params: Params
    fixed: ReconstructionNoise
    noise_amps: jax.Array
    real: np.ndarray
    arch: Any
    sizes: tuple[Size, ...]
    config: Config
    step: int
    per_pixel: bool = True
    encoding: PixelFormat = dataclasses.field(default_factory=PixelFormat)
    hole: np.ndarray | None = None

    @property
    def task(self) -> tasks.Task:
        """The row of the task table that the model was trained for."""
        return self.config.task_spec

    @property
    def generator(self) -> Any:
        """The generator network, which takes `params`."""
        return NETWORKS[self.config.method].generator(self.arch)

    @property
    def size(self) -> Size:
        """(height, width) of the model's own resolution."""
        return self.sizes[-1]

    @property
    def finished(self) -> bool:
        """Whether all stages are trained to their last iteration."""
        newest = len(self.sizes) - 1
        is_last = newest == self.config.num_stages - 1
        return is_last and self.step == self.config.stage(newest).num_iters

    def describe(self) -> str:
        """Returns a line that names the training image, the size and, if unfinished, the stage."""
        height, width = self.size
        text = f"model of {pathlib.Path(self.config.image).name}, {height}x{width} px"
        if self.finished:
            return text
        newest = len(self.sizes) - 1
        return (
            f"{text}, unfinished: stage {newest} (of 0-{self.config.num_stages - 1}), iteration "
            f"{self.step} of {self.config.stage(newest).num_iters}"
        )

    def num_params(self) -> int:
        """Returns the number of the generator's parameters."""
        return self.generator.num_params(self.params)

    def tree(self) -> dict[str, Any]:
        """Returns the arrays that a checkpoint holds."""
        arrays = {
            "params": self.params,
            "z_star": self.fixed.stored,
            "noise_amps": self.noise_amps,
            "real": self.real,
        }
        return arrays if self.hole is None else {**arrays, "hole": self.hole}

    def metadata(self) -> dict[str, Any]:
        """Returns the metadata that a checkpoint holds, in plain JSON types."""
        noise = {"seed": self.fixed.seed, "num_stored": len(self.fixed.stored)}
        return {
            "architecture": dataclasses.asdict(self.arch),
            "sizes": [list(size) for size in self.sizes],
            "config": self.config.to_dict(),
            "step": self.step,
            "noise": {**noise, "by_place": self.per_pixel},  # the key of the file format
            "encoding": self.encoding.to_dict(),
        }

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the model to a new directory, which needs no other file to be loaded."""
        checkpoint.save(pathlib.Path(path), self.tree(), self.metadata())
