"""The quick recordings; `python -m tests.parity ../shared/golden/*` replays all of them."""

import json

import numpy as np
import pytest

from tests import parity

QUICK = [
    "pyramid_sweep.json",
    "pyramid_shapes.json",
    "pyramid_6.npz",
    "upsample.npz",
    "generator_generation_lrelu.npz",
    "generator_harmonization_lrelu_bn.npz",
]


@pytest.mark.parametrize("name", QUICK)
def test_quick_recordings(name, golden):
    checks = parity.replay(golden / name)
    assert checks and [check for check in checks if not check.ok] == []


@pytest.mark.parametrize(
    ("name", "stage"),
    [("trajectory_generation", 3), ("trajectory_batch_norm", 0), ("trajectory_harmonization", 1)],
)
def test_stages_of_trajectories(name, stage, golden):
    with np.load(golden / f"{name}.npz") as file:
        checks = parity.replay_trajectory(dict(file), stages=[stage])
        assert [check for check in checks if not check.ok] == []


def test_a_wrong_recording_fails(tmp_path, capsys):
    case = {"height": 188, "width": 250, "stages": 3, "mode": "generation"}
    case |= {"min_size": 25, "max_size": 250, "levels": [[25, 34], [69, 92], [188, 251]]}
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps([case]))
    assert parity.main([str(path)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_nan_is_not_within_the_limit():
    assert not parity.Check("x", float("nan"), 1.0).ok


def test_an_unknown_file_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", y=1)
    with pytest.raises(ValueError, match=r"x\.npz is no recording"):
        parity.replay(tmp_path / "x.npz")


@pytest.mark.parametrize(("name", "stage"), [("generation", 4), ("retarget", 1)])
def test_the_benchmarks_baseline_is_the_published_program(name, stage, golden):
    """What `benchmarks.train_step` measures against makes the recorded steps."""
    pytest.importorskip("torch")
    from benchmarks import torch_baseline

    with np.load(golden / f"trajectory_{name}.npz") as file:
        data = dict(file)
    config = parity.read_config(json.loads(str(data["config"])))
    prefix = f"stage{stage}/"
    reals = [data[f"real_{i}"] for i in range(stage + 1)]
    baseline = torch_baseline.Baseline(
        config,
        [real.shape[1:3] for real in reals],
        parity.read_params(data, f"{prefix}init/G/"),
        parity.read_params(data, f"{prefix}init/D/"),
        reals[-1],
        [data[f"stage{k}/fixed_noise"] for k in range(stage + 1)],
        [data[f"stage{k}/noise_amp"] for k in range(stage + 1)],
    )
    for t, penalties in enumerate(data[prefix + "gradient_penalty"]):
        z = [data[f"{prefix}iter{t}/noise_{i}"] for i in range(stage + 1)]
        mixes = data[prefix + "gp_alphas"][t].tolist()
        ours = baseline.iterate([torch_baseline.to_torch(one) for one in z], mixes)
        np.testing.assert_allclose(ours, penalties, rtol=1e-3)
    final = parity.read_params(data, f"{prefix}final/G/")
    now = torch_baseline.params_to_numpy(baseline.generator)
    np.testing.assert_allclose(
        now["stages"][stage]["block1"]["conv"]["kernel"],
        final["stages"][stage]["block1"]["conv"]["kernel"],
        atol=1e-5,
    )
