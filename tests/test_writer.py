import collections
import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tifffile

from consingan_jax import lock
from consingan_jax.errors import InputError
from consingan_jax.generation.tiles import TileGrid
from consingan_jax.images import display, loading
from consingan_jax.tiled import preview, tiff, writer
from consingan_jax.tiled.zarr import ZarrArray
from tests.test_zarr import read_zarr

ROOT = pathlib.Path(__file__).parent.parent
SHAPE, TILE = (70, 90, 3), (32, 40)  # 3x3 windows, at 0, 32, 38 and at 0, 40, 50
ABOUT = {"model": "m", "seed": 0}


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiff, "SIDE", 16)


@pytest.fixture(params=["p.zarr", "p.tif"])
def path(request, tmp_path):
    return tmp_path / "new" / request.param


def picture(shape):
    """Returns a picture whose channels say row, column and frame."""
    indices = np.indices(shape)
    frames = 5 * indices[0] if len(shape) == 4 else 0
    return ((indices[-3] + 7 * indices[-2] + 50 * indices[-1] + frames) % 256).astype(np.uint8)


class Make:
    """Makes windows of `picture`, and counts them; stops at one."""

    def __init__(self, shape=SHAPE, tile=TILE, stop_at=None):
        self.picture, self.tile, self.stop_at, self.places = picture(shape), tile, stop_at, []

    def __call__(self, top, left):
        """Returns the window at (top, left)."""
        if len(self.places) == self.stop_at:
            raise KeyError("stopped")
        self.places.append((top, left))
        return self.picture[..., top : top + self.tile[0], left : left + self.tile[1], :]


def write(path, make, shape=SHAPE, tile=TILE, **identity):
    return list(writer.write(path, shape, make, identity=ABOUT | identity, tile=tile))


def read(path):
    return read_zarr(path) if path.suffix == ".zarr" else tifffile.imread(path)


def chunks(path):
    """Returns how many chunks of the pixels are on the disk."""
    pixels = path if path.suffix == ".zarr" else beside(path, "zarr")
    return sum(file.is_file() for file in (pixels / "c").rglob("*"))


def beside(path, what):
    return path.with_name(f"{path.name}.{what}")


def test_windows_by_hand():
    windows = TileGrid((70, 90), (32, 40))
    assert (windows.size, windows.grid) == ((32, 40), (3, 3))
    assert [windows.place(number) for number in (0, 1, 2, 8)] == [
        (0, 0),
        (0, 40),
        (0, 50),
        (38, 50),
    ]
    assert windows.new(2) == (0, 80, 32, 10) and windows.new(8) == (64, 80, 6, 10)
    small = TileGrid((20, 90), (32, 30))
    assert (small.size, small.grid, small.place(2)) == ((20, 30), (1, 3), (0, 60))


def test_a_picture(path):
    make = Make()
    (line,) = write(path, make)
    assert line == f"{path}: 70x90 px (height x width); small: {path}.preview.png"
    assert make.places == [(top, left) for top in (0, 32, 38) for left in (0, 40, 50)]
    assert (read(path) == picture(SHAPE)).all()
    assert (to_bytes(beside(path, "preview.png")) == picture(SHAPE)).all()
    names = {file.name for file in path.parent.iterdir() if not file.name.startswith(".")}
    assert names == {path.name, f"{path.name}.preview.png"}


def to_bytes(file):
    return display.to_uint8(loading.load(file))


@pytest.mark.parametrize("shape", [(50, 61, 3), (50, 61, 1), (4, 50, 61, 3), (2, 9, 3, 1)])
@pytest.mark.parametrize("tile", [(1, 61), (7, 13), (16, 32), (50, 61), (100, 20)])
def test_any_size_and_tile(shape, tile, path):
    size = min(tile[0], shape[-3]), min(tile[1], shape[-2])
    write(path, Make(shape, size), shape, tile)
    assert (read(path).reshape(shape) == picture(shape)).all()
    first = picture(shape).reshape(-1, *shape[-3:])[0]
    assert (to_bytes(beside(path, "preview.png")) == first).all()


