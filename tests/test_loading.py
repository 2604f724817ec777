import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from consingan_jax.images import display, loading

GREY = np.array([[0, 128], [255, 64]], np.uint8)
COLOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


def _save(tmp_path, picture, name="x.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def test_a_colour_profile_is_converted(tmp_path):
    grey = np.tile(np.arange(0, 250, 10, dtype=np.uint8), (8, 1))
    picture = Image.fromarray(np.stack([grey, grey // 2, grey // 3], -1))
    picture.save(tmp_path / "plain.png")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "srgb.png", icc_profile=srgb)
    plain = loading.load(tmp_path / "plain.png")
    np.testing.assert_array_equal(loading.load(tmp_path / "srgb.png"), plain)
    # The same profile under another name, with red and green exchanged: what it says is done.
    other = srgb.replace(b"sRGB", b"mine").replace(b"s\0R\0G\0B", b"m\0i\0n\0e")
    other = other.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    other = other.replace(b"rXYZ", b"xXYZ").replace(b"gXYZ", b"rXYZ").replace(b"xXYZ", b"gXYZ")
    picture.save(tmp_path / "other.png", icc_profile=other)
    changed = loading.load(tmp_path / "other.png")
    np.testing.assert_allclose(changed, plain[..., [1, 0, 2]], atol=0.03)
    picture.putalpha(Image.fromarray(255 - grey))
    picture.save(tmp_path / "alpha.png", icc_profile=other)
    assert loading.load(tmp_path / "alpha.png").shape == plain.shape


def test_a_broken_colour_profile_is_ignored_and_said(tmp_path):
    picture = Image.fromarray(np.full((8, 8, 3), 90, np.uint8))
    picture.save(tmp_path / "a.png", icc_profile=b"nonsense" * 20)
    with pytest.warns(UserWarning, match=r"a.png: its colour profile is ignored"):
        assert loading.load(tmp_path / "a.png").mean() == pytest.approx(2 * 90 / 255 - 1, abs=1e-6)


def test_round_trip(tmp_path):
    values = np.random.default_rng(0).uniform(-1, 1, (5, 7, 3))
    display.save(tmp_path / "x.png", values)
    assert np.abs(loading.load(tmp_path / "x.png") - values).max() <= 0.5 / 127.5 + 1e-6


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.webp"])
def test_colour_in_lossless_formats(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    path = _save(tmp_path, Image.fromarray(COLOUR), name, **options)
    np.testing.assert_allclose(loading.load(path), COLOUR / 127.5 - 1, atol=1e-6)


def test_grey_keeps_one_channel_unless_asked(tmp_path):
    path = _save(tmp_path, Image.fromarray(GREY))
    expected = GREY[..., None] / 127.5 - 1
    np.testing.assert_allclose(loading.load(path), expected, atol=1e-6)
    np.testing.assert_allclose(
        loading.load(path, channels=3), expected.repeat(3, axis=-1), atol=1e-6
    )


def test_colour_to_grey(tmp_path):
    path = _save(tmp_path, Image.fromarray(COLOUR))
    expected = COLOUR @ [0.299, 0.587, 0.114] / 127.5 - 1
    np.testing.assert_allclose(loading.load(path, channels=1)[..., 0], expected, atol=1e-5)


def test_sixteen_bits_are_not_cut_to_eight(tmp_path):
    values = np.array([[0, 1], [32768, 65535]], np.uint16)
    path = _save(tmp_path, Image.fromarray(values))
    expected = values[..., None] / 32767.5 - 1
    np.testing.assert_allclose(loading.load(path), expected, atol=1e-6)


def test_palette_and_black_and_white(tmp_path):
    path = _save(tmp_path, Image.fromarray(COLOUR).quantize(8))
    np.testing.assert_allclose(loading.load(path), COLOUR / 127.5 - 1, atol=1e-6)
    path = _save(tmp_path, Image.fromarray(GREY).convert("1", dither=Image.Dither.NONE))
    np.testing.assert_array_equal(loading.load(path)[..., 0], [[-1, 1], [1, -1]])


def test_cmyk(tmp_path):
    path = _save(tmp_path, Image.fromarray(COLOUR).convert("CMYK"), "x.tif")
    np.testing.assert_allclose(loading.load(path), COLOUR / 127.5 - 1, atol=0.02)


@pytest.mark.parametrize(("background", "shown"), [("white", 255), ("black", 0), ("#333333", 51)])
def test_transparent_pixels_show_the_background(tmp_path, background, shown):
    pixels = np.dstack([COLOUR, [[255, 0], [255, 255]]]).astype(np.uint8)
    path = _save(tmp_path, Image.fromarray(pixels))
    expected = COLOUR.copy()
    expected[0, 1] = shown
    result = loading.load(path, background=background)
    np.testing.assert_allclose(result, expected / 127.5 - 1, atol=1e-6)


def test_alpha_can_be_ignored(tmp_path):
    pixels = np.dstack([COLOUR, np.zeros((2, 2), np.uint8)])
    path = _save(tmp_path, Image.fromarray(pixels))
    result = loading.load(path, background=None)
    np.testing.assert_allclose(result, COLOUR / 127.5 - 1, atol=1e-6)


def test_grey_with_alpha_stays_grey_on_grey(tmp_path):
    alpha = np.array([[255, 255], [255, 0]], np.uint8)
    picture = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    result = loading.load(_save(tmp_path, picture))
    assert result.shape == (2, 2, 1) and result[1, 1, 0] == 1


def test_grey_with_a_transparent_value_shows_the_background(tmp_path):
    path = _save(tmp_path, Image.fromarray(GREY), transparency=128)
    expected = np.where(GREY == 128, 255, GREY)[..., None]
    np.testing.assert_allclose(loading.load(path)[..., :1], expected / 127.5 - 1, atol=1e-6)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = _save(tmp_path, Image.fromarray(GREY), exif=exif)
    np.testing.assert_allclose(
        loading.load(path)[..., 0], np.rot90(GREY, -1) / 127.5 - 1, atol=1e-6
    )


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    cut = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    for name, message in [
        ("no.png", "no such file"),
        ("empty.png", "is of no known image format"),
        ("text.png", "is of no known image format"),
        ("cut.png", "cannot be read, a damaged or unusual PNG: image file is truncated"),
        ("", "is a directory"),
    ]:
        with pytest.raises(ValueError, match=f"image {tmp_path / name}.*{message}"):
            loading.load(tmp_path / name)


@pytest.mark.parametrize(
    ("size", "shown"), [((960, 1280), (480, 640)), ((3, 6400), (1, 640)), ((640, 9), (640, 9))]
)
def test_a_large_picture_is_shown_small(size, shown):
    assert display.shrunk(np.zeros((*size, 3), np.float32), 640).shape == (*shown, 3)


def test_grid_places_images_row_by_row():
    images = [np.full((2, 3, 1), value, np.float32) for value in (-1, -0.5, 0)]
    sheet = display.grid(images, gap=1)
    assert sheet.shape == (5, 7, 1)
    assert (sheet[0, 0, 0], sheet[0, 4, 0], sheet[3, 0, 0]) == (-1, -0.5, 0)
    assert sheet[3, 4, 0] == 1 and sheet[2, 0, 0] == 1 and sheet[0, 3, 0] == 1


def test_a_damaged_png_is_one_line(tmp_path):
    path = tmp_path / "broken.png"
    display.save(path, np.random.default_rng(0).uniform(-1, 1, (40, 40, 3)))
    data = bytearray(path.read_bytes())
    middle = data.index(b"IDAT") + 200
    data[middle : middle + 8] = b"\0\0\0\4\0\0\0\0"
    data[-12:-8] = b"\xff\xff\xff\xff"  # the length of the last chunk
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        loading.load(path)


def test_pictures_show_themselves():
    rng = np.random.default_rng(0)
    several = rng.uniform(-1, 1, (4, 5, 6, 3)).view(display.ImageArray)
    for pictures, size in [(several, (14, 12)), (several[0], (6, 5)), (several[..., :1], (14, 12))]:
        assert Image.open(io.BytesIO(pictures._repr_png_())).size == size
    assert several[0, 0]._repr_png_() is None and several[:0]._repr_png_() is None
    assert type(several + 1) is np.ndarray and type(several.max()) is np.float64
    shown = np.asarray(Image.open(io.BytesIO(several[2]._repr_png_())))
    np.testing.assert_array_equal(shown, display.to_uint8(several[2]))
