import dataclasses
import functools
import json
import os
import pathlib
import shlex
import shutil

import jax
import numpy as np
import pytest

import consingan_jax
from consingan_jax import checkpoint, numerics
from consingan_jax.config import Config
from consingan_jax.errors import DamagedError, DivergedError, InputError
from consingan_jax.images import display, loading
from consingan_jax.nn import resize
from consingan_jax.nn.generator import Generator
from consingan_jax.runs import directory, inputs
from consingan_jax.training import callbacks, compiler, run, step, trainer
from consingan_jax.training.stage import StageFactory
from tests import tiny


class KilledError(Exception):
    """Stands for a kill signal."""


def _equal(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one.tree(), other.tree()))


def _lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _kill_after(monkeypatch, calls):
    """Lets the recorder die after so many calls, with a checkpoint after each."""
    left = [calls]
    after_call = callbacks.Callbacks.after_call

    def dying(self, *args):
        after_call(self, *args)
        left[0] -= 1
        if left[0] == 0:
            raise KilledError

    monkeypatch.setattr(callbacks.Callbacks, "after_call", dying)


def test_a_run_directory_explains_itself(finished_run):
    names = {path.name for path in finished_run.iterdir() if not path.name.startswith(".")}
    expected = {"README.md", "run.json", "pyramid", "samples", "reconstruction"}
    expected |= {"metrics.jsonl", "tensorboard", "checkpoints", "model", "report.html"}
    assert names == expected
    readme = (finished_run / "README.md").read_text()
    assert all(name in readme for name in names - {"README.md"})
    assert [p.name for p in sorted((finished_run / "pyramid").iterdir())] == [
        "level_0_14x19.png",
        "level_1_18x23.png",
        "level_2_21x28.png",
    ]
    assert len(list((finished_run / "samples").iterdir())) == 3


def test_metrics_have_a_line_per_interval(finished_run):
    lines = _lines(finished_run)
    assert [(line["stage"], line["step"]) for line in lines] == [
        (stage, step) for stage in range(3) for step in (2, 4)
    ]
    losses = {"critic_real", "critic_fake", "gradient_penalty", "generator", "reconstruction_rmse"}
    assert losses <= set(lines[0])


@pytest.mark.parametrize("calls", [3])
def test_a_killed_run_ends_like_an_undisturbed_one(
    calls, tiny_config, finished_run, tmp_path, monkeypatch
):
    config = tiny_config | {"checkpoint_minutes": 1e-9, "sample_every": 3}
    with monkeypatch.context() as patch:
        _kill_after(patch, calls)
        with pytest.raises(KilledError):
            trainer.train(config, str(tmp_path / "run"))
    assert not consingan_jax.load(tmp_path / "run").finished
    resumed = trainer.train(config, str(tmp_path / "run"))
    assert resumed.finished
    assert _equal(resumed, consingan_jax.load(finished_run))
    lines = _lines(tmp_path / "run")
    moments = [(line["stage"], line["step"]) for line in lines]
    assert moments == sorted(set(moments))


