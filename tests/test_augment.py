"""The statistics of the random changes against the ranges that the paper's program draws from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax.data import augment

GREY = jnp.full((24, 32, 3), 120.0)


@pytest.fixture
def keys(key):
    """Many keys."""
    return jax.random.split(key, 400)


@pytest.fixture
def colourful(key):
    """An image `[24, 32, 3]` in 0 .. 255 with different values in every channel."""
    return jax.random.uniform(key, (24, 32, 3), minval=60, maxval=190)


def _many(op, keys, x):
    return np.asarray(jax.jit(jax.vmap(lambda k: op(k, x)))(keys))


def test_noise_has_the_spread_asked_for(keys):
    factors = _many(augment._scaled_values, keys, GREY) / 120
    assert factors.min() >= 0.5 and factors.max() <= 1.5
    assert factors.mean() == pytest.approx(1, abs=0.01)
    spread = _many(augment._noise, keys, GREY).std((1, 2, 3))
    assert np.sqrt(10) * 0.9 < spread.min() < spread.max() < np.sqrt(50) * 1.1
    grey = _many(augment._grey_noise, keys, GREY)
    assert np.ptp(grey, axis=-1).max() == 0
    spread = grey[..., 0].std((1, 2))
    assert 2.55 * 0.85 < spread.min() < 3.5 and 11.5 < spread.max() < 12.75 * 1.15


def test_invert_and_sepia(key, colourful):
    np.testing.assert_allclose(augment._invert(key, colourful), 255 - colourful)
    white = augment._sepia(key, jnp.full((1, 1, 3), 100.0))
    np.testing.assert_allclose(white[0, 0], [135.1, 120.3, 93.7], rtol=1e-3)


def test_channels_are_dropped_or_exchanged(keys, colourful):
    dropped = _many(augment._drop_channel, keys, colourful)
    assert set((dropped == 0).all((1, 2)).sum(1)) == {1}
    assert {tuple(each) for each in (dropped == 0).all((1, 2))} == {
        (True, False, False),
        (False, True, False),
        (False, False, True),
    }
    shuffled = _many(augment._shuffle_channels, keys, colourful)
    assert len({one.tobytes() for one in shuffled}) == 6
    np.testing.assert_allclose(np.sort(shuffled[0], -1), np.sort(colourful, -1))


def test_hue_saturation_and_value_round_trip_and_shift(keys, colourful):
    unit = colourful / 255
    again = augment._from_hsv(*augment._to_hsv(unit))
    np.testing.assert_allclose(again, unit, atol=1e-6)
    grey = _many(augment._shift_hue_saturation_value, keys, GREY)
    assert np.abs(grey.max(-1) - 120).max() <= 20.01  # the value of a grey pixel
    primary = jnp.full((1, 1, 3), 0.0).at[..., 0].set(200.0)
    shifted = _many(augment._shift_hue_saturation_value, keys, primary)
    hue, saturation, _ = augment._to_hsv(jnp.asarray(shifted[:, :, 0]) / 255)
    turned = np.minimum(hue, 1 - hue) * 180
    assert 15 < turned.max() <= 20.01 and saturation.min() >= 1 - 30.01 / 255


def test_families_are_drawn_in_proportion(key, monkeypatch):
    """Each operation marks its images; one of them changes a quarter of all images."""
    names = ["_scaled_values", "_grey_noise", "_noise", "_invert", "_sepia", "_drop_channel"]
    names += ["_shuffle_channels", "_shift_hue_saturation_value"]
    for i, name in enumerate(names):
        monkeypatch.setattr(augment, name, lambda k, x, i=i: jnp.full_like(x, i))
    keys = jax.random.split(key, 20000)
    drawn = _many(augment._colours, keys, jnp.zeros((1, 1, 1)))[:, 0, 0, 0]
    shares = np.bincount(drawn.astype(int), minlength=8) / len(keys)
    noise, half, rare = 0.5 / 1.6, 0.25 / 1.6, 0.1 / 1.6
    expected = [noise / 6, noise * 5 / 12, noise * 5 / 12, half, half, half, half, rare]
    np.testing.assert_allclose(shares, expected, atol=0.012)


def test_a_quarter_changes_colour_and_nine_tenths_are_covered(key, monkeypatch):
    """Either change marks a channel of its own."""
    monkeypatch.setattr(augment, "_colours", lambda _, x: x.at[..., 0].set(400.0))
    monkeypatch.setattr(augment, "_cutout", lambda _, x: x.at[..., 1].set(255.0))
    keys = jax.random.split(key, 10000)
    images = _many(augment.harmonization, keys, -jnp.ones((1, 1, 1, 3)))[:, 0, 0, 0]
    assert images.min() == -1 and images.max() == 1  # clipped
    coloured, covered = images[:, 0] > 0, images[:, 1] > 0
    assert coloured.mean() == pytest.approx(0.25, abs=0.015)
    assert covered.mean() == pytest.approx(0.9, abs=0.01)
    assert (coloured & covered).mean() == pytest.approx(0.225, abs=0.015)  # independent


def test_rectangles(key):
    """At a short side of 120 one covers 30 to 60 px a side, two cover 15 to 30."""
    x = jnp.full((120, 160, 3), -1.0)
    keys = jax.random.split(key, 600)
    covered = _many(augment._cutout, keys, x)[..., 0] >= 0
    heights, widths = covered.any(2).sum(1), covered.any(1).sum(1)
    area = covered.sum((1, 2))
    one = area >= 2 * 30 * 30 + 62
    assert heights[one].max() <= 61 and widths[one].max() <= 61
    assert area.max() > 50 * 50 and area.min() < 15 * 30
    full = (area > 0.98 * heights * widths) & (heights >= 29) & (widths >= 29)
    assert full.mean() == pytest.approx(0.5 * 0.7, abs=0.15)  # the rest lies at a border
    colours = _many(augment._cutout, keys[:50], x)
    for picture, mask in zip(colours, covered[:50], strict=True):
        assert len(np.unique(picture[mask], axis=0)) == 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels(key, channels):
    x = jnp.zeros((1, 20, 26, channels))
    assert augment.harmonization(key, x).shape == x.shape
    assert augment.shuffle(key, x).shape == x.shape


def test_a_shuffle_moves_tiles_and_invents_nothing(keys):
    """Every value of the result is one of the image's, and most stay where they were."""
    x = jnp.arange(40 * 50.0).reshape(1, 40, 50, 1)
    shuffled = _many(augment.shuffle, keys, x)[:, 0, ..., 0]
    assert np.all(shuffled == np.rint(shuffled))
    rows, columns = np.divmod(shuffled.astype(int), 50)
    moved_down = rows - np.arange(40)[:, None]
    moved_right = columns - np.arange(50)
    assert np.abs(moved_down).max() <= round(0.15 * 40) and np.abs(moved_right).max() <= 8
    assert np.all(moved_down * moved_right >= 0)  # the same sign on both axes
    share = (shuffled != np.asarray(x)[0, ..., 0]).mean((1, 2))
    assert 0.0 < share.mean() < 0.2 and share.max() <= 5 * 0.15**2 + 0.16


def test_tiles_have_the_sides_asked_for(keys):
    rows, columns = jnp.mgrid[0:100, 0:100]
    x = jnp.stack([rows, columns], -1).astype(float)
    for num in (1, 3):
        pasted = _many(
            lambda k, x, num=num: augment._paste_tile(k, x, -jnp.ones_like(x), num), keys, x
        )
        inside = pasted[..., 0] >= 0
        heights, widths = inside.any(2).sum(1), inside.any(1).sum(1)
        least, most = (100 * augment.TILE_SIDES[k][num - 1] for k in (0, 1))
        assert heights.max() <= most + 1 and widths.max() <= most + 1
        assert np.quantile(heights, 0.6) >= least  # those cut off at a border are smaller
        moved = np.abs(pasted - np.asarray(x)).max(-1)[inside]
        assert moved.max() <= (15 if num == 1 else 10)
