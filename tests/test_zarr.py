import itertools

import numpy as np
import pytest
import tensorstore
import tifffile
from PIL import Image

from consingan_jax.errors import InputError
from consingan_jax.tiled import tiff
from consingan_jax.tiled.zarr import LONGEST, ZarrArray

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


@pytest.mark.parametrize("shape", SHAPES)
def test_windows_anywhere(shape, tmp_path):
    """A window of 20x23 px lies across the borders of chunks; a TIFF has other tiles."""
    picture, path = random(shape), tmp_path / "p.zarr"
    ZarrArray(path, shape, (17, 19)).open({"seed": 3})
    array = ZarrArray(path, shape, (17, 19))
    array.open({"seed": 3})
    assert array.attributes() == {"seed": 3}
    for top, left in itertools.product(range(0, shape[-3], 20), range(0, shape[-2], 23)):
        window = picture[..., top : top + 20, left : left + 23, :]
        array.write(top, left, window)
        height, width = window.shape[-3:-1]
        first = window.reshape(-1, height, width, shape[-1])[0]
        assert (array.read(top, left, height, width) == first).all()
    assert (read_zarr(path).reshape(shape) == picture).all()
    tiff.write(tmp_path / "p.tif", array, {"seed": 3}, {})
    assert (read_tiff(tmp_path / "p.tif").reshape(shape) == picture).all()
    assert tiff.about(tmp_path / "p.tif") == {"seed": 3}


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *(((40, 33, 3), "uint16"), ((40, 33, 4), "uint16"), ((2, 40, 33, 2), "float32")),
        *(((9, 40, 5), "uint8"), ((9, 40, 1), "int16")),
    ],
)
def test_any_depth_and_number_of_channels(shape, dtype, tmp_path):
    picture = (30000 * np.random.default_rng(0).uniform(size=shape)).astype(dtype)
    array = ZarrArray(tmp_path / "p.zarr", shape, (17, 19), dtype)
    array.open({})
    array.write(0, 0, picture)
    assert (array.read(3, 5, 6, 20) == picture.reshape(-1, *shape[-3:])[0, 3:9, 5:25]).all()
    tiff.write(tmp_path / "p.tif", array, {}, {"white_is_zero": shape[-1] == 1})
    for found in (read_zarr(array.path), tifffile.imread(tmp_path / "p.tif")):
        assert found.dtype == dtype and (found.reshape(shape) == picture).all()
    with tifffile.TiffFile(tmp_path / "p.tif") as file:
        assert file.is_bigtiff and (file.pages.first.photometric == 0) == (shape[-1] == 1)


def test_a_file_for_each_chunk_also_where_all_is_black(tmp_path):
    array = ZarrArray(tmp_path / "p.zarr", (70, 90, 3), (32, 64))
    array.open({})
    assert not array.has(32, 64)
    array.write(32, 64, np.zeros((32, 26, 3), np.uint8))
    files = [file.relative_to(array.path) for file in array.path.rglob("*") if file.is_file()]
    assert sorted(map(str, files)) == ["c/1/1/0", "zarr.json"]
    assert array.has(32, 64) and not array.has(0, 64)
    assert array.num_bytes() == 3 * 2 * 32 * 64 * 3


def test_another_picture_or_none(tmp_path):
    path = tmp_path / "p.zarr"
    assert ZarrArray(path, (70, 90, 3), (32, 32)).attributes() is None
    ZarrArray(path, (70, 90, 3), (32, 32)).open({})
    with pytest.raises(InputError, match=r"p\.zarr is damaged .*: delete it"):
        ZarrArray(path, (70, 91, 3), (32, 32)).open({})
    (path / "c/0/0").mkdir(parents=True)
    (path / "c/0/0/0").write_text("no pixels")
    array = ZarrArray(path, (70, 90, 3), (32, 32))
    array.open({})
    with pytest.raises(InputError, match=r"p\.zarr is damaged"):
        array.read(0, 0, 4, 4)
    (path / "zarr.json").write_text("[1]")
    assert array.attributes() is None
    (tmp_path / "p.tif").write_text("no picture")
    assert tiff.about(tmp_path / "p.tif") is None


def test_limits(tmp_path):
    ZarrArray(tmp_path / "p.zarr", (LONGEST, 1, 3), (256, 256))
    with pytest.raises(InputError, match=f"has at most {LONGEST} px a side"):
        ZarrArray(tmp_path / "p.zarr", (1, LONGEST + 1, 3), (256, 256))


@pytest.mark.parametrize("name", ["[x]*? #|:%20.zarr", "ü.zarr"])
def test_names(name, tmp_path):
    array = ZarrArray(tmp_path / name, (8, 8, 3), (8, 8))
    array.open({})
    array.write(0, 0, random((8, 8, 3)))
    assert (read_zarr(tmp_path / name) == random((8, 8, 3))).all()


@pytest.mark.parametrize("name", ["a\\b.zarr", "\udcff.zarr"])
def test_names_that_cannot_be(name, tmp_path):
    with pytest.raises(InputError, match="cannot lie in a path with"):
        ZarrArray(tmp_path / name, (8, 8, 3), (8, 8))
