"""Tiles: images that repeat without a seam."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore
from PIL import Image

import consingan_jax
from consingan_jax.data import noise
from consingan_jax.errors import InputError
from consingan_jax.generation import inputs, sampling
from consingan_jax.generation.output import Output
from consingan_jax.images import display
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.intervals import span, taps, upsample, upsampled_from
from consingan_jax.nn.layers import Architecture
from consingan_jax.tiled import render
from tests import tiny

SIZES = ((12, 15), (18, 20), (30, 40))  # of all levels, 1/6 of the height and 1/5 of the width
BOTH = (True, True)


@pytest.fixture(scope="module")
def network():
    """A generator whose stages all count, its parameters and amplitudes."""
    generator = Generator(Architecture(num_filters=6, num_layers=2))
    params = jax.tree.map(lambda p: p * 8, generator.init(jax.random.key(0), len(SIZES)))
    return generator, params, jnp.array([1.0, 0.7, 0.5])


@pytest.fixture
def periods():
    """A grid of noise for each level, of its size."""
    keys = jax.random.split(jax.random.key(1), len(SIZES))
    channels = (3, 6, 6)
    pairs = zip(keys, SIZES, channels, strict=True)
    return [jax.random.normal(key, (1, *size, count)) for key, size, count in pairs]


def make(network, grids, *, wraps=BOTH, **window):
    generator, params, amps = network
    view = generator.view(SIZES, wraps=wraps, **window)
    z = noise.NoiseSource(None, tuple(grids)).draw(view.noise(generator.arch))
    return np.asarray(sampling.generate(params, z, amps, view, generator=generator))


def test_shifted_noise_gives_the_shifted_image(network, periods):
    image = make(network, periods)
    assert image.shape == (1, 30, 40, 3) and image.std() > 0.1
    for down, across in ((1, 0), (0, 2), (5, 4)):
        steps = [(down * height // 6, across * width // 5) for height, width in SIZES]
        moved = [jnp.roll(z, step, (1, 2)) for z, step in zip(periods, steps, strict=True)]
        np.testing.assert_allclose(
            make(network, moved), np.roll(image, steps[-1], (1, 2)), atol=1e-5
        )


@pytest.mark.parametrize("wraps", [(True, False), (False, True), BOTH])
def test_a_window_may_lie_across_the_seam(network, periods, wraps):
    image = make(network, periods, wraps=wraps)
    top, left = 25 if wraps[0] else 3, 33 if wraps[1] else 6
    window = make(network, periods, wraps=wraps, top=top, left=left, size=(20, 30))
    expected = np.roll(image, (-top, -left), (1, 2))[:, :20, :30]
    np.testing.assert_allclose(window, expected, atol=1e-5)


def test_two_windows_in_one_program(network, periods):
    image = make(network, periods)
    windows = make(network, periods, top=jnp.array([28, -3]), left=jnp.array([0, 85]), size=(9, 12))
    for window, places in zip(windows, ((28, 0), (27, 5)), strict=True):
        expected = np.roll(image[0], (-places[0], -places[1]), (0, 1))[:9, :12]
        np.testing.assert_allclose(window, expected, atol=1e-5)


def test_the_other_axis_keeps_its_edges(network):
    plain, wrapped = (network[0].view(SIZES, wraps=(False, wraps)) for wraps in (False, True))
    for stage in range(len(SIZES)):
        (rows, columns), (same, wrapping) = plain.stage(stage), wrapped.stage(stage)
        assert jax.tree.structure(rows) == jax.tree.structure(same)
        assert wrapping.out.wraps and not columns.out.wraps


def test_upsampling_of_a_period():
    """By hand: 2 rows to 4, at the positions 0, 1/2, 1, 3/2 of the source."""
    target = span(4, wraps=True)
    source = upsampled_from(target, 2)
    assert (source.start.tolist(), source.length, source.whole) == ([-1], 6, 2)
    assert source.indices().tolist() == [[1, 0, 1, 0, 1, 0]]
    x = jnp.array([1.0, 3.0])[source.indices()][..., None, None]  # rows; one column
    one = taps(span(1), span(1))
    made = upsample(x, [taps(target, source), one])[0, :, 0, 0]
    # Halfway the kernel (a = -0.75) weighs the four nearest -3/32, 19/32, 19/32, -3/32.
    np.testing.assert_allclose(made, [1, 2, 3, 2], atol=1e-6)


def test_noise_of_a_grid_that_wraps(key):
    grid = noise.NoiseSource(noise.stage_keys(key, 1))

    def drawn(top, height, *, wraps):
        rows, columns = span(height, top, 10, wraps=wraps), span(6)
        return grid.draw([noise.NoiseWindow(rows, columns, 2)])[0]

    period = drawn(0, 10, wraps=False)
    np.testing.assert_array_equal(drawn(0, 10, wraps=True), period)
    np.testing.assert_array_equal(
        drawn(-3, 14, wraps=True), jnp.concatenate([period[:, -3:], period, period[:, :1]], 1)
    )


def steps(image, axis):
    """Returns the mean step across the seam, and between neighbours inside."""
    seam = np.abs(image.take(0, axis) - image.take(-1, axis)).mean()
    return seam, np.abs(np.diff(image, axis=axis)).mean()


@pytest.fixture(scope="module")
def model(finished_run):
    return consingan_jax.load(finished_run)


@pytest.mark.parametrize("wraps", [(False, False), *inputs.TILES.values()])
def test_the_step_across_the_seam_is_that_between_neighbours(network, wraps):
    """On average over 60 small images; where they do not wrap it is several times as large."""
    generator, params, amps = network
    view = generator.view(SIZES, wraps=wraps)
    images = []
    for seed in range(60):
        keys = noise.stage_keys(jax.random.key(seed), len(SIZES))
        z = noise.NoiseSource(keys).draw(view.noise(generator.arch))
        images += [np.asarray(sampling.generate(params, z, amps, view, generator=generator)[0])]
    for axis in (0, 1):
        seam, inside = np.mean([steps(image, axis) for image in images], 0)
        assert seam / inside < 1.1 if wraps[axis] else seam / inside > 2


def test_a_tile_of_any_size_and_its_windows(model):
    (tile,) = model.sample(3, tile="both", width=50, height="1.5x")
    assert tile.shape == (31, 50, 3)
    source, renderer = sampling.windowed_sample(model, 3, height="1.5x", width=50, tile="both")
    window = renderer.part(source, top=20, left=40, size=(11, 10))
    np.testing.assert_allclose(window, tile[20:, 40:], atol=1e-5)


def test_tiles_that_cannot_be_made_are_refused(model, harmonization_run):
    with pytest.raises(InputError, match="tile=diagonal: give horizontal, vertical, both or leave"):
        model.sample(tile="diagonal")
    with pytest.raises(InputError, match="tile=both: animations and start_stage keep the layout"):
        model.sample(tile="both", start_stage=1)
    with pytest.raises(InputError, match="give start_stage=0, or a model of the task animation"):
        model.animate(tile="both")
    with pytest.raises(InputError, match="trained for harmonization and knows the edges"):
        consingan_jax.load(harmonization_run).sample(tile="both")


def test_frames_of_an_animation_model_have_no_seam(picture, once):
    config = tiny.CONFIG | {"image": str(picture), "task": "animation"}
    run = once("tiles_animation", lambda path: consingan_jax.train(config, path))
    model = consingan_jax.load(run)
    for start_stage in (0, 1):
        frames = list(model.animate(0, frames=20, tile="both", start_stage=start_stage))
        for axis in (0, 1):
            seam, inside = np.mean([steps(frame, axis) for frame in frames], 0)
            assert seam / inside <= 1.2  # frames are alike, so that their mean is less exact


def test_files_of_tiles(model, tmp_path):
    output = Output(model, str(tmp_path / "tiles"), "")
    _, sheet = output.samples(seed=1, num_samples=2, start_stage=0, tile="horizontal")
    (first,) = model.sample(1, tile="horizontal")
    repeated = np.asarray(Image.open(sheet.file))
    np.testing.assert_array_equal(repeated, np.tile(display.to_uint8(first), (1, 3, 1)))
    asked = {"seed": 1, "start_stage": 0, "height": None, "width": None}
    for _ in render.sample(model, str(tmp_path / "tile.zarr"), **asked, tile="horizontal"):
        pass
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(tmp_path / "tile.zarr")}}
    tile = np.asarray(tensorstore.open(spec).result().read().result())
    np.testing.assert_array_equal(tile, repeated[:, : first.shape[1]])
