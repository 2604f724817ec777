"""Pictures of any size, made tile by tile in flat memory: the .zarr and .tif of `sample`."""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from consingan_jax import numerics
from consingan_jax.cli import mosaic
from consingan_jax.data.encoding import Encoding
from consingan_jax.errors import InputError
from consingan_jax.generation.model import Model
from consingan_jax.generation.sampling import Canvas
from consingan_jax.generation.tiles import Tiles


def is_file(path: str) -> bool:
    """Returns whether a name is that of a file for one picture, and not of a directory.

    Raises:
        InputError: it is that of a picture in a format that is not written.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in (".jpg", ".jpeg", ".webp", ".gif", ".bmp"):
        raise InputError(f"out={path}: one picture goes into .png, .zarr or .tif")
    return suffix == ".png" or is_large(path)


def is_large(path: str) -> bool:
    """Returns whether a file of this name is written tile by tile."""
    return pathlib.Path(path).suffix.lower() in mosaic.FORMATS


@numerics.independent
def sample(
    model: Model, path: str, *, seed: int, start_stage: int, **size: int | str | None
) -> Iterator[str]:
    """Writes one sample; yields a line for each thing done.

    Args:
        model: what makes it.
        path: of the file, as for `mosaic.write`, which also says what is raised.
        seed: of the sample.
        start_stage: as for `Model.sample`.
        size: height and width, likewise.

    Raises:
        InputError: the model makes whole images only, or an argument is out of range.
    """
    source, canvas = model.input_of(seed, start_stage=start_stage, **size)
    memory = canvas.memory(source) / 2**20
    yield f"{_plan(canvas)}; one takes {memory:,.0f} MiB, however large the picture is"

    def make(top: int, left: int) -> np.ndarray:
        made = canvas.window(source, top=top, left=left, size=canvas.tile)
        return model.encoding.numbers(np.asarray(made[0]))

    identity = {"model": fingerprint(model), "seed": seed, "start_stage": start_stage}
    shape = (*canvas.sizes[-1], model.arch.channels)
    about: dict[str, Any] = {
        "identity": identity,
        "tile": canvas.tile,
        "encoding": _encoding(model),
    }
    yield from mosaic.write(path, shape, make, **about)


@numerics.independent
def animation(
    model: Model, path: str, *, seed: int, height: Any, width: Any, **walk: Any
) -> Iterator[str]:
    """Writes one animation, all frames of a tile at a time; `walk` as for `Model.animate`."""
    canvas = model.canvas(height, width)
    size = {"height": height, "width": width}
    model.animate(seed, **size, **walk, window=(0, 0, *canvas.tile))  # refuses what cannot be
    shape = (walk["frames"], *canvas.sizes[-1], model.arch.channels)
    of_tile = (walk["frames"], *canvas.tile, model.arch.channels)
    encoding = _encoding(model)
    memory = math.prod(of_tile) * encoding.number_type.itemsize / 2**20
    yield f"{_plan(canvas)}; all frames of one take {memory:,.0f} MiB"

    def make(top: int, left: int) -> np.ndarray:
        pixels = np.empty(of_tile, encoding.number_type)
        frames = model.animate(seed, **size, **walk, window=(top, left, *canvas.tile))
        for number, frame in enumerate(frames):
            pixels[number] = encoding.numbers(frame)
        return pixels

    identity = {"model": fingerprint(model), "seed": seed, **walk}
    about: dict[str, Any] = {"identity": identity, "tile": canvas.tile, "encoding": encoding}
    yield from mosaic.write(path, shape, make, **about)


def _encoding(model: Model) -> Encoding:
    """Returns the encoding of a model but for its suffix, which the user gives."""
    return dataclasses.replace(model.encoding, suffix=mosaic.PLAIN.suffix)


def check_alone(num_samples: int | None) -> None:
    """Raises an InputError if several pictures are asked for in one file."""
    if num_samples not in (None, 1):
        raise InputError(
            f"num_samples={num_samples}: one file takes one picture, and --seed says which; give "
            "a directory as --out, or leave --num_samples out"
        )


def fingerprint(model: Model) -> str:
    """Returns what tells a model from all others: a digest of its arrays."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(model.tree()):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _plan(canvas: Canvas) -> str:
    (height, width), (down, across) = canvas.tile, Tiles(canvas.sizes[-1], canvas.tile).grid
    words = "tile" if down * across == 1 else "tiles"
    return f"{down * across:,} {words} of {height}x{width} px"
