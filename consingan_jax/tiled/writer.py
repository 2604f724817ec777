"""Writes an image of any size tile by tile, resumably and in constant memory."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tqdm

from consingan_jax import checkpoint, lock
from consingan_jax.data import display
from consingan_jax.data.pixels import PixelFormat
from consingan_jax.errors import InputError
from consingan_jax.executors import LOCAL, Executor
from consingan_jax.generation.output import Artifact
from consingan_jax.generation.tiles import TileGrid
from consingan_jax.tiled import tiff
from consingan_jax.tiled.preview import Preview
from consingan_jax.tiled.zarr import ZarrArray

TIFF = (".tif", ".tiff")
FORMATS = (".zarr", *TIFF)
PLAIN = PixelFormat()
Make = Callable[[int, int], np.ndarray]
"""From (top, left) of a window to its numbers, `[h, w, C]` or `[T, h, w, C]`."""


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
    """Writes an image window by window, or continues it; yields a line for each thing done.

    The pixels go to a Zarr array, whose chunks say which windows are done: whenever the process is
    killed, the same call continues. A TIFF is copied from it at the end. Beside the image lies a
    preview, NAME.preview.png.

    Args:
        path: ends in .zarr, .tif or .tiff.
        shape: `[H, W, C]`, or `[T, H, W, C]` for an animation.
        make: from (top, left) of a window to its numbers, `[h, w, C]` or `[T, h, w, C]`.
        identity: identifies the image, in plain JSON types; only one of the same is continued.
        tile: (height, width) of the windows; a smaller image is one window.
        encoding: what the numbers mean, and their type.
        executor: computes the windows, here or elsewhere.

    Raises:
        InputError: the path is taken by something else or by another process, the format cannot
            hold the image, or the disk has too little room for it.
        OSError: the disk became full; what is written stays.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"out={path}: a picture of this size is written tile by tile: give a name ending in "
            f"{', '.join(FORMATS)}"
        )
    if suffix in TIFF and max(shape[-3:-1]) > tiff.LONGEST:
        raise InputError(f"out={path}: {suffix} has at most {tiff.LONGEST} px a side: give .zarr")
    windows = TileGrid((shape[-3], shape[-2]), tile)
    pixels = path.with_name(f"{path.name}.zarr") if suffix in TIFF else path
    array = ZarrArray(pixels, shape, windows.size, encoding.number_type)
    deep = {} if encoding == PLAIN else {"encoding": encoding.to_dict()}
    identity = {**identity, "shape": shape, "tile": windows.size, **deep}
    about = json.loads(json.dumps({"format": checkpoint.FORMAT, **identity}))
    preview = path.with_name(f"{path.name}.preview.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock.hold(path.parent, path.name), _full_disk(path, array, windows):
        if suffix in TIFF and path.exists():
            _check(path, tiff.about(path), about)
            yield f"{path} is complete already"
            return
        if pixels.exists():
            _check(pixels, array.attributes(), about)
        elif preview.exists():
            raise InputError(f"{preview} is there already: delete it or give another --out")
        done = _done(array, windows) if pixels.exists() else []
        _check_room(path, array, windows, len(done))
        array.open(about)
        complete = len(done) == windows.grid[0] * windows.grid[1]
        if complete and preview.exists() and pixels == path:
            yield f"{path} is complete already"
            return
        yield from _fill(path, array, windows, done, make, encoding, executor, preview)
        if suffix in TIFF:
            meaning = {} if encoding.labels else encoding.meaning(shape[-1])
            tiff.write(path, array, about, meaning)
            shutil.rmtree(pixels)
    height, width = windows.canvas
    yield Artifact(f"{path}: {height}x{width} px (height x width); small: {preview}", preview)


def _check(path: pathlib.Path, found: dict[str, Any] | None, about: dict[str, Any]) -> None:
    """Raises an InputError unless what is there is the image that is asked for."""
    if not found or "format" not in found:
        raise InputError(f"{path} is there already: delete it or give another --out")
    checkpoint.check_format(path, found["format"])
    for field, value in about.items():
        if found.get(field) != value:
            raise InputError(
                f"{path} is another picture, with {field}={found.get(field)!r} and not {value!r}: "
                "give that value or another --out"
            )


def _done(array: ZarrArray, windows: TileGrid) -> list[int]:
    """Returns the numbers of the windows that are written."""
    total = windows.grid[0] * windows.grid[1]
    return [number for number in range(total) if array.has(*windows.new(number)[:2])]


def _check_room(path: pathlib.Path, array: ZarrArray, windows: TileGrid, done: int) -> None:
    """Raises an InputError if what is missing does not fit on the disk."""
    total = windows.grid[0] * windows.grid[1]
    need = array.num_bytes() * (total - done) // total
    need += array.num_bytes() if path != array.path else 0  # the copy
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise InputError(
            f"out={path}: up to {need / 2**20:,.0f} MiB more are needed and {free / 2**20:,.0f} "
            "MiB are free there: make room or give another --out"
        )


@contextlib.contextmanager
def _full_disk(path: pathlib.Path, array: ZarrArray, windows: TileGrid) -> Iterator[None]:
    """Says what to do when the disk has become full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        total = windows.grid[0] * windows.grid[1]
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno)}, with {len(_done(array, windows))} of {total} tiles "
            "written: make room, and the same command goes on",
            str(path),
        ) from None


def _fill(
    path: pathlib.Path,
    array: ZarrArray,
    windows: TileGrid,
    done: Sequence[int],
    make: Make,
    encoding: PixelFormat,
    executor: Executor,
    file: pathlib.Path,
) -> Iterator[str]:
    """Computes the windows that are missing, then the preview."""
    total = windows.grid[0] * windows.grid[1]
    if done:
        yield f"{path}: {len(done)} of {total} tiles are there already"
    preview = Preview(*array.shape[-3:])
    for number in tqdm.tqdm(done, file.name, unit="tile", leave=False, disable=not done):
        part = windows.new(number)
        preview.add(*part[:2], array.read(*part))
    missing = sorted(set(range(total)) - set(done))
    with tqdm.tqdm(
        desc=path.name, total=total, initial=len(done), unit="tile", dynamic_ncols=True
    ) as bar:
        for number, pixels in executor.map(lambda number: make(*windows.place(number)), missing):
            if pixels is None:
                continue
            if isinstance(pixels, Exception):
                raise pixels
            top, left, height, width = windows.new(number)
            pixels = np.asarray(pixels)
            assert pixels.shape == (*array.shape[:-3], *windows.size, array.shape[-1]), pixels.shape
            assert pixels.dtype == array.dtype, pixels.dtype
            pixels = pixels[..., -height:, -width:, :]  # what no earlier window has
            array.write(top, left, pixels)
            preview.add(top, left, pixels.reshape(-1, *pixels.shape[-3:])[0])
            bar.update()
    display.save(file, encoding.decode(preview.pixels()))
