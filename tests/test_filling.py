"""Training with a hole in the image, and filling it."""

import shutil

import jax
import numpy as np
import pytest

import consingan_jax
from consingan_jax.data import exclusion
from consingan_jax.errors import InputError
from consingan_jax.generation import filling
from consingan_jax.generation.output import Output
from consingan_jax.images import display, loading
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.training import trainer
from consingan_jax.training.stage import StageFactory
from tests import tiny

TOP, LEFT, SIDE = 18, 26, 7  # of the hole in the picture of 30x40 px


@pytest.fixture(scope="module")
def files(once):
    """A folder with the picture, one that differs in the hole alone, and the mask of the hole."""

    def make(folder):
        tiny.paint(folder / "picture.png")
        hole = np.full((30, 40, 1), -1.0)
        hole[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = 1
        display.save(folder / "hole.png", hole)
        painted = np.array(loading.load(folder / "picture.png"))
        painted[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = [1, -1, 1]
        display.save(folder / "painted.png", painted)

    return once("with_a_hole", make)


@pytest.fixture(scope="module")
def config(files):
    """A configuration whose stages 1 and 2 train on windows."""
    paths = {"image": str(files / "picture.png"), "exclude": str(files / "hole.png")}
    return tiny.CONFIG | paths | {"window": (0, 12, 14)}


@pytest.fixture(scope="module")
def run(config, once):
    return once("run_with_a_hole", lambda path: trainer.train(config, path))


@pytest.fixture(scope="module")
def model(run):
    return consingan_jax.load(run)


def _equal(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one.tree(), other.tree()))


@pytest.mark.parametrize("window", [0.0, (0, 12, 14)])
def test_nothing_of_the_hole_is_learned(window, config, model, files, tmp_path):
    """A picture with other content in the hole gives the same model, bit for bit."""
    changed = config | {"window": window}
    if window == 0:
        model = trainer.train(changed, tmp_path / "whole_levels")
    painted = trainer.train(changed | {"image": str(files / "painted.png")}, tmp_path / "painted")
    assert _equal(model, painted)
    hole = model.hole
    assert hole.shape == model.size and 0.04 < hole.mean() < 0.1
    assert np.abs(painted.real[0][hole] - [1, -1, 1]).max(-1).min() > 0.3


def test_the_hole_of_z_star_is_noise(config):
    stages = StageFactory(load_inputs(consingan_jax.Config.create(**config)))
    (z_star,), hole = stages.first().fixed.stored, stages.inputs.holes[0]
    np.testing.assert_array_equal(z_star[0][~hole], stages.inputs.levels[0][0][~hole])
    assert 0.6 < np.std(z_star[0][hole]) < 1.4


def test_the_critic_judges_samples_in_every_iteration(config):
    """They do not depend on its number; neither does the noise here."""
    stage = StageFactory(load_inputs(consingan_jax.Config.create(**config))).first()
    program, view = stage.program, stage.program.any_view()
    z, mixes = program.draw(stage.key, stage.data, view)
    states = [stage.state.replace(step=np.int32(step)) for step in (0, 1)]
    iterate = jax.jit(program.iterate)
    made = [iterate(state, stage.data, z, mixes, view) for state in states]
    (first, metrics), (second, others) = made
    jax.tree.map(np.testing.assert_array_equal, metrics, others)
    jax.tree.map(np.testing.assert_array_equal, first.generator, second.generator)
    sample = program.generator(stage.state.generator, z, stage.data.noise_amps, view)
    scores = program.critic.scores(stage.state.critic, sample)
    weights = stage.data.exclusion.patches
    expected = (weights * scores).mean()
    np.testing.assert_allclose(abs(metrics["critic_fake"][0]), abs(expected), rtol=1e-4)


def test_noise_amplitudes_do_not_count_the_hole(config):
    """By the same definition as in training: the error without the new stage's noise."""
    stages = StageFactory(load_inputs(consingan_jax.Config.create(**config)))
    grown = stages.grown(stages.first())
    model, hole = grown.model(), stages.inputs.holes[1]
    without = consingan_jax.Model(
        **{name: getattr(model, name) for name in ("params", "fixed", "real", "arch", "sizes")},
        **{"noise_amps": model.noise_amps.at[1].set(0), "config": model.config, "step": 0},
    )
    error = (without.reconstruct() - model.real)[0][~hole]
    expected = model.config.noise_amp * np.sqrt(np.mean(np.square(error)))
    assert float(model.noise_amps[1]) == pytest.approx(expected, rel=1e-5)


def test_a_stopped_run_ends_like_an_undisturbed_one(config, model, tmp_path):
    changed = config | {"checkpoint_minutes": 1e-9, "sample_every": 3}
    with pytest.raises(consingan_jax.StoppedError):
        trainer.train(changed, tmp_path / "run", watcher=lambda now: now.stage == 1 and now.step)
    unfinished = consingan_jax.load(tmp_path / "run")
    assert len(unfinished.sizes) == 2 and 0 < unfinished.step < 4
    assert unfinished.hole.shape == unfinished.size
    assert _equal(trainer.train(changed, tmp_path / "run"), model)


def test_a_run_with_another_hole_is_refused(config, run, files, tmp_path):
    other = np.full((30, 40, 1), -1.0)
    other[20:24, 2:8] = 1
    display.save(tmp_path / "other.png", other)
    with pytest.raises(InputError, match=r"belongs to another picture .* use another --workdir"):
        trainer.train(config | {"exclude": str(tmp_path / "other.png")}, run)
    with pytest.raises(InputError, match="belongs to another picture"):
        trainer.train(config | {"exclude": ""}, run)
    shutil.copy(files / "hole.png", tmp_path / "moved.png")
    assert trainer.train(config | {"exclude": str(tmp_path / "moved.png")}, run).finished


def test_fillings_differ_in_the_hole_alone(model):
    made = model.fill(3, 3)
    assert made.shape == (3, *model.size, 3)
    for image in made:
        np.testing.assert_array_equal(image[~model.hole], model.real[0][~model.hole])
    assert np.std(made[:, model.hole], axis=0).min() > 0  # of a model that is hardly trained
    np.testing.assert_array_equal(model.fill(4)[0], made[1])
    np.testing.assert_array_equal(
        model.fill(0, start_stage=2)[0][~model.hole], made[0][~model.hole]
    )


def test_a_filling_has_noise_in_the_hole_and_z_star_around_it(model):
    wanted = model.generator.view(model.sizes).noise(model.arch)
    source = filling.noise_of(model, 3)
    z, fixed, other = (each.draw(wanted) for each in (source, source.fixed, source.other))
    for i, (made, still, moved) in enumerate(zip(z, fixed, other, strict=True)):
        inside = (made == moved).all(-1)
        np.testing.assert_array_equal(made[~inside], still[~inside])
        share = exclusion.touched(model.hole, model.sizes[i]).mean()
        assert inside.mean() == pytest.approx(share, rel=0.5)
    # Noise of stage 0 has the size of the level, so that its hole is the level's, pixel by pixel.
    np.testing.assert_array_equal(
        (z[0] == other[0])[0].all(-1), exclusion.touched(model.hole, model.sizes[0])
    )


def test_the_difference_around_the_hole_is_continued_into_it():
    hole = np.zeros((20, 30), bool)
    hole[6:12, 9:20] = True
    picture = np.full((20, 30, 1), 0.5, np.float32)
    made = np.full((20, 30, 1), 0.2, np.float32)
    made[8, 13] = 0.4
    expected = picture.copy()
    expected[8, 13] = 0.7
    np.testing.assert_allclose(filling.blend(made, picture, hole), expected, atol=1e-6)


def test_at_full_size(model, files):
    picture, hole = filling.full_size(model)
    np.testing.assert_array_equal(hole[TOP : TOP + SIDE, LEFT : LEFT + SIDE], True)
    assert hole.sum() == SIDE**2
    (made,) = model.fill(3, picture=(picture, hole))
    np.testing.assert_array_equal(made[~hole], loading.load(files / "picture.png")[~hole])
    assert made[hole].std() > 0


def test_files_of_fillings(model, tmp_path):
    output = Output(model, str(tmp_path / "out"), "")
    asked = {"seed": 5, "num_samples": 2, "start_stage": 0}
    (artifact,) = output.fillings(**asked, full_size=True)
    assert artifact.startswith("2 fillings of 30x40 px (height x width)")
    assert [file.name for file in artifact.files] == ["seed_5.png", "seed_6.png"]
    found = np.asarray(loading.load(artifact.files[0]))
    expected = model.fill(5, picture=filling.full_size(model))[0]
    np.testing.assert_allclose(found, expected, atol=1 / 255)


def test_what_cannot_be_filled(model, finished_run, files, monkeypatch):
    with pytest.raises(InputError, match="has learned its whole image: train one"):
        consingan_jax.load(finished_run).fill()
    with pytest.raises(InputError, match="num_samples=0: give 1 or more"):
        model.fill(0, 0)
    with pytest.raises(InputError, match="this model has the stages 0 to 2"):
        model.fill(start_stage=3)
    other = np.array(loading.load(files / "picture.png"))[::-1]
    monkeypatch.setattr(loading, "read", lambda _: loading.LoadedImage(other, model.encoding, []))
    with pytest.raises(InputError, match=r"picture.png or .*hole.png is not what the model was"):
        filling.full_size(model)
