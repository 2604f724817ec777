"""The table of `tests.pictures`, files that were once read wrongly, and other formats."""

import importlib
import pathlib
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

import consingan_jax
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.images import display, formats, loading, masks
from consingan_jax.images.pixels import PixelFormat
from consingan_jax.training import trainer
from tests import tiny

imagecodecs = pytest.importorskip("imagecodecs", reason="needs the extra depth")
pytest.importorskip("gradio", reason="needs the extra studio")
pictures = importlib.import_module("tests.pictures")

CASES = pathlib.Path(__file__).parent / "cases"


@pytest.mark.filterwarnings("ignore:image .* only the first of")
@pytest.mark.parametrize("role", pictures.ROLES)
def test_every_kind_of_file(role):
    found = {kind: pictures.outcome(kind, role) for kind in pictures.kinds()}
    assert len(found) > 300
    assert {kind: words for kind, words in found.items() if words.startswith("wrong")} == {}


def _pillow(path, mode=None):
    with Image.open(path) as picture:
        return np.asarray(picture.convert(mode) if mode else picture)


def _read(name, **changes):
    return loading.read(Config.create(image=str(CASES / name), **changes))


def _eight(picture):
    return np.asarray(picture, np.float64) * 127.5 + 127.5


def _scene():
    return _pillow(CASES / "scene.png", "RGB").astype(np.float64)


@pytest.mark.parametrize(
    "name",
    [
        *("scene_8.tif", "scene_16.tif", "adobe_8bit.tif", "adobe_16bit.tif", "adobe_palette.png"),
        *("linear_named_srgb.png", "linear_named_other.png"),
    ],
)
def test_one_scene_in_many_files(name):
    error = np.abs(_eight(_read(name).pixels) - _scene())
    # 8 bits that are linear in light, or in a palette of 256 colours, are coarse in the dark.
    assert error.mean() < 1.5 and (error.max() <= 1.5 or name.startswith(("linear", "adobe_")))
    assert ("converted to sRGB" in _read(name).notes[0]) == name.startswith(("linear", "adobe"))


@pytest.mark.parametrize("name", ["alpha_8.png", "alpha_8.tif", "alpha_16.png", "alpha_16.tif"])
@pytest.mark.parametrize("behind", [255, 0])
def test_transparency_in_many_files(name, behind):
    rgba = _pillow(CASES / "alpha_8.png").astype(np.float64)
    alpha = rgba[..., 3:] / 255
    found = _read(name, background="white" if behind else "black")
    expected = alpha * rgba[..., :3] + (1 - alpha) * behind
    assert np.abs(_eight(found.pixels) - expected).max() < 1
    assert np.abs(_eight(_read(name, channels=4).pixels) - rgba).max() < 1


@pytest.mark.parametrize("bits", [8, 16])
def test_white_is_zero(bits, tmp_path):
    name = f"white_is_zero_{bits}.tif"
    found = _read(name)
    expected = tifffile.imread(CASES / "black_is_zero_16.tif") / 257
    assert np.abs(_eight(found.pixels)[..., 0] - expected).max() < 1
    (out,) = found.encoding.save(tmp_path / "out.tif", found.pixels)
    np.testing.assert_array_equal(tifffile.imread(out), tifffile.imread(CASES / name))
    with tifffile.TiffFile(out) as file:
        assert int(file.pages.first.photometric) == 0
    (out,) = found.encoding.save(tmp_path / "out.png", found.pixels)
    shown = _pillow(out).astype(np.float64) / (257 if bits == 16 else 1)
    assert np.abs(shown - expected).max() < 1


def test_hounsfield_units_come_back(tmp_path):
    found = _read("ct_slice_int16.tif", value_range="data")
    (out,) = found.encoding.save(tmp_path / "out.tif", found.pixels)
    values = tifffile.imread(CASES / "ct_slice_int16.tif")
    made = tifffile.imread(out)
    assert made.dtype == np.int16 and (made == values).all()
    assert (values.min(), values.max()) == (-1015, 914)
    assert "LOW,HIGH such as -1015,914" in _read("ct_slice_int16.tif").notes[1]
    with pytest.raises(InputError, match="is of int16: give numbers from -32768 to 32767"):
        _read("ct_slice_int16.tif", value_range="-1015,70000")
    with pytest.raises(InputError, match=r"\.png cannot hold 1 channel of int16: give a name endi"):
        found.encoding.check(tmp_path / "out.png", 1)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("float_microscope.tif", "41.3% of the values are beyond 0 to 255 and are cut: give"),
        ("dem_nodata.tif", r"54 pixels \(1.76%\) have no value \(nodata, -9999\)"),
        ("dem_nodata.tif", "100.0% of the values .* such as 1223.75,2224.59"),
        ("float_nan.tif", r"1 pixels \(0.03%\) have no value \(NaN or infinite\)"),
        ("four_pages.tif", "only the first of 4 pages is used; --config.channels=4 takes all"),
        ("ct_slice_int16.tif", "uses 2.9% of that range, it is faint: give --config.value_range"),
    ],
)
def test_what_is_warned_of(name, line):
    notes = _read(name).notes
    assert any(note.startswith("warning: ") for note in notes)
    assert any(re.search(line, note) for note in notes), notes


