"""Enlarging the training image of a model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import consingan_jax
from consingan_jax.cli import sample
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.generation import enlarging, inputs, sampling
from consingan_jax.images import loading
from consingan_jax.nn import byte_resize, resize
from consingan_jax.training import trainer
from tests import tiny
from tests.test_singan import SMALL

METHODS = ("consingan", "singan")


@pytest.fixture(scope="module")
def runs(picture, once):
    """The directory of a finished run of each method."""
    of_consingan = tiny.CONFIG | {"num_stages": 2, "num_iters": 2}
    settings = {"consingan": of_consingan, "singan": SMALL | {"num_iters": 2}}
    about = {"task": "superres", "image": str(picture)}
    return {
        name: once(f"superres_{name}", lambda path, own=own: trainer.train({**own, **about}, path))
        for name, own in settings.items()
    }


@pytest.fixture(scope="module", params=METHODS)
def model(request, runs):
    """A model of each method."""
    return consingan_jax.load(runs[request.param])


def test_defaults_of_singan_are_the_published_ones():
    config = Config.create("superres", method="singan")
    assert (config.min_size, config.rec_weight, config.slug) == (18, 100, "singan-superres")
    assert config.scale_factor == pytest.approx(4 ** (-1 / 6))


def test_a_back_projected_image_shrinks_to_the_small_one():
    rng = np.random.default_rng(0)
    small, image = rng.uniform(-0.3, 0.3, (7, 9, 3)), rng.uniform(-0.3, 0.3, (21, 30, 3))
    made = enlarging.back_projected(image, small)
    assert np.abs(resize.fit(image, (7, 9)) - small).max() > 0.1
    assert np.abs(made).max() < 1
    np.testing.assert_allclose(resize.fit(made, (7, 9)), small, atol=1e-6)
    # No image that shrinks to it is nearer.
    matrix = np.kron(*(resize.resize_matrix(m, n / m, n) for m, n in ((21, 7), (30, 9))))
    lacking = small[..., 0].ravel() - matrix @ image[..., 0].ravel()
    least = np.linalg.lstsq(matrix, lacking, rcond=None)[0].reshape(21, 30)
    np.testing.assert_allclose(made[..., 0] - image[..., 0], least, atol=1e-5)


def test_a_back_projected_image_stays_in_the_range_of_pixels():
    small = np.sign(np.random.default_rng(0).standard_normal((6, 6, 1)))
    made = enlarging.back_projected(np.zeros((24, 24, 1)), small)
    assert np.abs(made).max() == 1
    before = np.abs(small).mean()
    assert np.abs(resize.fit(made, (6, 6)) - small).mean() < before / 2


def test_enlarged_sizes_and_seeds(model):
    height, width = model.size
    for scale in (2, 1.3):
        made = model.enlarge(scale, seed=1)
        assert made.shape == (1, int(scale * height), int(scale * width), 3)
        assert made.dtype == np.float32 and np.abs(made).max() <= 1
    np.testing.assert_array_equal(model.enlarge(1.3, seed=1), made)
    assert np.abs(model.enlarge(1.3, seed=2) - made).max() > 0


def test_singan_applies_its_last_scale_again_and_again(runs):
    """A network that adds nothing leaves the resampling, step by step."""
    model = consingan_jax.load(runs["singan"])
    *below, last = model.params["stages"]
    silent = {**last["params"], "tail": jax.tree.map(jnp.zeros_like, last["params"]["tail"])}
    params = {"stages": [*below, {**last, "params": silent}]}
    made = dataclasses.replace(model, params=params).enlarge(4)[0]
    expected = model.real[0]
    for _ in range(6):
        expected = byte_resize.resize(expected, 4 ** (1 / 6))
    height, width = (4 * length for length in model.size)
    errors = np.abs(made - expected[:height, :width])
    # Where single precision meets the edge between two bytes, a few pixels move by a grey level.
    assert np.mean(errors > 1e-6) < 0.01 and errors.max() < 0.02


def test_noise_of_singans_steps(runs):
    model, wanted = consingan_jax.load(runs["singan"]), []

    def draw(step, window):
        wanted.append((step, window.rows.length, window.columns.length, window.channels))
        return jnp.zeros((1, *wanted[-1][1:]))

    arrays = model.params, jnp.asarray(model.real), model.noise_amps[-1]
    images = [*enlarging.by_last_scale(model.generator, *arrays, 2, draw)]
    assert [image.shape[1:3] for image in images] == [(27, 36), (35, 46), (45, 58)]
    assert wanted == [(0, 27, 36, 1), (1, 35, 46, 3), (2, 45, 58, 3)]


def test_consingan_puts_the_image_in_at_the_coarsest_stage(runs):
    model = consingan_jax.load(runs["consingan"])
    factor = model.size[0] / model.sizes[0][0]  # of one step
    (made,) = model.enlarge(factor, seed=4)
    sizes = sampling.renderer(model, *made.shape[:2]).sizes
    view = model.generator.view(sizes)
    _, *noises = inputs.sample_input(model, 4, sizes[0]).draw(view.noise(model.arch))
    z = [jnp.asarray(resize.fit(model.real[0], sizes[0]))[None], *noises]
    expected = model.generator(model.params, z, model.noise_amps, view)[0]
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_a_faithful_image_shrinks_to_the_training_image(model):
    plain, faithful = (model.enlarge(2, faithful=yes)[0] for yes in (False, True))
    error = [
        np.abs(resize.fit(each, model.size) - model.real[0]).mean() for each in (plain, faithful)
    ]
    assert error[1] < 1e-3 < error[0]


@pytest.mark.parametrize("scale", [1, 0.5, 0, -2, 100, float("nan"), float("inf")])
def test_factors_out_of_range(model, scale):
    with pytest.raises(InputError, match=r"^scale=\S+: give a factor above 1, up to 16$"):
        model.enlarge(scale)


def test_too_many_pixels():
    with pytest.raises(InputError, match=r"^scale=16: 48000x160 px are too many"):
        enlarging.check(Config.create("superres"), 16, (3000, 10))


def test_files(runs, tmp_path, capsys):
    run, out = runs["singan"], tmp_path / "out"
    arguments = [str(run), "--scale=2", "--faithful", "--seed=3"]
    sample.COMMAND.run("consingan sample", [*arguments, f"--out={out}"])
    assert sorted(file.name for file in out.iterdir()) == ["seed_3.png", "side_by_side.png"]
    expected = consingan_jax.load(run).enlarge(2, seed=3, faithful=True)[0]
    np.testing.assert_allclose(loading.load(out / "seed_3.png"), expected, atol=1 / 254)
    height, width, _ = expected.shape
    sheet = loading.load(out / "side_by_side.png")
    assert sheet.shape == (height, 2 * width + 2, 3)
    *_, line, picture, _ = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{out}/seed_3.png: {height}x{width} px (height x width)")
    assert picture == f"picture: {out}/side_by_side.png"


@pytest.mark.parametrize("scale", ["1", "0.5", "0", "100"])
def test_a_wrong_factor_writes_nothing(runs, scale, capsys):
    run = runs["singan"]
    with pytest.raises(SystemExit) as stop:
        sample.COMMAND.run("consingan sample", [str(run), f"--scale={scale}"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"consingan sample: scale={scale}: give a factor above 1, up to 16"
    assert not (run / "generated").exists()
