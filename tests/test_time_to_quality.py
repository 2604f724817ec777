"""What is pure in the benchmark: which runs are of which image, seconds added up, the table."""

import dataclasses
import json
import struct

import jax
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from benchmarks import curves, time_to_quality
from consingan_jax.config import Config
from consingan_jax.generation import restore
from consingan_jax.measures import evaluation
from consingan_jax.measures.metrics import Estimate
from consingan_jax.measures.sample_sets import SampleSet
from consingan_jax.training import trainer


def _events(*times):
    """Returns a file of TensorBoard's, with checksums that nobody reads."""
    whole = b""
    for time in times:
        event = event_pb2.Event(wall_time=time, step=1).SerializeToString()
        whole += struct.pack("<Q", len(event)) + b"head" + event + b"tail"
    return whole


def test_a_pause_between_two_processes_does_not_count(tmp_path):
    assert curves.training_seconds(tmp_path) is None
    (tmp_path / "tensorboard").mkdir()
    files = {"events.1": _events(100, 130, 160), "events.2": _events(5000, 5007), "events.3": b""}
    for name, data in files.items():
        (tmp_path / "tensorboard" / name).write_bytes(data)
    assert curves.training_seconds(tmp_path) == 60 + 7


def test_an_event_that_a_kill_cut_off_is_left_out():
    whole = _events(1.0, 2.0)
    assert list(curves.event_times(whole)) == [1, 2]
    assert list(curves.event_times(whole[:-1])) == [1]
    assert list(curves.event_times(whole + b"123")) == [1, 2]


def test_the_seconds_of_a_run(finished_run):
    """The tiny run takes more than nothing, and less than the suite may."""
    assert 0 < curves.training_seconds(finished_run) < 300


def test_the_published_way_is_measured_once(tmp_path, monkeypatch):
    calls = []

    def measured(size):
        calls.append(size)
        return [0.5, 1, 1, 1, 1, 2]

    monkeypatch.setattr(time_to_quality, "measured", measured)
    monkeypatch.setattr(time_to_quality.importlib.util, "find_spec", lambda name: name)
    kept = tmp_path / "baseline.json"
    seconds = [time_to_quality.published_seconds((30, 40), kept) for _ in range(2)]
    assert seconds == [2000 * 6.5] * 2 and calls == [(30, 40)]
    (name,) = json.loads(kept.read_text())
    assert name.startswith("30x40, device: ")


def test_without_pytorch_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(time_to_quality.importlib.util, "find_spec", lambda name: None)
    assert time_to_quality.published_seconds((30, 40), tmp_path / "baseline.json") is None
    assert "give --baseline_seconds" in capsys.readouterr().out


@pytest.fixture
def published(tmp_path):
    """A folder like that of the paper's images, without pictures in it."""
    for name in ("lsun/Real/40.jpg", "places/Real/2.jpg"):
        (tmp_path / "paper" / name).parent.mkdir(parents=True)
        (tmp_path / "paper" / name).touch()
    return tmp_path / "paper"


def _run(path, image):
    (path / "model").mkdir(parents=True)
    (path / "model/orbax.checkpoint").touch()
    (path / "run.json").write_text(json.dumps({"config": {"image": str(image)}}))
    return path


def test_runs_belong_to_images(tmp_path, published):
    runs = [_run(tmp_path / f"runs/{i}", published / "lsun/Real/40.jpg") for i in range(2)]
    other = _run(tmp_path / "other", published / "places/Real/2.jpg")
    found = time_to_quality.by_image([f"{tmp_path}/runs/*", str(other)], published)
    assert found == {"lsun/40": runs, "places/2": [other]}
    with pytest.raises(SystemExit, match="no run is there"):
        time_to_quality.by_image([f"{tmp_path}/none*"], published)
    stranger = _run(tmp_path / "stranger", tmp_path / "photo.jpg")
    with pytest.raises(SystemExit, match=r"stranger is of .*photo.jpg, which is none of"):
        time_to_quality.by_image([str(stranger)], published)
    (stranger / "model/orbax.checkpoint").unlink()
    with pytest.raises(SystemExit, match="stranger is no finished run"):
        time_to_quality.by_image([str(stranger)], published)


