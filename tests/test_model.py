import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

import consingan_jax
from consingan_jax import checkpoint
from consingan_jax.data import noise
from consingan_jax.errors import InputError
from consingan_jax.generation import sampling
from consingan_jax.images import display
from tests import tiny


@pytest.fixture(scope="module")
def model(finished_run):
    return consingan_jax.load(finished_run)


@pytest.fixture(scope="module")
def harmonizer(harmonization_run):
    return consingan_jax.load(harmonization_run)


def test_a_model_has_what_users_call_and_no_more():
    names = {name for name in dir(consingan_jax.Model) if not name.startswith("_")}
    makes = {"sample", "samples", "window", "reconstruct", "animate", "harmonize", "edit"}
    makes |= {"fill", "enlarge", "paint"}
    says = {"task", "generator", "size", "finished", "describe", "num_params"}
    saves = {"save", "tree", "metadata", "reconstruction_rmse"}
    assert names - {"per_pixel", "hole"} == makes | says | saves  # fields with defaults


def test_a_run_and_its_model_directory_load_alike(model, finished_run):
    other = consingan_jax.load(finished_run / "model")
    np.testing.assert_array_equal(model.sample(), other.sample())
    assert model.finished and model.config == other.config
    assert model.sizes == ((14, 19), (18, 23), (21, 28))


def test_the_model_among_the_examples_has_learned_the_scene():
    model = consingan_jax.load("examples/scene_model")
    scene = consingan_jax.load_image("examples/scene.png")
    assert np.abs(model.real[0] - scene).max() < 1e-6  # it has the top level's size
    error = np.sqrt(np.square(model.reconstruct()[0] - scene).mean())
    assert error < 0.08  # 0.0748 at the end of its training; samples have 0.34
    (sample,) = model.sample(0)
    assert np.abs(sample.mean((0, 1)) - scene.mean((0, 1))).max() < 0.15


def test_plain_orbax_restores_the_same_parameters(model, finished_run):
    tree = ocp.load(finished_run.resolve() / "model")
    np.testing.assert_array_equal(
        tree["params"]["stages"][2]["block0"]["conv"]["kernel"],
        model.params["stages"][2]["block0"]["conv"]["kernel"],
    )
    metadata = ocp.metadata(finished_run.resolve() / "model").custom_metadata
    assert metadata["config"] == json.loads((finished_run / "run.json").read_text())["config"]


def test_an_image_depends_on_its_seed_alone(model):
    images = model.sample(seed=0, num_samples=3)
    assert images.shape == (3, 21, 28, 3) and images.dtype == np.float32
    np.testing.assert_array_equal(images[2], model.sample(seed=2)[0])
    assert not np.allclose(images[0], images[1])


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        ("2x", None, (21, 56)),
        (30, "1.5x", (31, 30)),
        ("57", 100, (100, 57)),
        (None, "0.5x", (10, 28)),
        (1, 1, (1, 1)),
    ],
)
def test_exactly_the_asked_size(model, width, height, size):
    assert model.sample(width=width, height=height).shape == (1, *size, 3)


def test_lower_stages_are_scaled_and_rounded_down():
    sizes = ((14, 19), (16, 21), (21, 28))
    assert sampling.stage_sizes(sizes, None, "1.5x") == ((14, 28), (16, 31), (21, 42))


def test_stages_below_the_start_take_the_fixed_noise(model):
    view = model.generator.view(model.sizes)
    keys = noise.stage_keys(noise.sample_key(7), 3)
    kept = [*tiny.z_star(model)[:2], noise.NoiseSource(keys).draw(view.noise(model.arch))[2]]
    expected = model.generator(model.params, kept, model.noise_amps, view)
    image = model.sample(seed=7, start_stage=2)
    np.testing.assert_allclose(image, expected, atol=1e-5)
    assert not np.array_equal(image, model.sample(seed=7))


def test_the_fixed_input_of_another_size(model):
    assert model.sample(width="2x", start_stage=2).shape == (1, 21, 56, 3)


