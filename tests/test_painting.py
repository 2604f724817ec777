"""Paintings that a model gives the look of its image."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import consingan_jax
from consingan_jax.data import palette
from consingan_jax.errors import InputError
from consingan_jax.generation.output import Output
from consingan_jax.images import loading
from consingan_jax.nn import byte_resize, resize
from consingan_jax.training import trainer
from tests.test_singan import SMALL

SCALES = SMALL | {"scale_factor": 0.75}  # 15x20, 18x24 and 21x28 px


@pytest.fixture(scope="module")
def scales(picture, once):
    """The directory of a run of SinGAN with three scales."""
    config = SCALES | {"image": str(picture)}
    return once("singan_of_three", lambda path: trainer.train(config, path))


@pytest.fixture
def painting(picture):
    """The picture upside down, at its own size of 30x40 px."""
    return loading.load(picture)[::-1]


def test_scales_that_add_nothing_leave_the_painting(scales, painting):
    """Shrunk to the scale below the start, and enlarged step by step."""
    model = consingan_jax.load(scales)
    assert model.sizes == ((15, 20), (18, 24), (21, 28))
    model = dataclasses.replace(model, params=jax.tree.map(jnp.zeros_like, model.params))
    top = byte_resize.resize_to(painting, (21, 28))
    for start in (1, 2):
        expected = byte_resize.resize(top, model.arch.factor ** (3 - start))
        for height, width in model.sizes[start:]:
            expected = byte_resize.resize(expected, 1 / model.arch.factor)[:height, :width]
        made = model.paint(painting, start_stage=start)
        # Where a value lies on the edge between two bytes, rounding may put it on either side.
        differences = np.abs(made[0] - expected)
        assert np.mean(differences > 1e-4) < 0.02 and differences.max() < 0.02


def test_scales_above_the_start_are_those_of_a_sample(scales, painting):
    model = consingan_jax.load(scales)
    parts, made = model.params["stages"], model.paint(painting, 3, 2, start_stage=2)
    np.testing.assert_array_equal(made[1], model.paint(painting, 4, start_stage=2)[0])
    assert np.abs(made[0] - made[1]).max() > 1e-4
    # Nothing below the start has a say.
    below = jax.tree.map(jnp.zeros_like, parts[:2])
    other = dataclasses.replace(model, params={"stages": [*below, parts[2]]})
    np.testing.assert_array_equal(made, other.paint(painting, 3, 2, start_stage=2))


def test_an_unfinished_model_takes_paintings(scales, painting):
    """Rounding its size down again by the factor would give another size of the scale below."""
    model = consingan_jax.load(scales)
    assert byte_resize.scaled_size(model.sizes[1], model.arch.factor) != model.sizes[0]
    params = {"stages": model.params["stages"][:2]}
    real, sizes = np.zeros((1, 18, 24, 3), np.float32), model.sizes[:2]
    unfinished = dataclasses.replace(model, params=params, real=real, sizes=sizes)
    assert unfinished.paint(painting, start_stage=1).shape == (1, 18, 24, 3)


def test_stage_0_reads_the_painting_at_the_size_of_its_stage(editing_run, painting):
    model = consingan_jax.load(editing_run)
    silent = dataclasses.replace(model, noise_amps=0 * model.noise_amps)
    stages = model.params["stages"]
    for start, kept in ((0, stages), (1, [stages[0], stages[2]])):
        sizes = model.sizes[start:]
        view = model.generator.view(sizes)
        z = [
            jnp.zeros((1, n.rows.length, n.columns.length, n.channels))
            for n in view.noise(model.arch)
        ]
        z[0] = resize.fit(painting, sizes[0])[None]
        params = {**model.params, "stages": kept}
        expected = model.generator(params, z, jnp.zeros(len(z)), view)
        made = silent.paint(painting, start_stage=start)
        np.testing.assert_allclose(made, expected, atol=1e-5)
    assert np.abs(model.paint(painting, 0) - model.paint(painting, 1)).max() > 1e-5


def test_the_colours_of_an_image():
    image = np.zeros((4, 6, 3), np.float32)
    image[:, :2], image[:, 2:5], image[:, 5] = (-1, -1, 0), (0, 0.5, 0), (1, 1, 0)
    image[0, :2] += 0.1
    found = palette.of_image(image, 3)
    np.testing.assert_allclose(found, [(-0.975, -0.975, 0.025), (0, 0.5, 0), (1, 1, 0)], atol=1e-6)
    picture = np.array([[(-0.6, -0.6, -1), (0.4, 0.6, 0.2)]], np.float32)
    np.testing.assert_array_equal(palette.reduced(picture, found)[0], found[:2])
    # More colours than the image has.
    assert {tuple(colour) for colour in palette.of_image(image[1:], 9)} == {
        tuple(colour) for colour in np.unique(image[1:].reshape(-1, 3), axis=0)
    }


@pytest.mark.parametrize("stage", [1, 2])
def test_colours_that_an_image_does_not_have_are_replaced(stage, scales):
    """A flat painting of any colour near one of the palette gives what that colour gives."""
    model = consingan_jax.load(scales)
    colour = palette.of_image(model.real[0], 2)[1]
    own = np.broadcast_to(colour, (21, 28, 3))
    asked = {"start_stage": stage, "colours": 2}
    np.testing.assert_array_equal(model.paint(own + 0.05, **asked), model.paint(own, **asked))
    plain = model.paint(own + 0.05, start_stage=stage)
    assert np.abs(plain - model.paint(own, **asked)).mean() > 0.02


@pytest.mark.parametrize("shape", [(20, 80), (80, 20)])
def test_another_aspect_ratio_is_kept(shape, scales, editing_run):
    flat = np.full((*shape, 3), 128, np.uint8)
    size = (7, 28) if shape == (20, 80) else (28, 7)
    for run in (scales, editing_run):
        assert consingan_jax.load(run).paint(flat).shape == (1, *size, 3)


def test_files(scales, tmp_path):
    Image.new("LA", (40, 30), (100, 255)).save(tmp_path / "grey.png")
    output = Output(consingan_jax.load(scales), str(tmp_path / "out"), str(scales))
    asked = {"seed": 5, "num_samples": 2}
    *_, line = output.paintings(str(tmp_path / "grey.png"), start_stage=None, **asked)
    out = tmp_path / "out/grey"
    assert line == f"painting at 21x28 px, from stages 1 to 2 on: {out}/side_by_side.png"
    seeds = [f"stage_{stage}-seed_{seed}.png" for stage in (1, 2) for seed in (5, 6)]
    assert [file.name for file in line.files] == seeds
    assert loading.load(line.file).shape == (2 * 21 + 2, 3 * 28 + 4, 3)
    grey = loading.load(tmp_path / "grey.png", channels=3)
    made = output.model.paint(grey, 6, start_stage=2)[0]
    np.testing.assert_allclose(loading.load(line.files[-1]), made, atol=1 / 255)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start_stage": 0}, "start_stage=0: paintings enter this model at stages 1 to 2"),
        ({"start_stage": 3}, "start_stage=3: paintings enter this model at stages 1 to 2"),
        ({"num_samples": 0}, "num_samples=0: give 1 or more"),
        ({"colours": 65}, "colours=65: give 2 to 64, or 0 for those it has"),
        ({"seed": -1}, "seed=-1: give one from 0"),
        ({"picture": np.zeros((30, 40, 1))}, r"painting of shape \(30, 40, 1\): give \[H, W, 3\]"),
        ({"picture": np.zeros((0, 40, 3))}, r"painting of shape \(0, 40, 3\)"),
        ({"picture": np.full((30, 40, 3), np.nan)}, "painting has values from nan"),
    ],
)
def test_what_cannot_be_painted(arguments, message, scales, painting):
    with pytest.raises(InputError, match=message):
        consingan_jax.load(scales).paint(**{"picture": painting} | arguments)


def test_models_that_take_no_paintings(scales, finished_run, painting):
    model = consingan_jax.load(scales)
    walk = dataclasses.replace(model.config, task="animation")
    with pytest.raises(InputError, match="singan and the task animation: paintings need one of"):
        dataclasses.replace(model, config=walk).paint(painting)
    with pytest.raises(InputError, match="consingan and the task generation: paintings need"):
        consingan_jax.load(finished_run).paint(painting)
    with pytest.raises(InputError, match="this model has a single stage"):
        dataclasses.replace(model, sizes=model.sizes[:1]).paint(painting)
