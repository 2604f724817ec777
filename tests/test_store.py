import itertools

import numpy as np
import pytest
import tensorstore
import tifffile
from PIL import Image

from consingan_jax.errors import InputError
from consingan_jax.files import whole
from consingan_jax.tiled import tiff
from consingan_jax.tiled.tiff import Tiff
from consingan_jax.tiled.zarr import Zarr

SHAPES = [(70, 90, 3), (70, 90, 1), (2, 40, 33, 3), (2, 40, 33, 1), (5, 4, 3)]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiff, "SIDE", 16)


def random(shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def read_zarr(path):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return np.asarray(tensorstore.open(spec).result().read().result())


def read_tiff(path):
    """Reads a file by tifffile, and by Pillow's own reader, which must agree."""
    pixels = tifffile.imread(path)
    with Image.open(path) as file:
        for page in range(file.n_frames):
            file.seek(page)
            assert (np.asarray(file) == (pixels[page] if file.n_frames > 1 else pixels)).all()
    return pixels


def _kinds(tmp_path):
    return [(Zarr, tmp_path / "p.zarr", read_zarr), (Tiff, tmp_path / "p.tif", read_tiff)]


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_windows_anywhere(kind, shape, tmp_path):
    """A window of 20x23 px lies across the borders of tiles in both formats."""
    kind, path, read = _kinds(tmp_path)[kind]
    picture = random(shape)
    kind(path, shape, (17, 19)).open()
    store = kind(path, shape, (17, 19))
    store.open()
    for top, left in itertools.product(range(0, shape[-3], 20), range(0, shape[-2], 23)):
        window = picture[..., top : top + 20, left : left + 23, :]
        store.write(top, left, window)
        height, width = window.shape[-3:-1]
        first = window.reshape(-1, height, width, shape[-1])[0]
        assert (store.read(top, left, height, width) == first).all()
    assert (read(path).reshape(shape) == picture).all()


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((40, 33, 3), "uint16"),
        ((40, 33, 4), "uint16"),
        ((2, 40, 33, 2), "float32"),
        ((9, 40, 5), "uint8"),
    ],
)
def test_any_depth_and_number_of_channels(kind, shape, dtype, tmp_path):
    kind, path, _ = _kinds(tmp_path)[kind]
    picture = (60000 * np.random.default_rng(0).uniform(size=shape)).astype(dtype)
    store = kind(path, shape, (17, 19), dtype)
    store.open()
    for top in range(0, shape[-3], 20):
        store.write(top, 0, picture[..., top : top + 20, :, :])
    assert (store.read(3, 5, 6, 20) == picture.reshape(-1, *shape[-3:])[0, 3:9, 5:25]).all()
    found = read_zarr(path) if kind is Zarr else tifffile.imread(path)
    assert found.dtype == dtype and (found.reshape(shape) == picture).all()


def test_a_zarr_has_a_file_for_each_tile(tmp_path):
    store = Zarr(tmp_path / "p.zarr", (70, 90, 3), (32, 64))
    store.open()
    store.write(32, 64, random((32, 26, 3)))
    files = [file.relative_to(store.path) for file in store.path.rglob("*") if file.is_file()]
    assert sorted(map(str, files)) == ["c/1/1/0", "zarr.json"]
    assert store.num_bytes() == 3 * 2 * 32 * 64 * 3


def test_a_tiff_is_a_big_tiff_that_takes_room_as_it_is_written(tmp_path):
    store = Tiff(tmp_path / "p.tif", (2, 4000, 6000, 3), (100, 100))
    store.open()
    assert store.num_bytes() == 2 * 250 * 16 * 375 * 16 * 3
    assert store.path.stat().st_size > store.num_bytes()
    assert store.path.stat().st_blocks * 512 < store.num_bytes() / 10
    with tifffile.TiffFile(store.path) as file:
        assert file.is_bigtiff and file.series[0].shape == (2, 4000, 6000, 3)
        offsets = [offset for page in file.pages for offset in page.dataoffsets]
    assert set(np.diff(offsets)) == {16 * 16 * 3}


def test_another_picture_or_none(tmp_path):
    for kind, path, _ in _kinds(tmp_path):
        kind(path, (70, 90, 3), (32, 32)).open()
        with pytest.raises(InputError, match=rf"{path.name} is damaged .*: delete it"):
            kind(path, (70, 91, 3), (32, 32)).open()
    (tmp_path / "p.tif").write_text("no picture")
    with pytest.raises(InputError, match=r"p\.tif is damaged"):
        Tiff(tmp_path / "p.tif", (70, 90, 3), (32, 32)).open()
    (tmp_path / "p.zarr/c/0/0").mkdir(parents=True)
    (tmp_path / "p.zarr/c/0/0/0").write_text("no pixels")
    store = Zarr(tmp_path / "p.zarr", (70, 90, 3), (32, 32))
    store.open()
    with pytest.raises(InputError, match=r"p\.zarr is damaged"):
        store.read(0, 0, 4, 4)


def test_a_tiff_that_is_cut_off(tmp_path):
    store = Tiff(tmp_path / "p.tif", (70, 90, 3), (32, 32))
    store.open()
    with store.path.open("r+b") as file:
        file.truncate(20000)
    with pytest.raises(InputError, match="another size"):
        store.open()


def test_limits(tmp_path):
    longest = {"zarr": 2**53 - 1, "tif": 2**31 - 1}
    for kind, path, _ in _kinds(tmp_path):
        side = longest[path.suffix[1:]]
        kind(path, (side, 1, 3), (256, 256))
        with pytest.raises(InputError, match=rf"holds at most {side} px a side, not 1x{side + 1}"):
            kind(path, (1, side + 1, 3), (256, 256))


@pytest.mark.parametrize("name", ["[x]*? #|:%20.zarr", "ü.zarr"])
def test_names(name, tmp_path):
    store = Zarr(tmp_path / name, (8, 8, 3), (8, 8))
    store.open()
    store.write(0, 0, random((8, 8, 3)))
    assert (read_zarr(tmp_path / name) == random((8, 8, 3))).all()


@pytest.mark.parametrize("name", ["a\\b.zarr", "\udcff.zarr"])
def test_names_that_cannot_be(name, tmp_path):
    with pytest.raises(InputError, match="cannot lie in a path with"):
        Zarr(tmp_path / name, (8, 8, 3), (8, 8))


def test_a_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(KeyError), whole(path) as part:
        part.write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with whole(path) as part:
        part.write_text("whole")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