@pytest.mark.parametrize("tile", [16, 23])
def test_an_image_does_not_depend_on_its_tiles(model, monkeypatch, tile):
    size = {"height": 50, "width": 61}
    whole = [model.sample(3, **size), model.sample(3, start_stage=1, **size)]
    monkeypatch.setattr(sampling, "TILE", tile)
    tiled = [model.sample(3, **size), model.sample(3, start_stage=1, **size)]
    np.testing.assert_allclose(tiled, whole, atol=1e-4)
    assert np.abs(model.reconstruct() - model.real).mean() < 1


def test_windows_of_a_canvas_beyond_all_memory(model):
    canvas = (1_000_000, 1_000_000)
    here = model.window(5, 999_960, 999_950, 40, 50, canvas=canvas)
    there = model.window(5, 999_970, 999_940, 30, 44, canvas=canvas)
    np.testing.assert_allclose(here[10:, :34], there[:, 10:], atol=1e-4)
    assert here.shape == (40, 50, 3) and np.std(here) > 0.01


def test_a_large_window_of_a_large_canvas_is_made_in_tiles(model, monkeypatch):
    canvas = (2_000_000, 70)
    monkeypatch.setattr(sampling, "TILE", 48)
    part = model.window(5, 1_998_900, 0, 1100, 70, canvas=canvas)
    end = model.window(5, 1_999_970, 20, 30, 50, canvas=canvas)
    np.testing.assert_allclose(part[-30:, 20:], end, atol=1e-4)


def test_a_window_is_its_part_of_the_sample(model):
    whole = model.sample(9, height=50, width=61)[0]
    part = model.window(9, 20, 30, 25, 31, canvas=(50, 61))
    np.testing.assert_allclose(part, whole[20:45, 30:], atol=1e-4)


@pytest.mark.parametrize(
    ("place", "canvas", "message"),
    [
        ((0, 40, 10, 30), (50, 61), "left=40 and width=30: the canvas has 61 px there"),
        ((-1, 0, 10, 30), (50, 61), "top=-1 and height=10: the canvas has 50 px there"),
        ((0, 0, 0, 30), (50, 61), "top=0 and height=0"),
        ((0, 0, 40_000, 8), (50_000, 61), "height=40000: a window has 32768 px at most"),
        (
            (0, 0, 20_000, 20_000),
            (50_000, 50_000),
            "height=20000 and width=20000: a window has 268435456 pixels at most; make several",
        ),
        (
            (0, 0, 8, 8),
            (50, 3_000_000),
            "width=3000000 is 3000000 px: give a size from 1 to 2000000",
        ),
    ],
)
def test_windows_that_cannot_be(model, place, canvas, message):
    with pytest.raises(InputError, match=message):
        model.window(0, *place, canvas=canvas)


def test_a_model_of_format_1_draws_as_it_did(model, tmp_path, monkeypatch):
    old = dataclasses.replace(model, fixed=noise.ReconstructionNoise(tiny.z_star(model), 7))
    about = {name: value for name, value in old.metadata().items() if name != "noise"}
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    checkpoint.save(tmp_path / "model", old.tree(), about)
    monkeypatch.undo()
    old = consingan_jax.load(tmp_path / "model")
    np.testing.assert_allclose(old.reconstruct(), model.reconstruct(), atol=1e-6)
    wanted = model.generator.view(model.sizes).noise(model.arch)
    z = [
        jax.random.normal(key, (1, rows.length, columns.length, channels))
        for key, (rows, columns, channels) in zip(
            jax.random.split(jax.random.key(4), 3), wanted, strict=True
        )
    ]
    view = model.generator.view(model.sizes)
    expected = model.generator(model.params, z, model.noise_amps, view)
    np.testing.assert_allclose(old.sample(4), expected, atol=1e-5)
    monkeypatch.setattr(sampling, "TILE", 16)  # its images stay in one piece
    np.testing.assert_allclose(old.sample(4), expected, atol=1e-5)
    with pytest.raises(InputError, match="it is of format 1, whose noise is drawn for whole"):
        old.window(0, 0, 0, 8, 8, canvas=(50, 61))
    old.save(tmp_path / "again")
    np.testing.assert_array_equal(consingan_jax.load(tmp_path / "again").sample(4), old.sample(4))