def test_the_table():
    nothing = dict.fromkeys(evaluation.COLUMNS)
    rows = {
        "published": nothing | {"vgg_sifd": Estimate(0.5, None, 1)},
        "run": nothing
        | {"vgg_sifd": Estimate(0.25, 0.01, 10), "reconstruction_rmse": Estimate(0.1, None, 1)},
        "cut": nothing,
    }
    text = time_to_quality.table(rows, {"published": 900.0, "run": 300.0, "cut": None})
    heading, _, *lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    assert heading[0] == "VGG-SIFD" and heading[-2:] == ["seconds", "ratio"]
    assert [line[:2] for line in lines] == [
        ["published", "0.500±-"],
        ["run", "0.250±0.010"],
        ["cut", "n/a"],
    ]
    assert [line[-3:] for line in lines] == [
        ["n/a", "900", "1.00"],
        ["0.100", "300", "3.00"],
        ["n/a", "n/a", "n/a"],
    ]


def test_the_sheet_is_a_row_for_each():
    picture = np.zeros((4, 6, 3), np.float32)
    few, many = SampleSet("a", picture, [picture]), SampleSet("a", picture, [picture] * 3)
    sheet = time_to_quality.sheet([few, many])
    assert sheet.shape == (2 * 4 + 2, 4 * 6 + 3 * 2, 3)
    assert (sheet[:4, 16:] == 1).all() and (sheet[6:, 16:22] == 0).all()


def test_a_way_is_a_variant_with_changes():
    assert curves.config_of("paper", "a.png") == Config(image="a.png")
    changed = curves.config_of("fast,num_iters=900;700,loss=relativistic", "a.png")
    fast = Config.create(variant="fast", image="a.png")
    assert changed == dataclasses.replace(fast, num_iters=(900, 700), loss="relativistic")


def test_a_run_is_measured_at_the_end_of_its_stages_and_goes_on(tiny_config, tmp_path):
    config, run = Config(**tiny_config), tmp_path / "run"
    measured = []

    def measure(model):
        measured.append((len(model.sizes) - 1, model.step))
        return {"swd_1": 0.5}

    lines = curves.follow(config, run, measure, every=0.0)
    moments = [(line["stage"], line["step"]) for line in lines]
    assert moments == measured == sorted(set(moments))
    assert (0, 4) in moments and (1, 4) in moments and moments[-1] == (2, 4)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] > 0
    assert curves.follow(config, run, lambda _: {}, every=0.0) == lines  # nothing is left to do
    whole = trainer.train(config, tmp_path / "whole")
    assert jax.tree.all(jax.tree.map(np.array_equal, restore.load(run).params, whole.params))


def test_a_run_goes_on_from_a_stage_of_another(tiny_config, tmp_path):
    config = Config(**tiny_config)
    lines = curves.follow(config, tmp_path / "below", lambda _: {}, every=9e9, last=0)
    assert [(line["stage"], line["step"]) for line in lines] == [(0, 4)]
    start = tmp_path / "below/checkpoints/stage_0_step_000004"
    other = dataclasses.replace(config, d_steps=(3, 1, 1))
    curves.follow(other, tmp_path / "run", lambda _: {}, every=9e9, start=start, last=1)
    model, whole = restore.load(tmp_path / "run"), trainer.train(other, tmp_path / "whole")
    assert len(model.sizes) == 2 and model.step == 4
    first = [one.params["head"] for one in (restore.load(tmp_path / "below"), model)]
    assert not jax.tree.all(jax.tree.map(np.array_equal, *first))  # it trains on with stage 1
    curves.follow(other, tmp_path / "run", lambda _: {}, every=9e9, start=start)
    run = restore.load(tmp_path / "run")
    assert jax.tree.all(jax.tree.map(np.array_equal, run.params, whole.params))
