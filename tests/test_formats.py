"""Files of every depth and number of channels: what is read, and what is written back."""

import numpy as np
import pytest
from PIL import Image

from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.images import display, image_file, loading
from consingan_jax.images.pixels import PixelFormat

SHAPE = (12, 17)


def _numbers(channels, dtype):
    values = np.random.default_rng(0).uniform(0, 1, (*SHAPE, channels))
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def _write(path, values):
    """Writes numbers `[H, W, C]` by another library's own function."""
    planes = values[..., 0] if values.shape[-1] == 1 else values
    if path.suffix == ".npy":
        np.save(path, planes)
    elif path.suffix == ".tif":
        colour = values.shape[-1] in (3, 4) and values.dtype != np.float32
        options = {"photometric": "rgb" if colour else "minisblack"}
        options |= {} if planes.ndim == 2 else {"planarconfig": "contig"}
        pytest.importorskip("tifffile", reason="needs tifffile").imwrite(path, planes, **options)
    elif values.dtype == np.uint16 and values.shape[-1] > 1:
        codecs = pytest.importorskip("imagecodecs", reason="needs imagecodecs")
        path.write_bytes(codecs.png_encode(planes))
    else:
        Image.fromarray(planes).save(path)


def _again(path):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".tif":
        return pytest.importorskip("tifffile").imread(path)
    return pytest.importorskip("imagecodecs").png_decode(path.read_bytes())


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_what_is_read_is_written_as_it_was(suffix, dtype, channels, tmp_path):
    if suffix == ".png" and (dtype == np.float32 or channels > 4):
        pytest.skip("no such .png")
    values, path = _numbers(channels, dtype), tmp_path / f"in{suffix}"
    _write(path, values)
    found = loading.read(Config.create(image=str(path), channels=channels))
    assert found.pixels.shape == (*SHAPE, channels) and found.pixels.dtype == np.float32
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    np.testing.assert_allclose(found.pixels, values / white * 2.0 - 1, atol=1e-6)
    assert found.encoding.suffix == suffix
    files = found.encoding.save(tmp_path / f"out{suffix}", found.pixels)
    assert files == [tmp_path / f"out{suffix}"]
    back = _again(files[0])
    assert back.dtype == dtype
    tolerance = 1e-6 if dtype == np.float32 else 0
    np.testing.assert_allclose(back.reshape(values.shape), values, atol=tolerance)


def test_pictures_of_eight_bits_are_what_they_were(picture):
    found = loading.read(Config.create(image=str(picture)))
    np.testing.assert_array_equal(found.pixels, loading.load(picture))
    assert found.encoding == PixelFormat()
    assert found.notes == [
        f"image: 30x40 px, 3 channels of uint8, values {_least(picture)} to 255; "
        "0 is black and 255 is white"
    ]


def _least(path):
    return np.asarray(Image.open(path)).min()


@pytest.mark.parametrize(("channels", "expected"), [(0, 3), (3, 3), (4, 4), (1, 1)])
def test_transparency_is_a_channel_where_it_is_asked_for(channels, expected, tmp_path):
    values = _numbers(4, np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = loading.read(Config.create(image=str(tmp_path / "a.png"), channels=channels))
    assert found.pixels.shape[-1] == expected
    if channels == 4:
        np.testing.assert_array_equal(found.encoding.encode(found.pixels), values)


def test_twelve_bits_in_sixteen(tmp_path):
    path = tmp_path / "scan.png"
    Image.fromarray((_numbers(1, np.uint16) // 16)[..., 0]).save(path)
    told = loading.read(Config.create(image=str(path)))
    assert told.pixels.max() < -0.8
    assert "the image uses 6.2% of that range, it is nearly black: give --config" in told.notes[1]
    for asked, high in (("data", 4088), ("0,4095", 4095)):
        found = loading.read(Config.create(image=str(path), value_range=asked))
        assert found.pixels.max() > 0.99 and found.encoding.high == pytest.approx(high, abs=8)
        assert len(found.notes) == 1
        values = found.encoding.encode(found.pixels)
        np.testing.assert_array_equal(values[..., 0], np.asarray(Image.open(path)))


@pytest.mark.parametrize("asked", ["0", "5,5", "9,1", "a,b", "0,inf", "nan,1", "dtypes"])
def test_a_range_that_is_none(asked):
    with pytest.raises(InputError, match="give dtype, data, or two numbers"):
        Config.create(value_range=asked)


def test_a_mask_is_one_more_channel(picture, tmp_path):
    labels = np.random.default_rng(0).choice([0, 3, 200], (30, 40)).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "mask.png")
    found = loading.read(Config.create(image=str(picture), mask=str(tmp_path / "mask.png")))
    assert found.pixels.shape == (30, 40, 4) and found.encoding.labels == (0, 3, 200)
    assert "with the values 0, 3, 200" in found.notes[-1]
    noisy = found.pixels + 0.01 * np.random.default_rng(1).standard_normal(found.pixels.shape)
    file, beside = found.encoding.save(tmp_path / "out.png", noisy)
    assert np.asarray(Image.open(file)).shape == (30, 40, 3)
    assert beside == tmp_path / "out_mask.png"
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out_mask.png")), labels)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((30, 40), np.uint8), "has 1 values: give a mask of 2 to 256"),
        (np.zeros((30, 41), np.uint8), "has 30x41 px, but the image 30x40: give a mask of the"),
        (_numbers(3, np.uint8)[:1, :1].repeat(30, 0).repeat(40, 1), "is coloured: give a grey"),
        (None, "config.mask: image .*: no such file"),
    ],
)
def test_masks_that_cannot_be(mask, message, picture, tmp_path):
    if mask is not None:
        Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=message):
        loading.read(Config.create(image=str(picture), mask=str(tmp_path / "mask.png")))