def test_normalisation_and_composites_need_whole_images(model):
    normal = dataclasses.replace(model, arch=dataclasses.replace(model.arch, batch_norm=True))
    with pytest.raises(InputError, match="its normalisation takes statistics of whole images"):
        normal.window(0, 0, 0, 8, 8, canvas=(50, 61))
    config = dataclasses.replace(model.config, task="harmonization")
    with pytest.raises(InputError, match="the task harmonization takes whole images"):
        dataclasses.replace(model, config=config).window(0, 0, 0, 8, 8, canvas=(50, 61))


def test_a_model_and_its_pictures_show_themselves(model):
    shown = model._repr_html_()
    assert "picture.png, 21x28 px" in shown and "14x19 &rarr; 18x23 &rarr; 21x28" in shown
    assert 'src="data:image/png;base64,iVBOR' in shown
    for pictures in (model.sample(0, 2), model.reconstruct(), model.sample(0)[0]):
        assert pictures._repr_png_().startswith(b"\x89PNG")


def test_a_model_keeps_little_noise(model, finished_run):
    tree = checkpoint.load(finished_run / "model")
    assert [z.shape for z in tree["z_star"]] == [tiny.z_star(model)[0].shape]
    border = 2 * model.arch.num_layers
    shapes = [(1, h + border, w + border, 4) for h, w in model.sizes[1:]]
    assert [z.shape for z in tiny.z_star(model)[1:]] == shapes


def test_reconstruction(model):
    image = model.reconstruct()
    assert image.shape == model.real.shape
    rmse = np.sqrt(np.mean((image - model.real) ** 2))
    assert model.reconstruction_rmse() == pytest.approx(rmse)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": "wide"}, "width=wide: give pixels such as 600 or a factor such as 2x"),
        ({"height": "x"}, "height=x: give pixels"),
        ({"width": 0}, "width=0 is 0 px: give a size from 1"),
        ({"width": "nanx"}, "width=nanx"),
        ({"width": "infx"}, "width=infx"),
        ({"start_stage": 3}, "start_stage=3: this model has the stages 0 to 2"),
        ({"num_samples": 0}, "num_samples=0: give 1 or more"),
        ({"seed": -1}, "seed=-1: give one from 0"),
        ({"seed": 0.5}, "seed=0.5: give a whole number"),
        ({"seed": 2**32 - 1, "num_samples": 2}, "seed=4294967295 of 2 samples: give one"),
    ],
)
def test_bad_arguments(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.sample(**arguments)


def test_directories_that_are_no_models(tmp_path):
    with pytest.raises(ValueError, match="no such directory"):
        consingan_jax.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="neither a run nor a model"):
        consingan_jax.load(tmp_path)


def test_a_damaged_checkpoint_is_named(finished_run, tmp_path):
    damaged = shutil.copytree(finished_run / "model", tmp_path / "model")
    shutil.rmtree(damaged / "state")
    with pytest.raises(ValueError, match="is a damaged checkpoint"):
        consingan_jax.load(damaged)


def test_a_model_of_another_format_is_refused(model, tmp_path):
    ocp.save(tmp_path / "model", model.tree(), custom_metadata={"format": 99})
    with pytest.raises(ValueError, match="format 99, but this version of consingan_jax reads"):
        consingan_jax.load(tmp_path / "model")


def test_harmonizing_keeps_what_is_outside_the_mask(harmonizer):
    composite = np.random.default_rng(0).uniform(-1, 1, (42, 56, 3)).astype(np.float32)
    mask = np.zeros((42, 56))
    mask[15:20, 20:30] = 1
    made = harmonizer.harmonize(composite, mask=mask)
    assert made.result.shape == made.blended.shape == (21, 28, 3) and made.mask.shape == (21, 28)
    outside = made.mask == 0
    assert outside.any()
    np.testing.assert_array_equal(made.blended[outside], made.composite[outside])
    inside = made.mask == 1
    np.testing.assert_array_equal(made.blended[inside], made.result[inside])
    np.testing.assert_array_equal(harmonizer.edit(composite).final, made.result)


