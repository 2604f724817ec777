"""Several models in one program: who goes together, and that each is as if it were alone."""

import dataclasses
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import consingan_jax
from consingan_jax import checkpoint, device, numerics
from consingan_jax.config import Config
from consingan_jax.errors import DivergedError, InputError, StoppedError
from consingan_jax.generation.architecture import architecture
from consingan_jax.images import display, loading
from consingan_jax.sweeps import grouping
from consingan_jax.sweeps.sweep import Sweep
from consingan_jax.training import compiler, placement, trainer
from consingan_jax.training.run import TrainingRun
from consingan_jax.training.step import StageStep
from tests import tiny

SMALL = tiny.CONFIG | {"num_stages": 2, "num_iters": 3, "log_every": 1}


@pytest.fixture
def seeds(picture):
    """Three runs of one image."""
    return [Config.create(**SMALL, image=str(picture), seed=seed) for seed in range(3)]


@pytest.fixture
def users_fusion(monkeypatch):
    """Fuses as a user's programs do: a model's numbers are the same, bit for bit, in a loop."""
    monkeypatch.setitem(numerics.CPU_OPTIONS, "xla_cpu_use_fusion_emitters", True)


def _equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one.tree(), other.tree())


def test_those_of_one_shape_go_together(seeds, tmp_path, monkeypatch):
    wide = loading.load(seeds[0].image)[:20]
    display.save(tmp_path / "wide.png", wide)
    (tmp_path / "broken.png").write_text("no picture")
    others = [
        dataclasses.replace(seeds[0], image=str(tmp_path / name))
        for name in ("wide.png", "broken.png")
    ]
    configs, here = [seeds[0], *others, *seeds[1:]], jax.devices()
    monkeypatch.setattr(device, "memory_limit", lambda: None)
    assert list(grouping.group_runs(configs, 2, here)) == [[0, 3], [4], [1], [2]]
    assert list(grouping.group_runs(configs, 8, None)) == [[0, 3, 4], [1], [2]]
    for stack, there in ((1, here), (0, here), (0, None)):  # a CPU's one device takes one each
        assert list(grouping.group_runs(configs, stack, there)) == [[0], [1], [2], [3], [4]]


def test_masks_of_their_own_keep_none_apart(seeds, tmp_path):
    masks = np.where(np.arange(40) < 20, -1.0, 1.0) * np.ones((30, 1))
    configs = []
    for number, mask in enumerate((masks, -masks)):
        path = tmp_path / f"{number}.png"
        display.save(path, mask[..., None])
        configs.append(dataclasses.replace(seeds[number], mask=str(path)))
    assert list(grouping.group_runs(configs, 2, None)) == [[0, 1]]


def test_as_many_as_a_gpu_holds(seeds, monkeypatch):
    monkeypatch.setattr(grouping, "_is_cpu", lambda _: False)
    monkeypatch.setattr(compiler, "memory", lambda *_: 100)
    monkeypatch.setattr(device, "memory_limit", lambda: 250)
    assert list(grouping.group_runs(seeds, 0, jax.devices())) == [[0, 1], [2]]
    monkeypatch.setattr(device, "memory_limit", lambda: None)
    assert list(grouping.group_runs(seeds, 0, jax.devices())) == [[0, 1, 2]]


def test_a_stack_that_cannot_fit_is_one_line(seeds, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "memory_limit", lambda: 2**12)
    many = Sweep(seeds[0], tmp_path / "set", seeds=3)
    message = (
        r"stack=3: 3 models of 21x28 px need .* GiB, but only 0.0 GiB are available: give 1 or"
    )
    with pytest.raises(InputError, match=message):
        many.train(stack=8)
    assert len(many.left()) == 3
    with pytest.raises(InputError, match="stack=-1: give 1 or more"):
        many.train(stack=-1)
    with pytest.raises(InputError, match="devices=99: only 1 available: give 1, or 0"):
        many.train(devices=99)