def test_missing_values_do_not_count_for_the_range():
    found = _read("dem_nodata.tif", value_range="data")
    assert (found.encoding.low, found.encoding.high) == (1223.75, pytest.approx(2224.588, abs=1e-3))
    values = tifffile.imread(CASES / "dem_nodata.tif")
    assert (found.pixels[values == -9999] == -1).all()


@pytest.mark.parametrize(
    ("name", "count"), [("imagej_3_channels.tif", 3), ("four_pages.tif", 4), ("two_pages.tif", 2)]
)
def test_pages_are_channels(name, count):
    found = _read(name, channels=count)
    expected = np.moveaxis(tifffile.imread(CASES / name), 0, -1)
    np.testing.assert_array_equal(found.encoding.encode(found.pixels), expected)


@pytest.mark.parametrize("name", ["composite.png", "composite_16.png"])
@pytest.mark.parametrize("model", ["scene.png", "scene_16.tif", "ct_slice_int16.tif"])
def test_a_second_picture_counts_by_its_own_numbers(name, model):
    encoding = _read(model, value_range="data" if "ct" in model else "dtype").encoding
    found = loading.read_alike(CASES / name, Config.create(), encoding, 3)
    expected = _pillow(CASES / "composite.png").astype(np.float64)
    assert np.abs(_eight(found.pixels) - expected).max() < 1
    assert len(found.notes) == 1


def test_a_second_picture_that_is_nearly_black_is_said(tmp_path):
    Image.fromarray(np.full((9, 9), 900, np.uint16)).save(tmp_path / "a.png")
    found = loading.read_alike(tmp_path / "a.png", Config.create(), PixelFormat(), 3)
    assert "the composite uses 0.0% of that range, it is nearly black" in found.notes[1]


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("mask.png", [0, 255], "with the values 0, 255"),
        ("kvasir_mask.jpg", [0, 255], "its 24 values are taken as the nearest class"),
        ("voc_mask.png", [0, 2, 15], "the numbers of its palette"),
    ],
)
def test_masks(name, labels, said):
    found = _read("scene.png", mask=str(CASES / name))
    assert list(found.encoding.labels) == labels and any(said in note for note in found.notes)
    mask = found.encoding.mask(found.pixels)
    inside, _ = masks.read_inside(CASES / name, lambda shape: True)
    if name != "voc_mask.png":
        expected = _pillow(CASES / name, "L") > 127
        np.testing.assert_array_equal(mask > 127, expected)
        np.testing.assert_array_equal(inside > 0, expected)
    else:
        indices = _pillow(CASES / name)
        np.testing.assert_array_equal(mask, indices)
        np.testing.assert_array_equal(inside > 0, indices > 0)


def test_a_mask_with_noise_that_was_kept_is_said(tmp_path):
    Image.fromarray(_pillow(CASES / "kvasir_mask.jpg", "L")).save(tmp_path / "mask.png")
    found = _read("scene.png", mask=str(tmp_path / "mask.png"))
    assert len(found.encoding.labels) == 24 and "crowd around 0, 255" in found.notes[-1]


@pytest.mark.parametrize("name", ["portrait_turned", "square_turned"])
def test_an_upright_mask_stays(name):
    found = _read(f"{name}.jpg", mask=str(CASES / f"{name}_mask.png"))
    expected = _pillow(CASES / f"{name}_mask.png")
    np.testing.assert_array_equal(found.encoding.mask(found.pixels), expected)
    assert ("taken as upright" in found.notes[-1]) == (name == "square_turned")


LINEAR = np.random.default_rng(0).uniform(0, 3, (12, 20, 3)).astype(np.float32)


