"""Inputs of a trained generator: of a sample, of a composite, of the reconstruction."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import numerics, tasks
from consingan_jax.data import noise
from consingan_jax.data.noise import NoiseSource, ReconstructionNoise
from consingan_jax.nn import resize
from consingan_jax.nn.resize import Size


@functools.partial(numerics.jit, static_argnames="kind")
def _first(key: jax.Array, coarsest: jax.Array, *, kind: str) -> jax.Array:
    """Returns z_0 of a kind, a key of `noise.INPUTS`, compiled."""
    return noise.INPUTS[kind](key, coarsest)


@dataclasses.dataclass(frozen=True, eq=False)
class GeneratorInputs:
    """Makes the inputs of one model.

    Attributes:
        fixed: z*, as far as it is stored.
        task: the row of the table of tasks.
        real: `[H, W, C]`, the training image.
        num_stages: of the model.
        per_pixel: whether noise is drawn pixel by pixel; see `noise.NoiseSource`.
    """

    fixed: ReconstructionNoise
    task: tasks.Task
    real: np.ndarray
    num_stages: int
    per_pixel: bool

    def z_star(self) -> NoiseSource:
        """Returns z*."""
        source = self.fixed.source(self.num_stages, image_at_0=self.task.fixed_input != "gaussian")
        return dataclasses.replace(source, per_pixel=self.per_pixel)

    def sample(self, seed: int | jax.Array, coarsest: Size, *, start_stage: int = 0) -> NoiseSource:
        """Returns the input of the sample that a seed names.

        Args:
            seed: the seed.
            coarsest: (height, width) of stage 0.
            start_stage: stages below it take z*.
        """
        key = noise.sample_key(seed) if self.per_pixel else numerics.key(seed)
        keys, fixed = noise.stage_keys(key, self.num_stages), self.z_star()
        given = fixed.given[:start_stage]
        if not given and self.task.random_input != "gaussian":
            first = keys[0] if self.per_pixel else jax.random.fold_in(key, self.num_stages)
            image = resize.fit(self.real, coarsest)[None]
            given = (_first(first, image, kind=self.task.random_input),)
        assert fixed.keys is not None, "z* has keys"
        keys = jnp.concatenate([fixed.keys[:start_stage], keys[start_stage:]])
        return dataclasses.replace(fixed, keys=keys, given=given)

    def composite(self, seed: int, picture: np.ndarray, coarsest: Size) -> NoiseSource:
        """Returns the input that a composite `[H, W, C]` gives; the seed is of what is random."""
        assert self.task.composite_input is not None, "the task takes composites"
        image = jnp.asarray(resize.fit(picture, coarsest))[None]
        first = _first(numerics.key(seed), image, kind=self.task.composite_input)
        fixed = self.z_star()
        return dataclasses.replace(fixed, given=(first, *fixed.given[1:]))
