"""A trained model: what users hold."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from consingan_jax import checkpoint, sampling, tasks
from consingan_jax.layers import Architecture
from consingan_jax.networks import Params, Size
from consingan_jax.workdir import IDENTITY

FORMAT = 1
ARRAYS = ("params", "z_star", "noise_amps", "real")
MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Model:
    """A generator of images like one training image.

    Images are NHWC, float32 in [-1, 1].

    Attributes:
        params: `{"head", "stages": [...], "tail"}`, the generator's parameters.
        z_star: z*_0 .. z*_d, the fixed input that gives the training image back.
        noise_amps: `[stages]`, amplitude of every stage's noise.
        real: `[1, H, W, C]`, the training image at the model's own resolution.
        arch: the architecture.
        sizes: (height, width) of every stage.
        config: the resolved configuration it was trained with.
        step: iterations done in the last stage.
    """

    params: Params
    z_star: list[jax.Array]
    noise_amps: jax.Array
    real: np.ndarray
    arch: Architecture
    sizes: tuple[Size, ...]
    config: dict[str, Any]
    step: int

    @property
    def task(self) -> tasks.Task:
        """The row of the task table that the model was trained for."""
        return tasks.TASKS[self.config["task"]]

    @property
    def size(self) -> Size:
        """Height and width of the model's own resolution."""
        return self.sizes[-1]

    @property
    def finished(self) -> bool:
        """Whether all stages are there and trained to their end."""
        stages_left = self.config["num_stages"] - len(self.sizes)
        return stages_left == 0 and self.step == self.config["num_iters"]

    def describe(self) -> str:
        """Returns a line that says what this is, and how far it is trained."""
        height, width = self.size
        text = f"model of {pathlib.Path(self.config['image']).name}, {height}x{width} px"
        if self.finished:
            return text
        return (
            f"{text}: an unfinished run at stage {len(self.sizes)} of {self.config['num_stages']}, "
            f"iteration {self.step} of {self.config['num_iters']}"
        )

    def sample(
        self,
        seed: int = 0,
        num_samples: int = 1,
        *,
        width: int | str | None = None,
        height: int | str | None = None,
        start_stage: int = 0,
    ) -> np.ndarray:
        """Makes new images (paper, section 3).

        Image j depends on `seed + j` alone: it is the same whatever `num_samples` is.

        Args:
            seed: of the first image.
            num_samples: how many.
            width: of the images: pixels, or a factor such as "2x"; None keeps the model's.
            height: likewise.
            start_stage: stages below it use z* instead of noise, which keeps the layout.

        Returns:
            `[num_samples, height, width, C]`, float32 in [-1, 1].

        Raises:
            ValueError: an argument is out of range.
        """
        images = self.samples(
            seed, num_samples, width=width, height=height, start_stage=start_stage
        )
        return np.stack(list(images))

    def samples(
        self,
        seed: int = 0,
        num_samples: int = 1,
        *,
        width: int | str | None = None,
        height: int | str | None = None,
        start_stage: int = 0,
    ) -> Iterator[np.ndarray]:
        """Returns an iterator over the images `[H, W, C]` of `sample`, one in memory at a time."""
        if num_samples < 1:
            raise ValueError(f"num_samples={num_samples}: give 1 or more")
        if not 0 <= seed <= MAX_SEED + 1 - num_samples:
            raise ValueError(f"seed={seed}: give seeds from 0 to {MAX_SEED}")
        if not 0 <= start_stage < len(self.sizes):
            raise ValueError(
                f"start_stage={start_stage}: this model has the stages 0 to {len(self.sizes) - 1}"
            )
        sizes = sampling.target_sizes(
            self.sizes,
            sampling.read_length("height", height, self.size[0]),
            sampling.read_length("width", width, self.size[1]),
        )
        kept = self.z_star[:start_stage]
        if sizes != self.sizes:
            image_at_0 = self.task.fixed_input != "gaussian"
            kept = sampling.fit_noise(kept, self.arch, sizes, image_at_0=image_at_0)
        seeds = range(seed, seed + num_samples)
        return sampling.samples(
            self.params, self.noise_amps, seeds, arch=self.arch, sizes=sizes, kept=kept
        )

    def reconstruct(self) -> np.ndarray:
        """Returns the image `[1, H, W, C]` that z* gives: the training image, as learned."""
        image = sampling.generate(
            self.params, self.z_star, self.noise_amps, arch=self.arch, sizes=self.sizes
        )
        return np.asarray(image)

    def reconstruction_rmse(self) -> float:
        """Returns the root mean square error of `reconstruct`, on [-1, 1]."""
        return float(np.sqrt(np.mean(np.square(self.reconstruct() - self.real))))

    def tree(self) -> dict[str, Any]:
        """Returns the arrays of the model, as a checkpoint holds them."""
        return {name: getattr(self, name) for name in ARRAYS}

    def metadata(self) -> dict[str, Any]:
        """Returns everything else about the model, in plain JSON types."""
        return {
            "format": FORMAT,
            "architecture": dataclasses.asdict(self.arch),
            "sizes": [list(size) for size in self.sizes],
            "config": self.config,
            "step": self.step,
        }

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the model to a new directory, complete in itself."""
        checkpoint.save(pathlib.Path(path), self.tree(), self.metadata())


def load(path: str | pathlib.Path) -> Model:
    """Restores a model.

    Args:
        path: the directory of a run or of a model. Of an unfinished run it is the model at the
            last checkpoint, at the resolution reached; `Model.finished` tells.

    Raises:
        ValueError: nothing of the kind is there.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        raise ValueError(f"{path}: no such directory; give the directory of a run or of a model")
    if checkpoint.exists(path):
        return _read(path)
    if checkpoint.exists(path / "model"):
        return _read(path / "model")
    step = checkpoint.latest_step(path / "checkpoints")
    if step is not None:
        return _read(step)
    if (path / IDENTITY).is_file():
        raise ValueError(f"{path} is a run without a checkpoint yet: train on, then try again")
    raise ValueError(f"{path} is neither a run nor a model: give a directory that train.py wrote")


def _read(path: pathlib.Path) -> Model:
    try:
        metadata = checkpoint.metadata(path) or {}
        tree = checkpoint.load(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is a damaged checkpoint: {str(error).splitlines()[0]}") from None
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} has the format {metadata.get('format')}, but this version of consingan_jax "
            f"reads {FORMAT}: give a model that it wrote"
        )
    arrays = tree.get("model", tree)  # a checkpoint of the training holds more than the model
    return Model(
        **{name: arrays[name] for name in ARRAYS},
        arch=Architecture(**metadata["architecture"]),
        sizes=tuple((height, width) for height, width in metadata["sizes"]),
        config=metadata["config"],
        step=metadata["step"],
    )