def _write_other(path):
    deep = np.rint(LINEAR / 3 * 65535).astype(np.uint16)
    match path.suffix:
        case ".exr":
            if not hasattr(imagecodecs, "exr_encode"):
                pytest.skip("this imagecodecs has no OpenEXR")
            path.write_bytes(imagecodecs.exr_encode(LINEAR))
        case ".hdr":
            path.write_bytes(imagecodecs.rgbe_encode(LINEAR, header=True))
        case ".jp2":
            path.write_bytes(imagecodecs.jpeg2k_encode(deep, level=0))
        case ".dcm":
            tiny.dicom(path, (deep[..., 0] // 16), RescaleSlope=1, RescaleIntercept=-1024)
        case ".heic":
            heif = pytest.importorskip("pillow_heif", reason="needs the extra formats")
            grey = (deep[:1, :1] >> 8).astype(np.uint8).repeat(12, 0).repeat(20, 1)
            heif.from_pillow(Image.fromarray(grey)).save(path, quality=100)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        *((".exr", "float32"), (".hdr", "float32"), (".jp2", "uint16"), (".dcm", "int16")),
        (".heic", "uint8"),
    ],
)
def test_formats_of_others(suffix, dtype, tmp_path):
    path, deep = tmp_path / f"a{suffix}", np.rint(LINEAR / 3 * 65535)
    _write_other(path)
    file = formats.read(path)
    assert str(file.values.dtype) == dtype
    expected = {
        **{".exr": LINEAR, ".hdr": LINEAR, ".jp2": deep, ".dcm": deep[..., :1] // 16 - 1024},
        ".heic": np.broadcast_to(deep[:1, :1] // 256, (12, 20, 3)),
    }
    tolerance = {".hdr": 0.02, ".heic": 3}.get(suffix, 0)
    np.testing.assert_allclose(file.values, expected[suffix], atol=tolerance)
    with pytest.raises(InputError, match=r"12x20 px, more than 0.0001 megapixels: shrink it"):
        formats.read(path, max_pixels=100)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cannot be read, a damaged or unusual "):
        formats.read(path)


BOX = np.zeros((20, 30), bool)
BOX[:8, :5] = True


TYPES = [bool, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("label", [1, 2, 5, 255])
def test_a_mask_of_any_type(dtype, label, tmp_path):
    np.save(tmp_path / "m.npy", (label * BOX).astype(dtype))
    np.testing.assert_array_equal(masks.read_inside(tmp_path / "m.npy", bool)[0] > 0, BOX)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 200, 0), (255, 255, 254)])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_palette_that_is_no_one_of_labels(colour, swapped, tmp_path):
    """Which number an encoder gives to which colour says nothing of what is inside."""
    palette = [colour, (0, 0, 0)] if swapped else [(0, 0, 0), colour]
    picture = Image.fromarray((BOX ^ swapped).astype(np.uint8), "P")
    picture.putpalette([value for each in palette for value in each])
    picture.save(tmp_path / "m.png")
    np.testing.assert_array_equal(masks.read_inside(tmp_path / "m.png", bool)[0] > 0, BOX)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_profile_is_for_colours_alone(dtype, tmp_path):
    values = np.random.default_rng(0).integers(99, 255, (9, 11, 4)).astype(dtype)
    values *= np.iinfo(dtype).max // 255
    about = {"photometric": "rgb", "iccprofile": pictures.linear_profile(3)}
    tifffile.imwrite(tmp_path / "a.tif", values, extrasamples=["unspecified"], **about)
    tifffile.imwrite(tmp_path / "b.tif", values[..., :3].copy(), **about)
    four, three = formats.read(tmp_path / "a.tif"), formats.read(tmp_path / "b.tif")
    np.testing.assert_array_equal(four.values[..., 3], values[..., 3])
    np.testing.assert_array_equal(four.values[..., :3], three.values)
    assert not np.array_equal(three.values, values[..., :3])


@pytest.mark.parametrize("scale", [1, 255])
def test_floats_with_a_profile(scale, tmp_path):
    unit = np.linspace(0.1, 1, 99).reshape(3, 11, 3).astype(np.float32)
    values = scale * unit
    values[0, 0, 0] = np.nan
    about = {"photometric": "rgb", "iccprofile": pictures.linear_profile(3)}
    tifffile.imwrite(tmp_path / "a.tif", values, **about)
    found = _read(tmp_path / "a.tif")
    encoded = np.where(unit > 0.0031308, 1.055 * unit ** (1 / 2.4) - 0.055, 12.92 * unit)
    shown = np.asarray(found.pixels / 2 + 0.5)
    np.testing.assert_allclose(shown.ravel()[3:], encoded.ravel()[3:], atol=1e-3)
    assert "1 pixels (3.03%) have no value" in found.notes[1] and (found.pixels[0, 0] == -1).all()


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int32", 2**31 - 1), ("uint32", 2**32 - 1), ("int32", -99999999)]
)
def test_nodata_of_whole_numbers(dtype, nodata, tmp_path):
    values = np.random.default_rng(0).integers(0, 1000, (9, 11)).astype(dtype)
    values[0, :3] = nodata
    tag = (42113, "s", 0, str(nodata), True)
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[tag])
    file = formats.read(tmp_path / "a.tif")
    assert file.missing.sum() == 3 and file.extremes[1] < 1000
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "none", True)])
    assert formats.read(tmp_path / "a.tif").nodata in (None, nodata)