def test_a_killed_run_keeps_the_mean_of_its_weights(tiny_config, tmp_path, monkeypatch):
    config = tiny_config | {"ema_decay": 0.9, "gp_every": 2, "loss": "relativistic"}
    whole = trainer.train(config, str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        _kill_after(patch, 3)
        with pytest.raises(KilledError):
            trainer.train(config | {"checkpoint_minutes": 1e-9}, str(tmp_path / "run"))
    resumed = trainer.train(config, str(tmp_path / "run"))
    assert _equal(resumed, whole)
    assert not _equal(whole, trainer.train(config | {"ema_decay": 0.0}, str(tmp_path / "last")))


def test_a_run_killed_before_its_first_checkpoint_starts_over(
    tiny_config, finished_run, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        _kill_after(patch, 1)
        with pytest.raises(KilledError):
            trainer.train(tiny_config, str(tmp_path / "run"))
    with pytest.raises(ValueError, match="without a checkpoint yet"):
        consingan_jax.load(tmp_path / "run")
    model = trainer.train(tiny_config, str(tmp_path / "run"))
    assert _equal(model, consingan_jax.load(finished_run))


def test_a_finished_run_is_not_trained_again(tiny_config, finished_run, monkeypatch):
    monkeypatch.setattr(compiler, "compile_loop", lambda *_: pytest.fail("trained again"))
    trainer.train(tiny_config, str(finished_run))


def test_one_compilation_per_stage(tiny_config, tmp_path, monkeypatch):
    traces = []
    run = step.StageStep.run

    @functools.wraps(run)  # a program of another name would be compiled again
    def counted(self, *args):
        traces.append(self.stage)
        return run(self, *args)

    monkeypatch.setattr(step.StageStep, "run", counted)
    trainer.train(tiny_config | {"log_every": 3}, str(tmp_path / "run"))
    assert traces == [0, 1, 2]


def test_two_stages(harmonization_run):
    model = consingan_jax.load(harmonization_run)
    assert len(model.params["stages"]) == 2 and model.finished


def test_a_grey_image_gives_a_grey_model_and_one_stage_is_enough(tiny_config, tmp_path):
    grey = np.random.default_rng(0).uniform(-1, 1, (20, 24, 1))
    display.save(tmp_path / "grey.png", grey)
    config = tiny_config | {"num_stages": 1, "num_iters": 1, "image": str(tmp_path / "grey.png")}
    model = trainer.train(config, str(tmp_path / "run"))
    assert model.sample(width=30).shape == (1, 20, 30, 1)


def test_a_diverged_run_stops_and_says_where(tiny_config, tmp_path):
    config = tiny_config | {"lr_critic": 1e30, "lr_generator": 1e30}
    with pytest.raises(DivergedError, match="diverged at stage 0, iteration 1"):
        trainer.train(config, str(tmp_path / "run"))
    assert checkpoint.latest_step(tmp_path / "run/checkpoints") is None


def test_a_run_whose_pictures_have_become_one_colour_stops(tiny_config, tmp_path, monkeypatch):
    white = np.ones((20, 24, 3))
    white[5:8, 5:8] = -1
    display.save(tmp_path / "white.png", white)
    config = tiny_config | {"image": str(tmp_path / "white.png"), "num_stages": 1}
    trainer.train(config, tmp_path / "young")  # all of its iterations are too few to judge
    monkeypatch.setattr(run, "COLLAPSE_AFTER", 2)  # new networks are grey, which is no better
    with pytest.raises(DivergedError, match="stage 0, iteration 2: its reconstruction is worse"):
        trainer.train(config, tmp_path / "run")
    trainer.train(config | {"rec_weight": 0.0}, tmp_path / "none")


def test_a_diverged_run_keeps_its_last_good_checkpoint(tiny_config, tmp_path, monkeypatch):
    grow = Generator.grow
    monkeypatch.setattr(
        Generator, "grow", lambda *args: jax.tree.map(lambda x: np.nan * x, grow(*args))
    )
    with pytest.raises(DivergedError, match=r"stage 1, iteration 1.*stage_0_step_000004"):
        trainer.train(tiny_config, str(tmp_path / "run"))
    kept = consingan_jax.load(tmp_path / "run")
    assert len(kept.sizes) == 1 and np.isfinite(kept.sample()).all()


def test_a_diverged_run_goes_on_more_slowly(tiny_config, tmp_path, monkeypatch, capsys):
    mild = {"lr_generator": 1e-4, "lr_critic": 1e-4}
    slowed = Config.slowed

    def at_last(config, factor):  # half of what is far too much still is
        return dataclasses.replace(config, **mild) if factor == 1 / 4 else slowed(config, factor)

    monkeypatch.setattr(Config, "slowed", at_last)
    wild = tiny_config | {"num_stages": 2, "lr_generator": (5e-4, 1e30), "lr_critic": (5e-4, 1e30)}
    retry = wild | {"on_divergence": "retry"}
    straight = trainer.train(retry, tmp_path / "straight")
    said = capsys.readouterr().out
    assert "; retry 1 of 3: " in said and "; retry 2 of 3: " in said and "retry 3" not in said
    (last,) = checkpoint.steps(tmp_path / "straight/checkpoints")[:1]
    assert checkpoint.metadata(last)["retries"] == 2 and straight.config.lr_critic == 1e-4
    with pytest.raises(DivergedError, match=r"or --config\.on_divergence=retry"):
        trainer.train(wild, tmp_path / "later")
    later = trainer.train(retry, tmp_path / "later")
    jax.tree.map(np.testing.assert_array_equal, straight.tree(), later.tree())


def test_a_run_that_diverges_at_any_rate_stops(tiny_config, tmp_path):
    config = tiny_config | {"lr_critic": 1e30, "lr_generator": 1e30, "on_divergence": "retry"}
    config["num_stages"] = 1
    with pytest.raises(DivergedError, match=r"finite number, after 3 retries\. Kept: no check"):
        trainer.train(config, tmp_path / "run")


def test_a_retry_halves_the_rates_and_draws_new_noise(tiny_config):
    work = inputs.load_inputs(Config.create(**tiny_config | {"lr_critic": (1e-3, 4e-4)}))
    before, after = StageFactory(work), StageFactory(work, retries=2)
    assert after.config.lr_critic == (2.5e-4, 1e-4) and after.config.lr_generator == 1.25e-4
    for number, key in enumerate(before.keys(1)):
        same = (jax.random.key_data(key) == jax.random.key_data(after.keys(1)[number])).all()
        assert same == (number == 0)


@pytest.mark.parametrize(
    ("where", "name", "call"),
    [
        (directory, "write_text", 1),  # before anything is there
        (display, "save", 2),  # while the run explains itself
        (checkpoint, "save", 2),  # before a checkpoint is written
        (checkpoint.shutil, "rmtree", 1),  # between a checkpoint and the removal of the one before
        (checkpoint, "save", 4),  # before the finished model
    ],
)
def test_killed_at_a_bad_moment(
    where, name, call, tiny_config, finished_run, tmp_path, monkeypatch
):
    calls = []
    function = getattr(where, name)

    def dying(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise KilledError
        return function(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, dying)
        with pytest.raises(KilledError):
            trainer.train(tiny_config, str(tmp_path / "run"))
    model = trainer.train(tiny_config, str(tmp_path / "run"))
    assert _equal(model, consingan_jax.load(finished_run))


def test_a_composite_is_watched_at_every_log_step(harmonization_run):
    names = sorted(path.name for path in (harmonization_run / "naive").iterdir())
    assert names == [f"stage_{stage}_step_000002.png" for stage in range(2)]
    shapes = [loading.load(harmonization_run / "naive" / name).shape for name in names]
    assert shapes == [(14, 2 * 19 + 2, 3), (21, 2 * 28 + 2, 3)]


def test_fine_tuning_takes_the_composite_as_its_input(
    tiny_harmonization, harmonization_run, tmp_path
):
    other = np.random.default_rng(1).uniform(-1, 1, (30, 40, 3)).astype(np.float32)
    display.save(tmp_path / "other.png", other)
    changes = {"fine_tune": str(harmonization_run), "naive": str(tmp_path / "other.png")}
    todo = inputs.load_inputs(Config.create(**{**tiny_harmonization, **changes}))
    stage = StageFactory(todo).fine_tuned(todo.source)
    expected = resize.fit(loading.load(tmp_path / "other.png"), (14, 19))
    np.testing.assert_allclose(stage.data.coarsest[0], expected, atol=1e-6)
    key, data = numerics.key(0), stage.data
    view = stage.program.any_view()
    z, _ = stage.program.draw(key, data, view)
    np.testing.assert_array_equal(z[0], data.coarsest)
    editing = dataclasses.replace(todo.config, task="editing")
    program = step.StageStep(editing, todo.arch, todo.sizes)
    added = program.draw(key, data, view)[0][0] - data.coarsest
    assert 0.08 < np.std(added) < 0.12


def test_another_composite_in_the_directory_of_a_fine_tuning(
    tiny_harmonization, harmonization_run, tmp_path, picture
):
    composite = shutil.copy(picture, tmp_path / "composite.png")
    changes = {"fine_tune": str(harmonization_run), "naive": str(composite)}
    config = Config.create(**{**tiny_harmonization, **changes})
    run = directory.RunDirectory(tmp_path / "run")
    with run.acquire(inputs.load_inputs(config)):
        pass
    run.check(inputs.load_inputs(config))
    display.save(composite, loading.load(picture)[::-1])
    with pytest.raises(ValueError, match=r"belongs to another picture.*config\.naive"):
        run.check(inputs.load_inputs(config))


def _files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_fine_tuning_goes_on_from_its_source(
    tiny_harmonization, harmonization_run, tmp_path, monkeypatch
):
    config = tiny_harmonization | {"fine_tune": str(harmonization_run), "num_iters": 3}
    config |= {"checkpoint_minutes": 1e-9, "log_every": 1}
    before, source = _files(harmonization_run), consingan_jax.load(harmonization_run)
    tuned = trainer.train(config, str(tmp_path / "run"))
    assert _files(harmonization_run) == before
    assert tuned.finished and tuned.step == 3
    np.testing.assert_array_equal(tuned.noise_amps, source.noise_amps)
    assert all(map(np.array_equal, tiny.z_star(tuned), tiny.z_star(source)))
    change = jax.tree.map(lambda a, b: np.abs(a - b).max(), tuned.params, source.params)
    assert 0 < max(jax.tree.leaves(change)) < 0.01  # three iterations away, not trained anew
    assert {line["stage"] for line in _lines(tmp_path / "run")} == {1}
    with monkeypatch.context() as patch:
        _kill_after(patch, 2)
        with pytest.raises(KilledError):
            trainer.train(config, str(tmp_path / "killed"))
    assert _equal(trainer.train(config, str(tmp_path / "killed")), tuned)


def test_two_processes_do_not_share_a_directory(tiny_config, tmp_path):
    run = directory.RunDirectory(tmp_path / "run")
    todo = inputs.load_inputs(Config.create(**tiny_config))
    with (
        run.acquire(todo),
        pytest.raises(ValueError, match="another process trains in"),
    ):
        trainer.train(tiny_config, str(run.path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_stages": 4}, "config.num_stages=3, not 4"),
        ({"lr_scale": 0.5}, "config.lr_scale=0.1, not 0.5"),
        ({"seed": 1}, "config.seed=0, not 1"),
        ({"channels": 1}, "config.channels=0, not 1"),
    ],
)
def test_another_configuration_in_the_same_directory(changes, message, tiny_config, finished_run):
    with pytest.raises(ValueError, match=message):
        trainer.train(tiny_config | changes, str(finished_run))


def test_only_cadence_may_change(tiny_config, finished_run):
    changes = {"log_every": 7, "sample_every": 9, "checkpoint_minutes": 1.0}
    assert trainer.train(tiny_config | changes, str(finished_run)).finished


def test_another_image_in_the_same_directory(tiny_config, finished_run, tmp_path, picture):
    turned = tmp_path / "turned.png"
    display.save(turned, loading.load(picture)[::-1])
    with pytest.raises(ValueError, match="belongs to another picture"):
        trainer.train(tiny_config | {"image": str(turned)}, str(finished_run))


def test_the_same_image_under_another_name(tiny_config, finished_run, tmp_path, picture):
    copy = shutil.copy(picture, tmp_path / "copy.png")
    assert trainer.train(tiny_config | {"image": str(copy)}, str(finished_run)).finished


def test_a_directory_with_other_files_is_left_alone(tiny_config, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and is not a run"):
        trainer.train(tiny_config, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "no/such.png"}, "no/such.png: no such file"),
        ({"min_size": 200}, "config.min_size=200 is larger than the short side of the top level"),
        (
            {"min_size": 8, "num_layers": 3},
            "level 0 of the pyramid would be 8x11.*patches of 11x11",
        ),
        ({"task": "painting"}, "config.task='painting': give one of generation"),
        ({"activation": "relu"}, "config.activation='relu': give one of leaky_relu"),
        ({"num_iters": 0}, "config.num_iters=0: give 1 or more"),
        ({"lr_critic": float("nan")}, "config.lr_critic=nan: give a finite number"),
        ({"lr_critic": 0}, "config.lr_critic=0.0: give a value above 0"),
        ({"beta1": 1.0}, "config.beta1=1.0: give 0 or more, below 1"),
        ({"channels": 2}, r"config.channels=2: image .* has 3: give that, or 0"),
        ({"background": "whote"}, "background 'whote' is no colour"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(changes, message, tiny_config, tmp_path):
    with pytest.raises(ValueError, match=message):
        trainer.train(tiny_config | changes, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_other_settings_of_jax_change_nothing(tiny_config, finished_run, tmp_path):
    settings = {
        "jax_enable_x64": True,
        "jax_default_prng_impl": "rbg",
        "jax_numpy_dtype_promotion": "strict",
        "jax_threefry_partitionable": False,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        model = trainer.train(tiny_config, tmp_path / "run")
        images = model.sample(seed=3, num_samples=2, width=30)
        film = list(model.animate(5, frames=2))
        assert model.reconstruction_rmse() > 0
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    expected = consingan_jax.load(finished_run)
    assert _equal(model, expected)
    np.testing.assert_array_equal(images, expected.sample(seed=3, num_samples=2, width=30))
    np.testing.assert_array_equal(film, list(expected.animate(5, frames=2)))


def _train_until_killed(monkeypatch, calls, config, run):
    """Leaves a run with a checkpoint of its last call of the loop."""
    with monkeypatch.context() as patch:
        _kill_after(patch, calls)
        with pytest.raises(KilledError):
            trainer.train(config | {"checkpoint_minutes": 1e-9}, run)


def test_a_run_begun_before_a_field_existed_goes_on(
    tiny_config, finished_run, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    _train_until_killed(monkeypatch, 3, tiny_config, run)
    identity = json.loads((run / "run.json").read_text())
    assert identity.pop("format") == 2  # the first versions wrote none
    for field in ("remat", "pyramid_rule"):
        del identity["config"][field]
    (run / "run.json").write_text(json.dumps(identity))
    assert _equal(trainer.train(tiny_config, run), consingan_jax.load(finished_run))


def test_a_run_that_another_jax_began_goes_on_and_says_so(
    tiny_config, finished_run, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(jax, "__version__", "0.10.99")
        _train_until_killed(patch, 5, tiny_config, run)
    finished = trainer.train(tiny_config, run)
    words = f"trained with jax 0.10.99 so far, and with {jax.__version__}"
    assert capsys.readouterr().out.count(words) == 1
    assert _equal(finished, consingan_jax.load(finished_run))


def test_a_run_of_format_1_keeps_its_fixed_input_and_says_so(
    tiny_config, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "run"
    _train_until_killed(monkeypatch, 5, tiny_config, run)
    begun = consingan_jax.load(run)
    assert len(begun.sizes) == 2
    step = checkpoint.latest_step(run / "checkpoints")
    tree, about = checkpoint.load(step), checkpoint.metadata(step)
    tree["model"]["z_star"] = z_star = tiny.z_star(begun)
    shutil.rmtree(step)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 1)
        checkpoint.save(
            step, tree, {k: v for k, v in about.items() if k not in ("format", "noise")}
        )
    finished = trainer.train(tiny_config, run)
    assert "is of format 1: the run keeps its fixed input" in capsys.readouterr().out
    assert [z.shape for z in finished.fixed.stored] == [z.shape for z in z_star]
    now = tiny.z_star(finished)
    assert all(map(np.array_equal, now, z_star)) and len(now) == 3
    assert finished.per_pixel and finished.window(0, 0, 0, 8, 8, canvas=(99, 99)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 9, "config": {}}', "run.json has the format 9, but this version"),
        ('{"config": {"seed"', "run.json is damaged"),
        ("[1]", "run.json is damaged"),
        ('{"config": null}', "run.json is damaged"),
        ('{"format": 3, "settings": {}}', "run.json has the format 3, but this version"),
        ('{"config": {"colour": 1}}', "config.colour: no such field"),
    ],
)
def test_a_run_that_cannot_be_understood_is_left_alone(text, message, tiny_config, tmp_path):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=message):
        trainer.train(tiny_config, tmp_path)
    assert (tmp_path / "run.json").read_text() == text


def test_each_stage_has_its_own_number_of_iterations(tiny_config, tmp_path):
    model = trainer.train(tiny_config | {"num_iters": (3, 2), "num_stages": 2}, tmp_path / "run")
    assert model.finished and model.step == 2
    moments = [(line["stage"], line["step"]) for line in _lines(tmp_path / "run")]
    assert moments == [(0, 2), (0, 3), (1, 2)]
    assert len(consingan_jax.load(tmp_path / "run/model").config.num_iters) == 2


@pytest.mark.parametrize("name", ["[run]", "a\\b*?", 'it\'s # 100% "ü"'])
def test_a_run_in_a_directory_of_any_name(name, tiny_config, tmp_path):
    config = tiny_config | {"num_stages": 1, "num_iters": 1}
    run = tmp_path / name
    model = trainer.train(config, run)
    assert _equal(consingan_jax.load(run), model)
    (run / "model").rename(tmp_path / "elsewhere")
    assert _equal(trainer.train(config, run), model)  # goes on from its last checkpoint
    command = (run / "README.md").read_text().split("consingan sample ", 1)[1].splitlines()[0]
    assert shlex.split(command)[0] == str(run)


def test_a_file_and_fields_or_a_whole_configuration(tiny_config, picture, tmp_path):
    config = tiny_config | {"num_stages": 1, "num_iters": 1}
    fields = {name: value for name, value in config.items() if name != "image"}
    model = trainer.train(picture, tmp_path / "fields", task="generation", **fields)
    whole = trainer.train(Config.create(**config), tmp_path / "whole")
    assert _equal(model, whole) and model.config == whole.config
    with pytest.raises(InputError, match="a whole configuration was given"):
        trainer.train(config, tmp_path / "both", num_iters=2)
    with pytest.raises(InputError, match="image is missing"):
        trainer.train({}, tmp_path / "none")


def test_a_damaged_checkpoint_or_model_is_named(tiny_config, finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    (run / "model/orbax.checkpoint").unlink()
    with pytest.raises(InputError, match="model is not a complete model: delete it"):
        trainer.train(tiny_config, run)
    shutil.rmtree(run / "model")
    newest, before = checkpoint.steps(run / "checkpoints")
    shutil.rmtree(newest / "state")
    with pytest.warns(
        match=f"{newest.name} is a damaged checkpoint: .*taken instead: .*{before.name}"
    ):
        model = trainer.train(tiny_config, run)
    undisturbed = consingan_jax.load(finished_run)
    assert jax.tree.all(jax.tree.map(np.array_equal, model.tree(), undisturbed.tree()))
    shutil.rmtree(run / "model")
    for one in checkpoint.steps(run / "checkpoints"):
        shutil.rmtree(one / "state")
    with pytest.raises(DamagedError, match="stage_2_step_000004 is a damaged checkpoint"):
        trainer.train(tiny_config, run)


def test_a_damaged_model_of_a_finished_run_is_taken_from_its_checkpoint(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(run / "model/state")
    with pytest.warns(match="model is a damaged checkpoint: .*taken instead: the last checkpoint"):
        model = consingan_jax.load(run)
    assert model.finished
    np.testing.assert_array_equal(model.sample(), consingan_jax.load(finished_run).sample())


@pytest.mark.parametrize(
    ("channels", "dtype", "suffix"),
    [(4, np.uint16, ".npy"), (2, np.float32, ".npy"), (5, np.uint8, ".npy")],
)
def test_any_channels_and_depth_come_back(channels, dtype, suffix, tiny_config, tmp_path):
    rng = np.random.default_rng(0)
    values = (rng.uniform(0.2, 0.8, (30, 40, channels)) * 200).astype(dtype)
    np.save(tmp_path / f"scan{suffix}", values)
    changes = {"image": str(tmp_path / f"scan{suffix}"), "num_stages": 1, "value_range": "data"}
    trainer.train(tiny_config | changes, tmp_path / "run")
    model = consingan_jax.load(tmp_path / "run")
    assert model.encoding.low == values.min() and model.encoding.high == values.max()
    (file,) = model.encoding.save(tmp_path / f"out{suffix}", model.sample()[0])
    made = np.load(file)
    assert made.dtype == dtype and made.shape == (21, 28, channels)
    assert values.min() <= made.min() < made.max() <= values.max()


def test_a_run_that_another_process_has_finished_meanwhile(
    tiny_config, finished_run, tmp_path, monkeypatch
):
    config, run = tiny_config | {"num_stages": 1, "num_iters": 1}, tmp_path / "run"
    expected = trainer.train(config, run)
    answers = iter([False])  # before the directory is held; then it is finished
    is_finished = directory.RunDirectory.is_finished
    monkeypatch.setattr(
        directory.RunDirectory, "is_finished", lambda self: next(answers, None) or is_finished(self)
    )
    monkeypatch.setattr(directory.RunDirectory, "check", lambda *_: None)
    monkeypatch.setattr(trainer, "TrainingRun", lambda *_, **__: pytest.fail("trained again"))
    assert _equal(trainer.train(config, run), expected)


def test_an_image_whose_name_is_no_text(tiny_config, picture, tmp_path):
    file = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9.png"))
    shutil.copy(picture, file)
    config = tiny_config | {"num_stages": 1, "num_iters": 1, "image": file}
    run = pathlib.Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff")))
    model = trainer.train(config, run)
    assert _equal(consingan_jax.load(run), model)


def test_a_fine_tuning_has_iterations_for_the_stages_of_its_source(
    tiny_harmonization, harmonization_run
):
    tuning = {**tiny_harmonization, "fine_tune": str(harmonization_run), "num_stages": 6}
    todo = inputs.load_inputs(Config.create(**{**tuning, "num_iters": (3, 4)}))
    assert todo.config.num_stages == 2 and todo.config.stage(1).num_iters == 4
    with pytest.raises(InputError, match="one for each of the 2 stages"):
        inputs.load_inputs(Config.create(**{**tuning, "num_iters": (3, 4, 5)}))
