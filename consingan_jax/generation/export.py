"""Exports a model as one program that needs JAX alone (jax.export, StableHLO)."""

import importlib.util

import jax
import jax.export  # not there until it is imported
import jax.numpy as jnp

from consingan_jax import numerics
from consingan_jax.errors import InputError
from consingan_jax.generation.model import Model
from consingan_jax.generation.sampling import generate

PLATFORMS = ("cpu", "cuda")
MAX_PIXELS = 2**24  # of an image, which the program makes in one piece


@numerics.independent
def sampler(
    model: Model, *, height: int | str | None = None, width: int | str | None = None
) -> bytearray:
    """Returns a serialized program from a seed to the image that `Model.sample` makes of it.

    It holds the parameters. `jax.export.deserialize(data).call(np.uint32(seed))` returns
    `[H, W, C]`, float32 in [-1, 1], on a CPU or an NVIDIA GPU.

    Args:
        model: what makes the images.
        height: as for `Model.sample`.
        width: likewise.

    Raises:
        InputError: the model changes pictures instead of making them, the image would be too large
            for one program, or flatbuffers is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise InputError(
            "an export needs flatbuffers: python -m pip install flatbuffers (the extra export)"
        )
    if model.task.composite_input is not None:
        raise InputError(f"the task {model.config.task} takes composites: no sampler can be made")
    sizes = model.stage_sizes(height, width)
    if sizes[-1][0] * sizes[-1][1] > MAX_PIXELS:
        raise InputError(f"an image of {sizes[-1][0]}x{sizes[-1][1]} px is too large for an export")
    view = model.generator.view(sizes)

    def sample(seed: jax.Array) -> jax.Array:
        z = model.inputs.sample(seed, sizes[0]).draw(view.noise(model.arch))
        return generate(model.params, z, model.noise_amps, view, generator=model.generator)[0]

    exported = jax.export.export(jax.jit(sample), platforms=PLATFORMS)
    return exported(jax.ShapeDtypeStruct((), jnp.uint32)).serialize()
