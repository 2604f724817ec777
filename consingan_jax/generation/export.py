"""Exports a model as one program that needs only JAX (jax.export, StableHLO)."""

import importlib.util

import jax
import jax.export  # `import jax` does not import it
import jax.numpy as jnp

from consingan_jax import kernels, numerics
from consingan_jax.errors import InputError
from consingan_jax.generation import inputs, sampling
from consingan_jax.generation.sampling import Length
from consingan_jax.generation.trained import TrainedGenerator

PLATFORMS = ("cpu", "cuda")
MAX_PIXELS = 2**24  # the program renders an image in one piece


@numerics.independent
def sampler(model: TrainedGenerator, *, height: Length = None, width: Length = None) -> bytearray:
    """Returns a serialized program from a seed to the image of `Model.sample`.

    It holds the parameters. `jax.export.deserialize(data).call(np.uint32(seed))` returns
    `[H, W, C]`, float32 in [-1, 1], on a CPU or an NVIDIA GPU.

    Raises:
        InputError: the model's task takes composites, the image is too large for one program, or
            flatbuffers is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise InputError(
            "an export needs flatbuffers: python -m pip install flatbuffers (the extra export)"
        )
    if model.task.composite_input is not None:
        raise InputError(f"the task {model.config.task} takes composites: no sampler can be made")
    rounding = model.config.method_spec.rounding
    sizes = sampling.stage_sizes(model.sizes, height, width, rounding=rounding)
    if sizes[-1][0] * sizes[-1][1] > MAX_PIXELS:
        raise InputError(f"an image of {sizes[-1][0]}x{sizes[-1][1]} px is too large for an export")
    generator, view = model.generator, model.generator.view(sizes)

    def sample(seed: jax.Array) -> jax.Array:
        z = inputs.sample_input(model, seed, sizes[0]).draw(view.noise(model.arch))
        return sampling.generate(model.params, z, model.noise_amps, view, generator=generator)[0]

    # Without `numerics.jit`: a serialized program is compiled with the options of its caller.
    exported = jax.export.export(jax.jit(sample), platforms=PLATFORMS)
    with kernels.disabled():  # for a program that needs only JAX
        return exported(jax.ShapeDtypeStruct((), jnp.uint32)).serialize()