def test_a_picture_that_is_missing_or_transparent_everywhere(tmp_path):
    values = np.full((9, 11, 2), 0.5, np.float32)
    values[..., 1] = BOX[:9, :11]
    values[BOX[:9, :11], 0] = np.nan
    about = {"planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", **about)
    with pytest.raises(InputError, match="has no pixel with a value: give an image"):
        formats.read(tmp_path / "a.tif")


def test_few_numbers_of_which_one_is_low_are_all_values(tmp_path):
    np.save(tmp_path / "a.npy", np.where(BOX, -1024, 60).astype(np.int16))
    assert formats.read(tmp_path / "a.npy").missing is None
    found = _read("scene.png")
    mask = np.full(found.pixels.shape[:2], -9999)
    mask[:9] = 3
    np.save(tmp_path / "m.npy", mask)
    assert _read("scene.png", mask=str(tmp_path / "m.npy")).encoding.labels == (-9999, 3)


@pytest.mark.parametrize("bits", [12, 16])
def test_the_bits_that_a_file_uses(bits, tmp_path):
    values = np.linspace(0, 2**bits - 1, 99).astype(np.uint16).reshape(9, 11)
    tiny.dicom(tmp_path / "a.dcm", values, BitsStored=bits, HighBit=bits - 1)
    found = _read(tmp_path / "a.dcm")
    assert found.encoding.limits == (0, 2**bits - 1) and len(found.notes) == 1
    np.testing.assert_array_equal(found.encoding.encode(found.pixels)[..., 0], values)


@pytest.mark.parametrize("preamble", [bytes(128), b"II*\0".ljust(128, b"\0")])
def test_the_padding_of_a_dicom(preamble, tmp_path):
    """It is a stored number, to be rescaled as all are; the file may be a TIFF as well."""
    values = np.random.default_rng(0).integers(0, 2000, (9, 11)).astype(np.uint16)
    values[0, :2], values[1, :5] = 0, 1024  # padding, and water
    about = {"RescaleSlope": 1, "RescaleIntercept": -1024, "PixelPaddingValue": 0}
    tiny.dicom(tmp_path / "a.dcm", values, **about)
    data = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(preamble + data[128:])
    file = formats.read(tmp_path / "a.dcm")
    np.testing.assert_array_equal(file.missing, values == 0)
    np.testing.assert_array_equal(file.values[1, :5], 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_model_reads_what_it_wrote(dtype, inverted, suffix, tmp_path):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    values = (np.random.default_rng(0).uniform(0.2, 0.8, (9, 11, 2)) * top).astype(dtype)
    about = {"photometric": "miniswhite" if inverted else "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", values, extrasamples=["unassalpha"], **about)
    found = _read(tmp_path / "a.tif", channels=2, value_range="data")
    (out,) = found.encoding.save(tmp_path / f"b{suffix}", found.pixels)
    again = loading.read_alike(out, Config.create(), found.encoding, 2)
    np.testing.assert_allclose(again.pixels, found.pixels, atol=1 / 127)


@pytest.mark.parametrize("inverted", [False, True])
def test_a_dicom_of_several_frames(inverted, tmp_path):
    frames = np.random.default_rng(0).integers(0, 4096, (3, 9, 11)).astype(np.uint16)
    about = {"PhotometricInterpretation": f"MONOCHROME{1 if inverted else 2}"}
    tiny.dicom(tmp_path / "a.dcm", frames, **about)
    first = formats.read(tmp_path / "a.dcm")
    np.testing.assert_array_equal(first.values[..., 0], frames[0])
    assert first.white_is_zero == inverted and "first of 3 frames" in first.warnings[0]
    every = formats.read(tmp_path / "a.dcm", channels=3)
    np.testing.assert_array_equal(every.values, np.moveaxis(frames, 0, -1))


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("a.svg", b"<?xml version='1.0'?><svg/>", "is SVG, which is not read: render it"),
        ("a.pdf", b"%PDF-1.7", "is PDF, which is not read: export the page as a PNG"),
        ("a.nii", bytes(400), "is NIfTI, which is not read: save a slice as .npy"),
        ("a.nef", b"II*\0" + bytes(90), "is camera raw, which is not read: develop it to"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "cannot be read, a damaged or unusual PNG"),
        ("a.tif", b"II*\0", "cannot be read, a damaged or unusual TIFF"),
        ("a.xyz", b"words", "is of no known image format: give PNG, JPEG, TIFF or .npy"),
    ],
)
def test_what_is_not_read_has_a_way_out(name, data, line, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=line):
        formats.read(tmp_path / name)


