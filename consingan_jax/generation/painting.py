"""Paint-to-image: a picture enters a trained model at a stage, and takes on the image's look.

In SinGAN it takes the place of the image below the stage (the paper's injection, section 4).
ConSinGAN passes features on, so there stage 0 reads the picture at the stage's size, and the stages
between are left out. That works for models of the task editing, whose stage 0 has learned to mend
pictures of its image (docs/tasks.md).
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from consingan_jax import numerics
from consingan_jax.data import noise, palette, scale_pyramid
from consingan_jax.data.noise import NoiseSource, Z
from consingan_jax.errors import InputError
from consingan_jax.generation import inputs, sampling
from consingan_jax.generation.composite import own_size
from consingan_jax.generation.trained import TrainedGenerator
from consingan_jax.nn import byte_resize, resize
from consingan_jax.nn.layers import Params
from consingan_jax.nn.resize import Size
from consingan_jax.nn.scale_generator import ScaleArchitecture, ScaleGenerator
from consingan_jax.nn.scale_view import ScaleView

MAX_COLOURS = 64
_Made = Callable[[int], np.ndarray]
"""Returns the image `[h, w, C]` of a seed."""


def start_stages(model: TrainedGenerator) -> range:
    """Returns the stages at which paintings can enter a model.

    Raises:
        InputError: the model takes no paintings.
    """
    config = model.config
    painter = PAINTERS[config.method]
    if config.task != painter.task:
        raise InputError(
            f"this model is of the method {config.method} and the task {config.task}: paintings "
            "need one of method=singan, task=generation, or of method=consingan, task=editing"
        )
    stages = range(painter.first, painter.first + len(model.sizes) - 1)
    if not stages:
        raise InputError("this model has a single stage: a painting needs one with two or more")
    return stages


def paintings(
    model: TrainedGenerator,
    picture: np.ndarray,
    seed: int,
    num_samples: int,
    *,
    start_stage: int,
    colours: int = 0,
) -> Iterator[np.ndarray]:
    """Returns an iterator over images `[h, w, C]` that a model makes of a picture `[H, W, C]`.

    The picture is first reduced to so many `colours` of the training image, unless they are 0.

    Raises:
        InputError: the model takes no paintings, or an argument is out of range.
    """
    stages = start_stages(model)
    if start_stage not in stages:
        raise InputError(
            f"start_stage={start_stage}: paintings enter this model at stages {stages[0]} to "
            f"{stages[-1]}"
        )
    if num_samples < 1:
        raise InputError(f"num_samples={num_samples}: give 1 or more")
    if colours != 0 and not 2 <= colours <= MAX_COLOURS:
        raise InputError(f"colours={colours}: give 2 to {MAX_COLOURS}, or 0 for those it has")
    inputs.check_seed(seed, num_samples)
    top = own_size(picture.shape, model.size)
    if colours:
        known = palette.of_image(model.real[0], colours)
        picture = palette.reduced(resize.fit(picture, top), known)
    made = PAINTERS[model.config.method].start(model, picture, top, start_stage)
    return map(made, range(seed, seed + num_samples))


def _in_stages(model: TrainedGenerator, picture: np.ndarray, top: Size, start_stage: int) -> _Made:
    kept = [0, *range(start_stage + 1, len(model.sizes))]
    whole = sampling.renderer(model, *top)
    renderer = dataclasses.replace(
        whole,
        params=model.generator.with_stages(model.params, kept),
        noise_amps=model.noise_amps[np.array(kept)],
        sizes=whole.sizes[start_stage:],
    )
    given = (resize.fit(picture, renderer.sizes[0])[None],)

    def made(seed: int) -> np.ndarray:
        keys = noise.stage_keys(noise.sample_key(seed), len(kept))
        return renderer.picture(NoiseSource(keys, given, per_pixel=model.per_pixel))

    return made


def _in_scales(model: TrainedGenerator, picture: np.ndarray, top: Size, start_stage: int) -> _Made:
    sizes: Sequence[Size] = model.sizes
    if top != model.size:
        sizes = scale_pyramid.sizes_below(top, model.arch.factor, len(sizes))
    image, view = at_scale(picture, sizes, start_stage - 1, model.arch), model.generator.view(sizes)

    def made(seed: int) -> np.ndarray:
        z = inputs.sample_input(model, seed, sizes[0]).draw(view.noise(model.arch))
        arrays = (model.params, z, model.noise_amps, view, image)
        return np.asarray(_finished(*arrays, generator=model.generator, first=start_stage)[0])

    return made


def at_scale(
    picture: np.ndarray, sizes: Sequence[Size], scale: int, arch: ScaleArchitecture
) -> np.ndarray:
    """Returns a picture `[H, W, C]` as the image `[1, h, w, C]` of a scale of SinGAN."""
    last, through_bytes = len(sizes) - 1, arch.through_bytes
    if picture.shape[:2] != sizes[last]:
        picture = byte_resize.resize_to(picture, sizes[last], through_bytes=through_bytes)
    shrink, (height, width) = arch.factor ** (last - scale), sizes[scale]
    small = byte_resize.resize(picture, shrink, through_bytes=through_bytes)
    return small[None, :height, :width]


@functools.partial(numerics.jit, static_argnames=("generator", "first"))
def _finished(
    params: Params,
    z: Z,
    noise_amps: jax.Array,
    view: ScaleView,
    image: jax.Array,
    *,
    generator: ScaleGenerator,
    first: int,
) -> jax.Array:
    """Returns what the scales from `first` on make of the image of the scale below them."""
    below = generator.raised(image, view.scale(first))
    return generator.image(params, z, noise_amps, view, first=first, below=below).clip(-1, 1)


class Painter(NamedTuple):
    """A row of the table: how paintings enter the models of a method.

    Attributes:
        task: the task whose models take them.
        first: the lowest stage at which they enter. They enter at one stage less than there are: in
            SinGAN nothing is below stage 0, and in ConSinGAN nothing is made up above the last.
        start: returns, for a model, a picture, the size of the result and a stage, what makes the
            image of a seed.
    """

    task: str
    first: int
    start: Callable[[TrainedGenerator, np.ndarray, Size, int], _Made]


PAINTERS = {
    "consingan": Painter("editing", 0, _in_stages),
    "singan": Painter("generation", 1, _in_scales),
}
