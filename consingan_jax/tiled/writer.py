"""Writes an image of any size tile by tile, resumably and in constant memory."""

import contextlib
import dataclasses
import errno
import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tqdm

from consingan_jax import checkpoint, lock
from consingan_jax.errors import InputError
from consingan_jax.executors import LOCAL, Executor
from consingan_jax.generation.output import Artifact
from consingan_jax.generation.tiles import TileGrid
from consingan_jax.images import display
from consingan_jax.images.pixels import PixelFormat
from consingan_jax.tiled import tiff
from consingan_jax.tiled.preview import Preview
from consingan_jax.tiled.zarr import ZarrArray

TIFF = (".tif", ".tiff")
FORMATS = (".zarr", *TIFF)
PLAIN = PixelFormat()
Make = Callable[[int, int], np.ndarray]
"""Maps (top, left) of a tile to its pixels, `[h, w, C]` or `[T, h, w, C]`."""


def write(
    path: str | os.PathLike,
    shape: tuple[int, ...],
    make: Make,
    *,
    identity: dict[str, Any],
    tile: tuple[int, int],
    encoding: PixelFormat = PLAIN,
    executor: Executor = LOCAL,
) -> Iterator[str]:
    """Writes an image tile by tile, or resumes it; yields a line about each thing done.

    The pixels go to a Zarr array with one chunk per tile and frame. A chunk that exists is done,
    so that the same call resumes a killed process. A TIFF is copied from the array at the end.
    A preview, NAME.preview.png, is written next to the image.

    Args:
        path: file name ending in .zarr, .tif or .tiff.
        shape: `[H, W, C]`, or `[T, H, W, C]` for an animation.
        make: maps (top, left) of a tile to its pixels, `[h, w, C]` or `[T, h, w, C]`.
        identity: identifies the image, in JSON types; only an equal one is resumed.
        tile: (height, width) of the tiles; a smaller image has tiles of its own size.
        encoding: type and meaning of the pixel values.
        executor: computes the tiles.

    Raises:
        InputError: the path is taken by something else or by another process, the format cannot
            hold the image, or the disk has too little room for it.
        OSError: the disk is full; what is written stays.
    """
    path = pathlib.Path(path)
    is_tiff = _check_suffix(path, shape)
    tiles = TileGrid((shape[-3], shape[-2]), tile)
    pixels = path.with_name(f"{path.name}.zarr") if is_tiff else path
    image = _Image(path, ZarrArray(pixels, shape, tiles.size, encoding.number_type), tiles)
    identity = {**identity, "shape": shape, "tile": tiles.size}
    if encoding != PLAIN:  # earlier versions wrote plain images without this key
        identity["encoding"] = encoding.to_dict()
    # As JSON gives it back, with lists for tuples, so that it can be compared.
    identity = json.loads(json.dumps({"format": checkpoint.FORMAT, **identity}))
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock.hold(path.parent, path.name), image.explained_full_disk():
        if is_tiff and path.exists():
            _check_identity(path, tiff.about(path), identity)
            yield f"{path} is complete already"
            return
        done = image.open(identity)
        if len(done) == image.num_tiles and image.preview.exists() and not is_tiff:
            yield f"{path} is complete already"
            return
        yield from image.fill(make, done, executor, encoding)
        if is_tiff:
            meaning = {} if encoding.labels else encoding.meaning(shape[-1])
            tiff.write(path, image.array, identity, meaning)
            shutil.rmtree(pixels)
    size = f"{shape[-3]}x{shape[-2]} px (height x width)"
    yield Artifact(f"{path}: {size}; small: {image.preview}", image.preview)