@pytest.mark.usefixtures("users_fusion")
def test_each_is_as_if_it_were_alone_also_where_others_fail(seeds, tmp_path, monkeypatch):
    (tmp_path / "broken.png").write_text("no picture")
    broken = dataclasses.replace(seeds[0], image=str(tmp_path / "broken.png"))
    take, seen = TrainingRun.record, []

    def taken(self, count, values, state_now):
        seen.append((self.directory.path.name, self.stage.number, count))
        if self.directory.path.name == "1" and self.stage.done == 1:
            values["finite"] = 0.0
        take(self, count, values, state_now)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "record", taken)
        configs = [*seeds, broken]
        results = trainer.train_together(configs, [tmp_path / str(i) for i in range(4)])
    assert isinstance(results[1], DivergedError) and "stage 0, iteration 2" in str(results[1])
    assert isinstance(results[3], InputError) and not (tmp_path / "3").exists()
    calls = {name: [moment[1:] for moment in seen if moment[0] == name] for name in "012"}
    assert calls["0"] == calls["2"] == [(0, 1)] * 3 + [(1, 1)] * 3 and len(calls["1"]) == 2
    for i in (0, 2):
        _equal(trainer.train(seeds[i], tmp_path / f"alone{i}"), results[i])
        _equal(consingan_jax.load(tmp_path / str(i)), results[i])
        lines = (tmp_path / str(i) / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 6
    # The one that failed goes on alone from where it was.
    _equal(trainer.train(seeds[1], tmp_path / "1"), trainer.train(seeds[1], tmp_path / "alone1"))


def test_a_run_that_diverges_may_try_again_after_the_others(seeds, tmp_path, monkeypatch):
    take = TrainingRun.record

    def taken(self, count, values, state_now):
        if self.directory.path.name == "1" and not self.stage.retries:
            values["finite"] = 0.0
        take(self, count, values, state_now)

    monkeypatch.setattr(TrainingRun, "record", taken)
    configs = [dataclasses.replace(seed, on_divergence="retry") for seed in seeds[:2]]
    first, second = trainer.train_together(configs, [tmp_path / "0", tmp_path / "1"])
    assert first.finished and second.finished
    assert second.config.lr_critic == first.config.lr_critic / 2


@pytest.mark.usefixtures("users_fusion")
def test_a_stack_is_stopped_and_goes_on_in_others(seeds, tmp_path):
    runs = [tmp_path / str(i) for i in range(3)]
    alone = [trainer.train(seed, tmp_path / f"alone{i}") for i, seed in enumerate(seeds)]
    with pytest.raises(StoppedError):  # in the middle of a stage
        trainer.train_together(seeds[:2], runs[:2], watcher=lambda moment: moment.step == 2)
    states = [consingan_jax.load(run) for run in runs[:2]]
    assert [state.step for state in states] == [2, 2]
    with pytest.raises(StoppedError):  # one by one, and further
        trainer.train(seeds[1], runs[1], watcher=lambda m: (m.stage, m.step) == (1, 1))
    results = trainer.train_together(seeds, runs)  # at three moments: all catch up
    for one, other in zip(alone, results, strict=True):
        _equal(one, other)


def test_mapped_over_models_as_on_a_gpu(picture, key):
    config = Config.create(**SMALL, image=str(picture))
    program = StageStep(config, architecture(config, channels=3), ((12, 16), (15, 20)))
    keys = [jax.random.fold_in(key, number) for number in range(3)]
    state, data = jax.jit(lambda: compiler.placeholders(program))()
    three = placement.placement_for(3, 1, jax.devices())
    placed = three.place([(state, data, each) for each in keys])
    mapped = jax.jit(placement._several(program.run, "gpu"))
    together, _ = mapped(*placed, three.counts([2, 0, 1]))
    run = jax.jit(program.run)
    for i, count in enumerate([2, 0, 1]):
        alone, _ = run(state, data, keys[i], np.int32(count))
        mine = three.of(together, i)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), alone, mine)


@pytest.mark.parametrize(
    ("num_runs", "num_windows", "devices", "expected"),
    [
        (1, 1, "ab", ((),)),
        (1, 6, "abcd", (("a", "b", "c"),)),
        (1, 8, "a", ((),)),
        (2, 8, "abc", (("a",), ("b",))),
        (7, 1, "abc", (("a",), ("b",), ("c",))),
        (4, 1, "abc", (("a",), ("b",))),
    ],
)
def test_placements(num_runs, num_windows, devices, expected):
    found = placement.placement_for(num_runs, num_windows, devices)
    assert found == placement.Placement(num_runs, expected)
    rows, each = len(found.devices), found.runs_per_device
    assert (rows - 1) * each < num_runs <= rows * each


def test_on_several_devices_it_comes_out_the_same():
    command = [sys.executable, "-m", "tests.devices", "--devices=2", "--num_iters=5"]
    command += ["--max_size=60", "--num_filters=8", "--before=1", "--num_layers=1"]
    command += ["--num_stages=2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("apart:") == 3 and "{'all-reduce': 2}" in result.stdout


def test_a_stop_after_one_has_diverged_keeps_the_others_and_nothing_broken(
    seeds, tmp_path, monkeypatch
):
    take = TrainingRun.record

    def taken(self, count, values, state_now):
        if self.directory.path.name == "1" and self.stage.done == 1:
            values["finite"] = 0.0
        take(self, count, values, state_now)

    monkeypatch.setattr(TrainingRun, "record", taken)
    runs = [tmp_path / str(i) for i in range(3)]
    with pytest.raises(StoppedError):
        trainer.train_together(
            [dataclasses.replace(seed, checkpoint_minutes=60.0) for seed in seeds],
            runs,
            watcher=lambda moment: moment.step == 3,
        )
    assert [consingan_jax.load(run).step for run in (runs[0], runs[2])] == [3, 3]
    assert checkpoint.latest_step(runs[1] / "checkpoints") is None


def test_one_whose_model_cannot_be_read_is_one_line(seeds, tmp_path, monkeypatch):
    runs = [tmp_path / "0", tmp_path / "1"]
    trainer.train(seeds[0], runs[0])
    shutil.rmtree(runs[0] / "checkpoints")
    shutil.rmtree(runs[0] / "model" / "state")
    first, second = trainer.train_together(seeds[:2], runs)
    assert isinstance(first, InputError) and second.finished
