"""Writes an image of any size tile by tile, resumably and in constant memory."""

import contextlib
import errno
import functools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tqdm

from consingan_jax import lock
from consingan_jax.data import display
from consingan_jax.data.pixels import PixelFormat
from consingan_jax.errors import InputError
from consingan_jax.generation.output import Artifact
from consingan_jax.generation.tiles import TileGrid
from consingan_jax.tiled.preview import Preview
from consingan_jax.tiled.store import Store
from consingan_jax.tiled.tiff import Tiff
from consingan_jax.tiled.tile_log import TileLog
from consingan_jax.tiled.workers import Make, MapTiles, Place, map_here
from consingan_jax.tiled.zarr import Zarr

FORMATS: dict[str, type[Store]] = {".zarr": Zarr, ".tif": Tiff, ".tiff": Tiff}
PLAIN = PixelFormat()


def write(
    path: str | os.PathLike,
    shape: tuple[int, ...],
    make: Make,
    *,
    identity: dict[str, Any],
    tile: tuple[int, int],
    encoding: PixelFormat = PLAIN,
    spread: MapTiles = map_here,
) -> Iterator[str]:
    """Writes a picture window by window, or goes on with it; yields a line for each thing done.

    Beside it lie a preview, NAME.preview.png, and a journal, NAME.tiles.txt. A window counts as
    done when its bytes are on the disk: whenever the process is killed, the same call goes on.

    Args:
        path: ends in .zarr, .tif or .tiff.
        shape: `[H, W, C]`, or `[T, H, W, C]` for an animation.
        make: from (top, left) of a window to its numbers, `[h, w, C]` or `[T, h, w, C]`.
        identity: names the picture, of plain JSON types; what is there is only gone on with if it
            has the same.
        tile: (height, width) of the windows; a smaller picture is one window.
        encoding: what the numbers mean, and their type.
        spread: who makes the windows.

    Raises:
        InputError: the place is taken by something else or by another process, the format cannot
            hold the picture, or the disk has too little room for it.
        OSError: the disk became full; what is written stays.
    """
    path = pathlib.Path(path)
    windows = TileGrid((shape[-3], shape[-2]), tile)
    store = _store(path, shape, windows.size, encoding)
    deep = {} if encoding == PLAIN else {"encoding": encoding.to_dict()}
    about = {**identity, "shape": shape, "tile": windows.size, **deep}
    journal = TileLog(path.with_name(f"{path.name}.tiles.txt"), about, windows.grid)
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock.hold(path.parent, path.name), _full_disk(path, journal):
        _claim(store, journal)
        store.open()
        made = functools.partial(spread, make)
        yield from _fill(store, windows, journal, made, encoding)


def _store(
    path: pathlib.Path, shape: tuple[int, ...], tile: tuple[int, int], encoding: PixelFormat
) -> Store:
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"out={path}: a picture of this size is written tile by tile: give a name ending in "
            f"{', '.join(FORMATS)}"
        )
    meaning = {} if encoding.labels else encoding.meaning(shape[-1])
    return FORMATS[path.suffix.lower()](path, shape, tile, encoding.number_type, meaning)


def _preview(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}.preview.png")


def _claim(store: Store, journal: TileLog) -> None:
    """Begins a picture or takes up one that was begun; touches nothing that is not this one."""
    preview = _preview(store.path)
    if journal.path.exists():
        journal.check()
    else:
        for file in (store.path, preview):
            if file.exists():
                raise InputError(f"{file} is there already: delete it or give another --out")
    if store.path.exists():
        journal.resume(store.path)
        _check_room(store, journal)
    else:
        _check_room(store, journal)
        journal.create()
        preview.unlink(missing_ok=True)


def _check_room(store: Store, journal: TileLog) -> None:
    """Raises an InputError if what is missing does not fit on the disk."""
    files = [file.stat() for file in (store.path, *store.path.rglob("*")) if file.is_file()]
    taken = sum(getattr(file, "st_blocks", file.st_size // 512) * 512 for file in files)
    missing = store.num_bytes() * (journal.total - sum(journal.done)) // journal.total
    need, free = min(missing, store.num_bytes() - taken), shutil.disk_usage(store.path.parent).free
    if need > free:
        raise InputError(
            f"out={store.path}: up to {need / 2**20:,.0f} MiB more are needed and "
            f"{free / 2**20:,.0f} MiB are free there: make room or give another --out"
        )


@contextlib.contextmanager
def _full_disk(path: pathlib.Path, journal: TileLog) -> Iterator[None]:
    """Says what to do when the disk has become full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno)}, with {sum(journal.done)} of {journal.total} tiles "
            "written: make room, and the same command goes on",
            str(path),
        ) from None


def _fill(
    store: Store,
    windows: TileGrid,
    journal: TileLog,
    made: Callable[[Iterable[Place]], Iterator[np.ndarray]],
    encoding: PixelFormat,
) -> Iterator[str]:
    """Makes the windows that are missing, then the preview."""
    path, file, total = store.path, _preview(store.path), journal.total
    done = [number for number, is_done in enumerate(journal.done) if is_done]
    if len(done) == total and file.exists():
        yield f"{path} is complete already; small: {file}"
        return
    if done:
        yield f"{path}: {len(done)} of {total} tiles are there already"
    preview = Preview(*store.shape[-3:])
    for number in tqdm.tqdm(done, file.name, unit="tile", leave=False, disable=not done):
        part = windows.new(number)
        preview.add(*part[:2], store.read(*part))
    with tqdm.tqdm(
        desc=path.name, total=total, initial=len(done), unit="tile", dynamic_ncols=True
    ) as bar:
        missing = [number for number in range(total) if not journal.done[number]]
        pieces = made(map(windows.place, missing))
        for number, piece in zip(missing, pieces, strict=True):
            top, left, height, width = windows.new(number)
            pixels = np.asarray(piece)
            assert pixels.shape == (*store.shape[:-3], *windows.size, store.shape[-1]), pixels.shape
            assert pixels.dtype == store.dtype, pixels.dtype
            pixels = pixels[..., -height:, -width:, :]
            store.write(top, left, pixels)
            journal.mark(number)
            preview.add(top, left, pixels.reshape(-1, *pixels.shape[-3:])[0])
            bar.update()
    display.save(file, encoding.decode(preview.pixels()))
    height, width = windows.canvas
    yield Artifact(f"{path}: {height}x{width} px (height x width); small: {file}", file)