def test_it_goes_on_where_it_stopped(path, monkeypatch):
    with pytest.raises(KeyError, match="stopped"):
        write(path, Make(stop_at=4))
    assert chunks(path) == 4 and (path.exists() == (path.suffix == ".zarr"))
    assert not beside(path, "preview.png").exists()
    monkeypatch.setattr(preview, "SIDE", 13)  # of means over squares of 7x7 px
    make = Make()
    lines = write(path, make)
    assert lines[0] == f"{path}: 4 of 9 tiles are there already" and len(make.places) == 5
    assert (read(path) == picture(SHAPE)).all()
    square = picture(SHAPE)[35:42, 14:21].mean((0, 1))
    small = loading.load(beside(path, "preview.png"))
    assert small.shape == (10, 13, 3)
    assert (display.to_uint8(small)[5, 2] == np.rint(square)).all()


def test_what_is_complete(path):
    write(path, Make())
    make = Make()
    assert write(path, make) == [f"{path} is complete already"]
    if path.suffix == ".zarr":
        before = to_bytes(beside(path, "preview.png"))
        beside(path, "preview.png").unlink()
        assert write(path, make)[0] == f"{path}: 9 of 9 tiles are there already"
        assert (to_bytes(beside(path, "preview.png")) == before).all()
    assert make.places == []
    with pytest.raises(InputError, match="is another image, with seed=0 and not 1"):
        write(path, make, seed=1)


def test_what_is_taken_away_is_made_anew(path):
    write(path, Make())
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    beside(path, "preview.png").unlink()
    make = Make()
    write(path, make, seed=1)
    assert len(make.places) == 9 and (read(path) == picture(SHAPE)).all()


KILLED = """
import os, pathlib, signal, sys
import numpy as np
from consingan_jax.tiled import tiff, writer
from consingan_jax.tiled.zarr import ZarrArray
from tests import test_writer

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

tiff.SIDE = 16
path, moment = pathlib.Path(sys.argv[1]), sys.argv[2]
make = test_writer.Make()
if moment == "made":
    make_window, make = make, lambda *place: kill() if place == (32, 0) else make_window(*place)
elif moment == "begun":  # an array, and no chunk
    ZarrArray.open = lambda self, about, open=ZarrArray.open: (open(self, about), kill())
elif moment == "last":  # all but the preview
    writer.display.save = kill
elif moment == "copied":  # all but the TIFF
    tiff.formats.tiff_tags = kill
test_writer.write(path, make)
"""


@pytest.mark.parametrize(
    ("name", "moment", "done"),
    [
        *(("p.tif", "begun", 0), ("p.zarr", "made", 3), ("p.tif", "made", 3)),
        *(("p.zarr", "last", 9), ("p.tif", "copied", 9)),
    ],
)
def test_it_goes_on_after_a_kill(name, moment, done, tmp_path):
    path = tmp_path / name
    command = [sys.executable, "-c", KILLED, str(path), moment]
    killed = subprocess.run(command, stderr=subprocess.PIPE, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    make = Make()
    write(path, make)
    assert len(make.places) == 9 - done
    assert (read(path) == picture(SHAPE)).all()
    assert (to_bytes(beside(path, "preview.png")) == picture(SHAPE)).all()


def _everything(directory):
    files = (file for file in directory.rglob("*") if file.is_file())
    return {file: file.read_bytes() for file in files if file.suffix != ".lock"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seed": 1},
            "is another image, with seed=0 and not 1: give that value or",
        ),
        ({"tile": (32, 32)}, r"with tile=\[32, 40\] and not \[32, 32\]"),
        ({"shape": (70, 91, 3)}, r"with shape=\[70, 90, 3\] and not \[70, 91, 3\]"),
    ],
)
def test_another_picture(changes, message, path):
    with pytest.raises(KeyError):
        write(path, Make(stop_at=4))
    before = _everything(path.parent)
    with pytest.raises(InputError, match=message):
        write(path, Make(), **changes)
    assert _everything(path.parent) == before