def test_the_training_image_harmonized_is_the_reconstruction(harmonizer):
    """At level 0 the composite is resized straight from the top level, as the pyramid was."""
    made = harmonizer.harmonize(np.asarray(harmonizer.real[0]))
    np.testing.assert_allclose(made.result, harmonizer.reconstruct()[0], atol=0.05)


def test_composites_that_cannot_be(model, harmonizer):
    picture = np.full((21, 28, 3), -0.5, np.float32)
    with pytest.raises(ValueError, match="trained for generation: composites need one of"):
        model.harmonize(picture)
    with pytest.raises(ValueError, match=r"shape \(21, 28\): give \[H, W, 3\]"):
        harmonizer.harmonize(picture[..., 0])
    with pytest.raises(ValueError, match="some of them 1"):
        harmonizer.harmonize(picture, mask=picture[..., 0])


@pytest.mark.parametrize(
    ("scale", "dtype", "message"),
    [
        (255, np.float32, "has values from 0 to 255: give floats in"),
        (1, np.float32, "has values from 0 to 1: give floats in"),
        (255, np.int64, "of type int64: give uint8, uint16, or floats"),
    ],
)
def test_composites_in_another_range_are_refused(scale, dtype, message, harmonizer):
    picture = np.linspace(0, scale, 21 * 28 * 3).reshape(21, 28, 3).astype(dtype)
    with pytest.raises(InputError, match=message):
        harmonizer.harmonize(picture)


def test_composites_of_whole_numbers_and_bright_ones_are_taken(harmonizer, tmp_path):
    bright = np.linspace(0.1, 1, 21 * 28 * 3, dtype=np.float32).reshape(21, 28, 3)
    display.save(tmp_path / "bright.png", bright)
    loaded = consingan_jax.load_image(tmp_path / "bright.png")
    once = harmonizer.harmonize(loaded).result
    np.testing.assert_array_equal(harmonizer.harmonize(display.to_uint8(bright)).result, once)
    wide = display.to_uint8(bright).astype(np.uint16) * 257
    np.testing.assert_allclose(harmonizer.harmonize(wide).result, once, atol=1e-5)


def test_frames_of_an_animation(model):
    frames = list(model.animate(0, frames=10, width=40, start_stage=1))
    assert len(frames) == 10 and frames[0].shape == (21, 40, 3)
    again = list(model.animate(jax.random.key(0), frames=2, width=40, start_stage=1))
    np.testing.assert_array_equal(frames[:2], again)
    with pytest.raises(ValueError, match="frames=0"):
        model.animate(0, frames=0)


def test_models_are_compared_by_identity(model, finished_run):
    again = consingan_jax.load(finished_run)
    assert model == model and model != again
    assert len({model, again}) == 2


def test_the_arrays_of_a_loaded_model_are_on_the_device(model):
    arrays = jax.tree.leaves((model.params, tiny.z_star(model), model.noise_amps))
    assert all(isinstance(array, jax.Array) for array in arrays)


def test_a_checkpoint_that_is_replaced_while_it_is_read(finished_run, tmp_path, monkeypatch):
    run = shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(run / "model")
    tree, about = checkpoint.load(finished_run / "model"), checkpoint.metadata(run_step(run))
    load = checkpoint.load

    def replaced(path):
        if "000004" in path.name:  # the training puts a newer one in its place just then
            checkpoint.save_step(run / "checkpoints", tree, about, stage=2, step=5)
        return load(path)

    monkeypatch.setattr(checkpoint, "load", replaced)
    model = consingan_jax.load(run)
    assert jax.tree.all(jax.tree.map(np.array_equal, model.tree(), tree))


def run_step(run):
    """Returns the last checkpoint of a run."""
    return checkpoint.latest_step(run / "checkpoints")


def test_a_model_saved_before_a_field_existed_loads(model, tmp_path):
    about = model.metadata()
    del about["config"]["remat"], about["architecture"]["dtype"]
    checkpoint.save(tmp_path / "model", model.tree(), about)
    old = consingan_jax.load(tmp_path / "model")
    assert old.config == model.config and old.arch == model.arch
    about["architecture"]["unknown"] = 1
    checkpoint.save(tmp_path / "newer", model.tree(), about)
    with pytest.raises(InputError, match="unknown"):
        consingan_jax.load(tmp_path / "newer")
