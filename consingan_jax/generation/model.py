"""A trained model: what users hold."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import checkpoint, numerics, tasks
from consingan_jax.config import Config
from consingan_jax.data import noise
from consingan_jax.errors import InputError
from consingan_jax.generation import animation, sampling
from consingan_jax.generation.composite import Applied, applied, own_size
from consingan_jax.nn import resize
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture, Params
from consingan_jax.nn.resize import Size

ARRAYS = ("params", "z_star", "noise_amps", "real")
MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True, eq=False)
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
    config: Config
    step: int

    @property
    def task(self) -> tasks.Task:
        """The row of the task table that the model was trained for."""
        return self.config.row

    @property
    def generator(self) -> Generator:
        """The generator of the architecture, which takes `params`."""
        return Generator(self.arch)

    @property
    def size(self) -> Size:
        """Height and width of the model's own resolution."""
        return self.sizes[-1]

    @property
    def finished(self) -> bool:
        """Whether all stages are there and trained to their end."""
        newest = len(self.sizes) - 1
        is_last = newest == self.config.num_stages - 1
        return is_last and self.step == self.config.iterations(newest)

    def describe(self) -> str:
        """Returns a line that says what this is, and how far it is trained."""
        height, width = self.size
        text = f"model of {pathlib.Path(self.config.image).name}, {height}x{width} px"
        if self.finished:
            return text
        return (
            f"{text}: an unfinished run at stage {len(self.sizes)} of {self.config.num_stages}, "
            f"iteration {self.step} of {self.config.iterations(len(self.sizes) - 1)}"
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
            InputError: an argument is out of range.
        """
        images = self.samples(
            seed, num_samples, width=width, height=height, start_stage=start_stage
        )
        return np.stack(list(images))

    @numerics.independent
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
            raise InputError(f"num_samples={num_samples}: give 1 or more")
        _check_seed(seed, num_samples)
        self._check_stage(start_stage)
        sizes = self._sizes(height, width)
        random_input, coarsest = self.task.random_input, None
        if random_input != "gaussian":
            coarsest = resize.fit(np.asarray(self.real[0]), sizes[0])[None]
        return sampling.samples(
            self.params,
            self.noise_amps,
            range(seed, seed + num_samples),
            generator=self.generator,
            sizes=sizes,
            kept=self._fixed_input(sizes, start_stage),
            coarsest=coarsest,
            random_input=random_input,
        )

    @numerics.independent
    def harmonize(
        self, composite: np.ndarray, *, mask: np.ndarray | None = None, seed: int = 0
    ) -> Applied:
        """Gives a pasted object the training image's style (paper, section 4).

        Another aspect ratio than the training image's is kept: the model then works at the
        composite's, with its own long side.

        Args:
            composite: `[H, W, C]` in [-1, 1], any size.
            mask: `[H, W]` of 0 and 1 (any size), 1 inside the object; None keeps the whole result.
            seed: of what little is random: an editing model adds noise to the composite.

        Returns:
            The result at the model's resolution, with and without mask; see `Applied`.

        Raises:
            InputError: the model's task takes no composite, or a shape cannot work.
        """
        composite_input = self.check_takes_composites()
        _check_seed(seed)
        if composite.ndim != 3 or composite.shape[-1] != self.arch.channels:
            raise InputError(
                f"composite of shape {composite.shape}: give [H, W, {self.arch.channels}]"
            )
        height, width = own_size(composite.shape, self.size)
        sizes = self._sizes(height, width)
        coarsest = jnp.asarray(resize.fit(composite, sizes[0]))[None]
        z_0 = noise.INPUTS[composite_input](numerics.key(seed), coarsest)
        z = [z_0, *self._fixed_input(sizes)[1:]]
        images = sampling.generate(
            self.params, z, self.noise_amps, generator=self.generator, sizes=sizes
        )
        return applied(np.asarray(images[0]), composite, mask, radius=self.task.mask_radius)

    edit = harmonize  # the same steps: what differs stands in the table of tasks

    def check_takes_composites(self) -> str:
        """Returns what z_0 is for a composite; raises an InputError if the task takes none."""
        if self.task.composite_input is None:
            raise InputError(
                f"this model was trained for {self.config.task}: composites need one of "
                f"{tasks.names(takes_composite=True)}"
            )
        return self.task.composite_input

    @numerics.independent
    def animate(
        self,
        key: jax.Array | int = 0,
        *,
        frames: int = 100,
        alpha: float = 0.1,
        beta: float = 0.9,
        start_stage: int = 0,
        loop: bool = False,
        width: int | str | None = None,
        height: int | str | None = None,
    ) -> Iterator[np.ndarray]:
        """Returns an iterator over the frames `[H, W, C]` of a walk around the training image.

        Args:
            key: a random key, or a seed.
            frames: how many.
            alpha: 0 to 1, how strongly the walk is drawn back to the training image.
            beta: 0 to 1, how smooth it is.
            start_stage: stages below it stand still, which keeps the layout.
            loop: whether the last frame leads to the first as any frame to the next.
            width: as for `sample`.
            height: as for `sample`.

        Raises:
            InputError: the model's task makes no animations, or an argument is out of range.
        """
        if not self.task.walks:
            raise InputError(
                f"this model was trained for {self.config.task}: animations need one of "
                f"{tasks.names(walks=True)}"
            )
        animation.check(alpha=alpha, beta=beta, num_frames=frames, loop=loop)
        if isinstance(key, (int, np.integer)):
            _check_seed(key)
            key = numerics.key(int(key))
        self._check_stage(start_stage)
        sizes = self._sizes(height, width)
        return animation.frames(
            self.params,
            self._fixed_input(sizes),
            self.noise_amps,
            key,
            frames,
            generator=self.generator,
            sizes=sizes,
            alpha=alpha,
            beta=beta,
            start_stage=start_stage,
            loop=loop,
        )

    def _check_stage(self, start_stage: int) -> None:
        if not 0 <= start_stage < len(self.sizes):
            raise InputError(
                f"start_stage={start_stage}: this model has the stages 0 to {len(self.sizes) - 1}"
            )

    def _sizes(self, height: int | str | None, width: int | str | None) -> tuple[Size, ...]:
        """Returns the size of every stage for an image of another size."""
        return sampling.target_sizes(
            self.sizes,
            sampling.read_length("height", height, self.size[0]),
            sampling.read_length("width", width, self.size[1]),
        )

    def _fixed_input(self, sizes: tuple[Size, ...], end: int | None = None) -> list[jax.Array]:
        """Returns z* for images of these sizes, of the stages below `end` (None: of all)."""
        z_star = self.z_star[:end]
        if sizes == self.sizes:
            return z_star
        image_at_0 = self.task.fixed_input != "gaussian"
        return sampling.fit_noise(z_star, self.generator, sizes, image_at_0=image_at_0)

    @numerics.independent
    def reconstruct(self) -> np.ndarray:
        """Returns the image `[1, H, W, C]` that z* gives: the training image, as learned."""
        image = sampling.generate(
            self.params, self.z_star, self.noise_amps, generator=self.generator, sizes=self.sizes
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
            "architecture": dataclasses.asdict(self.arch),
            "sizes": [list(size) for size in self.sizes],
            "config": self.config.to_dict(),
            "step": self.step,
        }

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the model to a new directory, complete in itself."""
        checkpoint.save(pathlib.Path(path), self.tree(), self.metadata())


def _check_seed(seed: int, num: int = 1) -> None:
    if not 0 <= seed <= MAX_SEED + 1 - num:
        raise InputError(f"seed={seed}: give seeds from 0 to {MAX_SEED}")