@pytest.mark.parametrize("name", ["", ".preview.png"])
def test_what_is_not_ours(name, path):
    file = path.with_name(path.name + name)
    path.parent.mkdir()
    file.write_text("of the user")
    with pytest.raises(InputError, match=f"{file.name} exists already: delete it"):
        write(path, Make())
    assert _everything(path.parent) == {file: b"of the user"}


@pytest.mark.parametrize("name", ["p.png", "p", "p.jpeg"])
def test_other_suffixes(name, tmp_path):
    with pytest.raises(InputError, match=rf"{name}: .* a name ending in \.zarr, \.tif, \.tiff"):
        write(tmp_path / "new" / name, Make())
    assert not (tmp_path / "new").exists()


def test_one_process_at_a_time(path):
    path.parent.mkdir()
    with (
        lock.hold(path.parent, path.name),
        pytest.raises(InputError, match=f"another process writes {path}: let it finish"),
    ):
        write(path, Make())
    with lock.hold(path.parent, "another"), lock.hold(path.parent):
        write(path, Make())


def _free(monkeypatch, free):
    usage = collections.namedtuple("Usage", "total used free")
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: usage(2**40, 0, free))


def test_too_little_room(path, monkeypatch):
    shape, tile = (1024, 1024, 3), (256, 256)  # 3 MiB
    _free(monkeypatch, 2**20)
    make = Make(shape, tile)
    need = 3 if path.suffix == ".zarr" else 6  # with the copy
    words = f"up to {need} MiB more are needed, but only 1 MiB are free"
    with pytest.raises(InputError, match=words):
        write(path, make, shape, tile)
    assert _everything(path.parent) == {} and make.places == []
    _free(monkeypatch, need * 2**20)
    with pytest.raises(KeyError):
        write(path, Make(shape, tile, stop_at=15), shape, tile)
    _free(monkeypatch, 256 * 256 * 3 + (need - 3) * 2**20)  # for the last tile, and the copy
    write(path, make, shape, tile)
    assert len(make.places) == 1


def test_the_largest_pictures_are_refused_at_once(path):
    side = 2**31 - 1 if path.suffix == ".tif" else 2**53 - 1
    with pytest.raises(InputError, match=r"MiB more are needed, but"):
        write(path, Make(), (side, side, 3), (1, 1))


def _full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a chunk")


def _full_as_tensorstore_says(*_):
    raise ValueError("Error writing: No space left on device [os_error_code='28']")


@pytest.mark.parametrize("full", [_full, _full_as_tensorstore_says])
def test_a_full_disk(full, path, monkeypatch):
    class Array:
        __setitem__ = full

    with pytest.raises(KeyError):
        write(path, Make(stop_at=4))
    with monkeypatch.context() as patch:
        patch.setattr(ZarrArray, "open", lambda self, about: setattr(self, "_array", Array()))
        patch.setattr(ZarrArray, "read", lambda *_: picture((1, 1, 3)))
        message = (
            "No space left on device, with 4 of 9 tiles written: .* give the same command again"
        )
        with pytest.raises(OSError, match=message) as caught:
            write(path, Make())
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    make = Make()
    write(path, make)
    assert len(make.places) == 5 and (read(path) == picture(SHAPE)).all()


def test_memory_does_not_grow_with_the_picture(path, monkeypatch):
    monkeypatch.setattr(preview, "SIDE", 64)
    monkeypatch.setattr(tiff, "SIDE", 64)
    write(path.with_stem("first"), Make())  # or what is imported would count
    shape, tile = (1024, 1024, 3), (64, 64)
    tracemalloc.start()
    try:
        write(path, lambda top, left: np.full((*tile, 3), top % 256, np.uint8), shape, tile)
        assert tracemalloc.get_traced_memory()[1] < np.prod(shape) / 4
    finally:
        tracemalloc.stop()
    assert (read(path)[:, :, 0] == np.repeat(np.arange(0, 1024, 64) % 256, 64)[:, None]).all()