def test_a_task_that_takes_composites_learns_no_mask():
    with pytest.raises(InputError, match="the task editing learns no mask"):
        Config.create("editing", mask="mask.png")


def test_pages_are_channels_where_they_are_asked_for(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="needs tifffile")
    pages = np.moveaxis(_numbers(5, np.uint16), -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    first = loading.read(Config.create(image=str(tmp_path / "a.tif")))
    assert first.pixels.shape[-1] == 1
    found = loading.read(Config.create(image=str(tmp_path / "a.tif"), channels=5))
    np.testing.assert_array_equal(found.encoding.encode(found.pixels), np.moveaxis(pages, 0, -1))
    assert "only the first of 5 pages is used; --config.channels=5 takes all" in first.notes[1]
    with pytest.raises(
        InputError, match=r"config.channels=7: image .*a.tif has 1: give that, or 0"
    ):
        loading.read(Config.create(image=str(tmp_path / "a.tif"), channels=7))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 4, 5, 6)), r"has the shape \(3, 4, 5, 6\): give \[H, W\] or \[H, W, C\]"),
        (np.zeros((3, 4), np.complex64), "is of complex64: give float32 or smaller numbers"),
        (np.array([[-5, 3 * 10**9]]), "is of int64: give float32 or smaller numbers"),
        (
            np.array([{"a": 1}]),
            "cannot be read, a damaged or unusual .npy: Array can't be memory-mapped",
        ),
    ],
)
def test_arrays_that_are_no_pictures(values, message, tmp_path):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=message):
        loading.read(Config.create(image=str(tmp_path / "a.npy")))


@pytest.mark.parametrize(
    ("name", "module"),
    [("deep.png", "imagecodecs"), ("slice.dcm", "pydicom"), ("photo.heic", "pillow-heif")],
)
def test_a_library_that_is_missing_is_named(name, module, tmp_path, monkeypatch):
    starts = {
        "deep.png": b"",
        "slice.dcm": bytes(128) + b"DICM",
        "photo.heic": b"\0\0\0\x18ftypheic",
    }
    (tmp_path / name).write_bytes(starts[name] + bytes(400))
    if name == "deep.png":
        _write(tmp_path / name, _numbers(3, np.uint16))
    monkeypatch.setattr(image_file, "is_installed", lambda _: False)
    with pytest.raises(InputError, match=rf"{name} needs {module}: python -m pip install {module}"):
        loading.read(Config.create(image=str(tmp_path / name)))


def test_what_people_see_of_many_channels(tmp_path):
    picture = np.linspace(-1, 1, 12 * 17 * 5, dtype=np.float32).reshape(12, 17, 5)
    display.save(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "a.png")), display.to_uint8(picture[..., :3])
    )
    assert display.shown(picture[..., :2]).shape == (12, 17, 1)
    assert display.grid([picture, picture]).shape[-1] == 3