def _check_suffix(path: pathlib.Path, shape: tuple[int, ...]) -> bool:
    """Returns whether the file is a TIFF; raises an InputError if the format cannot hold it."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"out={path}: an image of this size is written tile by tile: give a name ending in "
            f"{', '.join(FORMATS)}"
        )
    if suffix in TIFF and max(shape[-3:-1]) > tiff.LONGEST:
        raise InputError(f"out={path}: {suffix} has at most {tiff.LONGEST} px a side: give .zarr")
    return suffix in TIFF


def _check_identity(
    path: pathlib.Path, found: dict[str, Any] | None, identity: dict[str, Any]
) -> None:
    """Raises an InputError unless the file is the image that is asked for."""
    if not found or "format" not in found:
        raise InputError(f"{path} exists already: delete it or give another --out")
    checkpoint.check_format(path, found["format"])
    for field, value in identity.items():
        if found.get(field) != value:
            raise InputError(
                f"{path} is another image, with {field}={found.get(field)!r} and not {value!r}: "
                "give that value or another --out"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class _Image:
    """An image on disk that may be incomplete."""

    path: pathlib.Path
    array: ZarrArray  # elsewhere than `path` if that is a TIFF
    tiles: TileGrid  # one tile per chunk of a frame

    @property
    def num_tiles(self) -> int:
        return math.prod(self.tiles.grid)

    @property
    def preview(self) -> pathlib.Path:
        return self.path.with_name(f"{self.path.name}.preview.png")

    def open(self, identity: dict[str, Any]) -> list[int]:
        """Opens or creates the array, and returns the numbers of the tiles that are written."""
        if self.array.path.exists():
            _check_identity(self.array.path, self.array.attributes(), identity)
        elif self.preview.exists():
            raise InputError(f"{self.preview} exists already: delete it or give another --out")
        done = self._done()
        missing = self.num_tiles - len(done)
        need = self.array.num_bytes() * missing // self.num_tiles
        if self.path != self.array.path:
            need += self.array.num_bytes()  # array and TIFF exist together until the copy is done
        free = shutil.disk_usage(self.path.parent).free
        if need > free:
            raise InputError(
                f"out={self.path}: up to {need / 2**20:,.0f} MiB more are needed, but only "
                f"{free / 2**20:,.0f} MiB are free: make room or give another --out"
            )
        self.array.open(identity)
        return done

    def _done(self) -> list[int]:
        if not self.array.path.exists():  # the number of tiles may be astronomical
            return []
        return [i for i in range(self.num_tiles) if self.array.has(*self.tiles.new(i)[:2])]

    @contextlib.contextmanager
    def explained_full_disk(self) -> Iterator[None]:
        """Adds to the error of a full disk how to go on."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                error.errno,
                f"{os.strerror(error.errno)}, with {len(self._done())} of {self.num_tiles} tiles "
                "written: make room, then give the same command again",
                str(self.path),
            ) from None

    def fill(
        self, make: Make, done: Sequence[int], executor: Executor, encoding: PixelFormat
    ) -> Iterator[str]:
        """Computes and writes the missing tiles, then the preview."""
        name, total = self.path.name, self.num_tiles
        if done:
            yield f"{self.path}: {len(done)} of {total} tiles are there already"
        preview = Preview(*self.array.shape[-3:])
        # It is not saved before the end: what earlier calls have written is read again.
        for i in tqdm.tqdm(done, self.preview.name, unit="tile", leave=False, disable=not done):
            part = self.tiles.new(i)
            preview.add(*part[:2], self.array.read(*part))
        missing = sorted(set(range(total)) - set(done))
        bar = tqdm.tqdm(desc=name, total=total, initial=len(done), unit="tile", dynamic_ncols=True)
        with bar:
            for i, pixels in executor.map(lambda i: make(*self.tiles.place(i)), missing):
                if pixels is None:
                    continue
                if isinstance(pixels, Exception):
                    raise pixels
                self._write(i, np.asarray(pixels), preview)
                bar.update()
        display.save(self.preview, encoding.decode(preview.pixels()))

    def _write(self, i: int, pixels: np.ndarray, preview: Preview) -> None:
        *frames, _, _, channels = self.array.shape
        assert pixels.shape == (*frames, *self.tiles.size, channels), pixels.shape
        assert pixels.dtype == self.array.dtype, pixels.dtype
        top, left, height, width = self.tiles.new(i)
        # The last tile of an axis overlaps the one before; its own part is whole chunks.
        pixels = pixels[..., -height:, -width:, :]
        self.array.write(top, left, pixels)
        preview.add(top, left, pixels.reshape(-1, *pixels.shape[-3:])[0])
