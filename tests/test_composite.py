import numpy as np
import pytest
from PIL import Image, ImageOps

from consingan_jax.errors import InputError
from consingan_jax.generation import composite
from consingan_jax.images import display, formats, masks


@pytest.fixture
def disk() -> np.ndarray:
    """A mask `[60, 80]` with a disk of radius 10 in its middle."""
    rows, columns = np.mgrid[0:60, 0:80]
    return (np.hypot(rows - 30, columns - 40) <= 10).astype(np.float32)


def test_a_mask_is_dilated_by_its_radius_and_blurred(disk):
    soft = composite.soften(disk, (188, 250), radius=20)
    assert soft.shape == (188, 250) and soft.min() == 0 and soft.max() == 1
    rows, columns = np.mgrid[0:188, 0:250]
    distance = np.hypot(rows - 94, columns - 125)
    edge = 10 * 250 / 80 + 20
    assert soft[distance < edge - 12].min() > 0.95 and soft[distance > edge + 14].max() < 0.05
    assert 0.3 < soft[np.abs(distance - edge) < 1].mean() < 0.7


def test_radius_and_blur_scale_with_the_long_side(disk):
    large = composite.soften(disk, (120, 160), radius=20)
    small = composite.soften(disk, (60, 80), radius=20)
    assert large.mean() == pytest.approx(small.mean(), rel=0.05)


def test_a_thin_mask_leaves_a_trace():
    mask = np.zeros((400, 400), np.float32)
    mask[200, 200] = 1
    soft = composite.soften(mask, (40, 40), radius=7)
    assert soft.max() == 1 and soft.min() == 0
    assert np.ones((40, 40)).tolist() == composite.soften(mask + 1, (40, 40), radius=7).tolist()


def test_blending():
    mask = np.array([[0.0, 0.5, 1.0]])
    result, picture = np.ones((1, 3, 2)), -np.ones((1, 3, 2))
    np.testing.assert_array_equal(composite.blend(mask, result, picture)[0, :, 0], [-1, 0, 1])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((188, 250), (188, 250)),
        ((376, 499), (188, 250)),
        ((250, 188), (250, 188)),
        ((100, 500), (50, 250)),
    ],
)
def test_another_aspect_ratio_is_kept(shape, expected):
    assert composite.own_size((*shape, 3), (188, 250, 3)) == expected


def test_the_mask_of_a_difference(disk):
    real = np.zeros((60, 80, 3), np.float32)
    pasted = real + 0.8 * disk[..., None]
    pasted[5, 5] = 1  # a lone speck
    mask = composite.difference_mask(pasted, real)
    assert np.abs(mask - disk).sum() < 30 and mask[5, 5] == 0
    with pytest.raises(ValueError, match="found no difference"):
        composite.difference_mask(real, real)
    with pytest.raises(ValueError, match="another aspect ratio"):
        composite.difference_mask(real[:40], real)


def test_mask_files(tmp_path, disk):
    path = tmp_path / "pasted_mask.png"
    display.save(path, 2 * disk[..., None] - 1)
    assert composite.find_mask(tmp_path / "pasted.png") == path
    assert composite.find_mask(tmp_path / "other.png") is None
    np.testing.assert_array_equal(_read(path), disk)
    display.save(path, -np.ones((5, 5, 3)))
    with pytest.raises(ValueError, match=r"mask .*is all black"):
        _read(path)
    with pytest.raises(ValueError, match=r"mask .*no such file"):
        _read(tmp_path / "none.png")


def test_a_mask_of_zeros_and_ones(disk, tmp_path):
    Image.fromarray(disk.astype(np.uint8)).save(tmp_path / "labels.png")
    np.testing.assert_array_equal(_read(tmp_path / "labels.png"), disk)


