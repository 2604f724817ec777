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
    """Returns whether a name is that of a file for one picture, and not of a directory.

    Raises:
        InputError: it is that of a picture in a format that is not written.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in (".jpg", ".jpeg", ".webp", ".gif", ".bmp"):
        raise InputError(f"out={path}: one picture goes into .png, .npy, .zarr or .tif")
    return suffix in (".png", ".npy") or is_large(path)


def is_large(path: str) -> bool:
    """Returns whether a file of this name is written tile by tile."""
    return pathlib.Path(path).suffix.lower() in writer.FORMATS


@dataclasses.dataclass(frozen=True, eq=False)
class _Sample:
    """Makes the tiles of one sample, in this process or in another."""

    model: Model
    asked: dict[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "asked": self.asked}  # not `input`: no random key can be sent

    @functools.cached_property
    def input(self) -> tuple[NoiseSource, TiledRenderer]:
        """What it is made of."""
        return sampling.windowed_sample(self.model, **self.asked)

    @numerics.independent
    def __call__(self, top: int, left: int) -> np.ndarray:
        source, renderer = self.input
        made = renderer.window(source, top=top, left=left, size=renderer.tile)
        return self.model.encoding.numbers(np.asarray(made[0]))


@dataclasses.dataclass(frozen=True, eq=False)
class _Animation:
    """Makes the tiles of one animation, all frames of each."""

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
    **size: int | str | None,
) -> Iterator[str]:
    """Writes one sample; yields a line for each thing done.

    Args:
        model: what makes it.
        path: of the file, as for `writer.write`, which also says what is raised.
        seed: of the sample.
        start_stage: as for `Model.sample`.
        executor: computes the tiles.
        size: height and width, likewise.

    Raises:
        InputError: the model makes whole images only, or an argument is out of range.
    """
    make = _Sample(model, {"seed": seed, "start_stage": start_stage, **size})
    source, renderer = make.input
    memory = renderer.memory(source) / 2**20
    yield f"{_plan(renderer)}; one takes {memory:,.0f} MiB, however large the picture is"
    identity = {"seed": seed, "start_stage": start_stage}
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
    """Writes one animation, all frames of a tile at a time; `walk` as for `Model.animate`."""
    renderer = sampling.renderer(model, height, width, windowed=True)
    asked = {"height": height, "width": width, **walk}
    model.animate(seed, **asked, window=(0, 0, *renderer.tile))  # refuses what cannot be
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
    """Writes an image of a model, or frames, whose tiles `make` computes."""
    return writer.write(
        path,
        (*frames, *renderer.sizes[-1], model.arch.channels),
        make,
        identity={"model": fingerprint(model), **identity},
        tile=renderer.tile,
        # But for the suffix, which the user gives.
        encoding=dataclasses.replace(model.encoding, suffix=writer.PLAIN.suffix),
        executor=executor,
    )


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


def _plan(renderer: TiledRenderer) -> str:
    (height, width), (down, across) = (
        renderer.tile,
        TileGrid(renderer.sizes[-1], renderer.tile).grid,
    )
    words = "tile" if down * across == 1 else "tiles"
    return f"{down * across:,} {words} of {height}x{width} px"