@pytest.mark.parametrize("target", [0, 1])
def test_pages_of_a_tiff_in_a_circle(target, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 8, 9), np.uint16), metadata=None)
    with tifffile.TiffFile(path) as file:
        places = [page.offset for page in file.pages]
    data = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from("<H", data, places[1])  # each of 12 bytes; then the next page
    struct.pack_into("<I", data, places[1] + 2 + 12 * tags, places[target])
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged or unusual TIFF: its pages go round in a circle"):
        formats.read(path)


def test_a_damaged_tiff_is_one_line(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 9), np.uint16), metadata=None)
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, first)
    for tag in range(3, tags):
        struct.pack_into("<H", data, first + 2 + 12 * tag + 2, 0)  # no such type
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "consingan_jax", "train", path, "--dry_run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "a damaged or unusual TIFF" in line


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int16, np.int32, np.int64, np.float64, ">u2"])
@pytest.mark.parametrize("first", [False, True])
def test_arrays_of_every_type(dtype, first, tmp_path):
    values = np.random.default_rng(0).integers(0, 2 if dtype is bool else 100, (20, 30, 3))
    values = values.astype(dtype)
    np.save(tmp_path / "a.npy", np.moveaxis(values, -1, 0) if first else values)
    file = formats.read(tmp_path / "a.npy")
    np.testing.assert_array_equal(file.values, 255 * values if dtype is bool else values)
    assert ("taken as channels first" in file.notes) == first


def test_no_setting_of_the_process_is_touched(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    display.save(tmp_path / "a.png", np.zeros((9, 9, 3)))
    formats.read(tmp_path / "a.png", max_pixels=10**12)
    assert before == Image.MAX_IMAGE_PIXELS
    for path in pathlib.Path(formats.__file__).parent.glob("*.py"):
        text = path.read_text()
        assert "MAX_IMAGE_PIXELS" not in text and "catch_warnings" not in text, path


@pytest.mark.parametrize(
    ("name", "changes", "suffix", "dtype"),
    [
        ("ct_slice_int16.tif", {"value_range": "data"}, ".tif", np.int16),
        ("white_is_zero_16.tif", {}, ".tif", np.uint16),
        ("alpha_16.png", {"channels": 4}, ".png", np.uint16),
        ("float_microscope.tif", {"value_range": "data"}, ".tif", np.float32),
    ],
)
def test_from_the_file_to_samples_like_it(name, changes, suffix, dtype, tmp_path):
    settings = tiny.CONFIG | {"num_stages": 1, "num_iters": 1, "image": str(CASES / name)}
    trainer.train(settings | changes, tmp_path / "run")
    run = [sys.executable, "-m", "consingan_jax", "sample", str(tmp_path / "run")]
    said = subprocess.run([*run, "--num_samples=1"], capture_output=True, text=True, check=True)
    (made,) = (tmp_path / "run/generated").rglob(f"seed_0{suffix}")
    assert str(made.parent) in said.stdout
    values = (
        imagecodecs.png_decode(made.read_bytes()) if suffix == ".png" else tifffile.imread(made)
    )
    model = consingan_jax.load(tmp_path / "run")
    assert values.dtype == dtype and values.shape[:2] == model.size
    low, high = sorted((model.encoding.low, model.encoding.high))
    assert low <= values.min() and values.max() <= high
    out = subprocess.run([*run, f"--out={tmp_path / 'A.PNG'}"], capture_output=True, text=True)
    if suffix == ".png":
        assert out.returncode == 0 and f"{tmp_path / 'A.PNG'}: " in out.stdout
        assert (tmp_path / "A.PNG").is_file()
    elif dtype != np.uint16:
        assert out.returncode == 2 and ".png cannot hold 1 channel of" in out.stderr
        assert out.stderr.count("\n") == 1 and not (tmp_path / "A.PNG").exists()