def test_a_picture_with_the_object_erased_is_no_mask(tmp_path):
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[:10, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "erased.png")
    with pytest.raises(InputError, match="transparent pixels and no white ones: paint white"):
        _read(tmp_path / "erased.png")


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (20, 20)])
def test_a_mask_lies_as_it_fits(turned, shape, tmp_path):
    """The photo is 20x30 as stored; a mask of the stored shape is turned where it fits only so."""
    pixels = np.zeros(shape, np.uint8)
    pixels[:8, :5] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    exif = Image.Exif()
    exif[274] = turned
    stored = np.zeros((20, 20 if shape == (20, 20) else 30), np.uint8)
    Image.fromarray(stored).save(tmp_path / "photo.png", exif=exif)
    found = formats.read(tmp_path / "photo.png")
    assert found.orientation == turned
    photo = found.values.shape[:2]

    def fits(size):
        return composite.fits(size, photo)

    mask, said = masks.read_inside(tmp_path / "mask.png", fits, turn=turned)
    is_sideways = turned > 4 and shape == (20, 30)  # painted on the stored pixels
    upright = (
        ImageOps.exif_transpose(Image.open(_save(tmp_path, pixels, exif)))
        if is_sideways
        else pixels
    )
    np.testing.assert_array_equal(mask, np.asarray(upright) > 0)
    both = turned > 1 and (shape == (20, 20) or (turned <= 4 and shape == (20, 30)))
    assert ("turned as its image" in said) == is_sideways
    assert ("taken as upright" in said) == (both and not is_sideways)


def _save(tmp_path, pixels, exif):
    Image.fromarray(pixels).save(tmp_path / "stored.png", exif=exif)
    return tmp_path / "stored.png"


def _read(path):
    return masks.read_inside(path, lambda shape: True)[0]


def test_a_mask_beside_it_in_another_format(disk, tmp_path):
    for name in ("pasted_mask.tif", "pasted_mask.txt", "other_mask.png"):
        Image.fromarray((255 * disk).astype(np.uint8)).save(tmp_path / name, "PNG")
    assert composite.find_mask(tmp_path / "pasted.jpg") == tmp_path / "pasted_mask.tif"
    Image.fromarray((255 * disk).astype(np.uint8)).save(tmp_path / "pasted_mask.gif")
    with pytest.raises(InputError, match=r"lie pasted_mask.gif and pasted_mask.tif: give --mask"):
        composite.find_mask(tmp_path / "pasted.jpg")


def test_the_full_size_keeps_what_is_outside(disk):
    rng = np.random.default_rng(0)
    picture = rng.uniform(-1, 1, (240, 320, 3)).astype(np.float32)
    made = composite.apply_mask(np.zeros((60, 80, 3)), picture, disk, radius=7)
    whole = composite.at_full_size(made, picture)
    assert whole.shape == picture.shape and np.abs(whole[120, 160]).max() < 1e-3
    np.testing.assert_allclose(whole[:40], picture[:40], atol=1e-3)
    without = composite.apply_mask(np.zeros((60, 80, 3)), picture, None, radius=7)
    assert without.final is without.result and without.blended is None
    with pytest.raises(ValueError, match="some of them 1"):
        composite.apply_mask(np.zeros((60, 80, 3)), picture, 0 * disk, radius=7)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64])
def test_a_mask_may_have_any_type(disk, dtype):
    picture = np.zeros((60, 80, 3), np.float32)
    expected = composite.apply_mask(picture, picture, disk, radius=7)
    made = composite.apply_mask(picture, picture, disk.astype(dtype), radius=7)
    np.testing.assert_array_equal(made.mask, expected.mask)
    with pytest.raises(ValueError, match=r"give .* of 0 and 1"):
        composite.apply_mask(picture, picture, 255 * disk.astype(np.uint8), radius=7)


def test_a_mask_of_another_aspect_ratio_is_refused(disk):
    picture = np.zeros((80, 60, 3), np.float32)
    with pytest.raises(ValueError, match="mask has 60x80 px, but its composite 80x60"):
        composite.apply_mask(picture, picture, disk, radius=7)
    composite.check_aspect((188, 250), (3000, 4000))
