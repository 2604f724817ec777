"""Renders samples and animations of any size to .zarr and .tif."""

import dataclasses
import functools
import hashlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from consingan_jax import numerics
from consingan_jax.data.noise import NoiseSource
from consingan_jax.errors import InputError
from consingan_jax.executors import LOCAL, Executor
from consingan_jax.generation import sampling
from consingan_jax.generation.model import Model
from consingan_jax.generation.sampling import TiledRenderer
from consingan_jax.generation.tiles import TileGrid
from consingan_jax.nn.resize import Size
from consingan_jax.tiled import writer
from consingan_jax.tiled.writer import Make


def is_file(path: str) -> bool:
    """Returns whether a path names an image file, and not a directory.

    Raises:
        InputError: the suffix is that of an image format that is not written.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in (".jpg", ".jpeg", ".webp", ".gif", ".bmp"):
        raise InputError(f"out={path}: one image goes into .png, .npy, .zarr or .tif")
    return suffix in (".png", ".npy") or is_large(path)


def is_large(path: str) -> bool:
    """Returns whether a file with this suffix is written tile by tile."""
    return pathlib.Path(path).suffix.lower() in writer.FORMATS


@dataclasses.dataclass(frozen=True, eq=False)
class _Sample:
    """Computes the tiles of one sample, in this process or, pickled, in another."""

    model: Model
    asked: dict[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        # Without `input`, which each process computes on its own devices.
        return {"model": self.model, "asked": self.asked}

    @functools.cached_property
    def input(self) -> tuple[NoiseSource, TiledRenderer]:
        return sampling.windowed_sample(self.model, **self.asked)

    @numerics.independent
    def __call__(self, top: int, left: int) -> np.ndarray:
        source, renderer = self.input
        made = renderer.window(source, top=top, left=left, size=renderer.tile)
        return self.model.encoding.numbers(np.asarray(made[0]))


@dataclasses.dataclass(frozen=True, eq=False)
class _Animation:
    """Computes the tiles of one animation, each with all frames."""

    model: Model
    tile: Size
    seed: int
    asked: dict[str, Any]

    def __call__(self, top: int, left: int) -> np.ndarray:
        shape = (self.asked["frames"], *self.tile, self.model.arch.channels)
        pixels = np.empty(shape, self.model.encoding.number_type)
        frames = self.model.animate(self.seed, **self.asked, window=(top, left, *self.tile))
        for number, frame in enumerate(frames):
            pixels[number] = self.model.encoding.numbers(frame)
        return pixels


@numerics.independent
def sample(
    model: Model,
    path: str,
    *,
    seed: int,
    start_stage: int,
    executor: Executor = LOCAL,
    tile: str | None = None,
    **size: int | str | None,
) -> Iterator[str]:
    """Writes one sample; yields a line for each thing done.

    Args:
        model: the model.
        path: path of the file, as for `writer.write`.
        seed: seed of the sample.
        start_stage: as for `Model.sample`.
        executor: computes the tiles.
        tile: as for `Model.sample`.
        size: `height` and `width`, as for `Model.sample`.

    Raises:
        InputError: the model generates whole images only, or an argument is out of range; also
            the errors of `writer.write`.
    """
    # Without a tile of None, as images that are continued were begun.
    identity = {
        "seed": seed,
        "start_stage": start_stage,
        **({} if tile is None else {"tile": tile}),
    }
    make = _Sample(model, {**identity, **size})
    source, renderer = make.input
    memory = renderer.memory(source) / 2**20
    yield f"{_plan(renderer)}; one takes {memory:,.0f} MiB, however large the image is"
    yield from _write(model, path, make, renderer, identity, executor)


@numerics.independent
def animation(
    model: Model,
    path: str,
    *,
    seed: int,
    height: Any,
    width: Any,
    executor: Executor = LOCAL,
    **walk: Any,
) -> Iterator[str]:
    """Writes one animation like `sample`; `walk` is as for `Model.animate`."""
    renderer = sampling.renderer(model, height, width, windowed=True)
    asked = {"height": height, "width": width, **walk}
    model.animate(seed, **asked, window=(0, 0, *renderer.tile))  # raises at wrong arguments
    of_tile = (walk["frames"], *renderer.tile, model.arch.channels)
    memory = math.prod(of_tile) * model.encoding.number_type.itemsize / 2**20
    yield f"{_plan(renderer)}; all frames of one take {memory:,.0f} MiB"
    make = _Animation(model, renderer.tile, seed, asked)
    identity = {"seed": seed, **walk}
    yield from _write(model, path, make, renderer, identity, executor, walk["frames"])


def _write(
    model: Model,
    path: str,
    make: Make,
    renderer: TiledRenderer,
    identity: dict[str, Any],
    executor: Executor,
    *frames: int,
) -> Iterator[str]:
    return writer.write(
        path,
        (*frames, *renderer.sizes[-1], model.arch.channels),
        make,
        identity={"model": fingerprint(model), **identity},
        tile=renderer.tile,
        # The user gives the suffix: two that differ in it alone are one format.
        encoding=dataclasses.replace(model.encoding, suffix=writer.PLAIN.suffix),
        executor=executor,
    )


def check_alone(num_samples: int | None) -> None:
    """Raises an InputError if several samples are asked for in one file."""
    if num_samples not in (None, 1):
        raise InputError(
            f"num_samples={num_samples}: one file holds one sample, that of --seed: give a "
            "directory as --out, or leave --num_samples out"
        )


def fingerprint(model: Model) -> str:
    """Returns a digest of the model's arrays, which identifies the model."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(model.tree()):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _plan(renderer: TiledRenderer) -> str:
    height, width = renderer.tile
    number = math.prod(TileGrid(renderer.sizes[-1], renderer.tile).grid)
    return f"{number:,} {'tile' if number == 1 else 'tiles'} of {height}x{width} px"
