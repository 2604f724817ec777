"""Recordings of the published program: those that come with this project, replayed as a user's
programs compute; those beside the checkout, where they are at hand, are the command's alone:
`python -m tests.parity ../shared/golden/*`."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from consingan_jax.errors import InputError
from tests import parity

RECORDINGS = sorted((pathlib.Path(__file__).parent / "recordings").glob("*.npz"))


FORWARD = [path for path in RECORDINGS if not path.stem.startswith("trajectory")]


# `.ci/run` replays whole trainings on a GPU's way too, in double precision.
@pytest.mark.parametrize(
    ("options", "recordings", "checks"),
    [([], RECORDINGS, 39), (["--native"], FORWARD, 15)],
    ids=["cpu", "native"],
)
def test_the_recordings(options, recordings, checks):
    """Fully optimised, in a process of its own; `--native` takes a GPU's way through the code."""
    assert len(RECORDINGS) == 5
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-m", "tests.parity", *options, *map(str, recordings)]
    root = pathlib.Path(__file__).parent.parent
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=root, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all within the limits" in result.stdout
    assert result.stdout.count("  ok  ") == checks and "FAIL" not in result.stdout


@pytest.mark.parametrize("name", ["pyramid_sweep.json", "pyramid_shapes.json", "pyramid_6.npz"])
def test_pyramids(name, golden):
    checks = parity.replay(golden / name)
    assert checks and [check for check in checks if not check.ok] == []


def test_a_wrong_recording_fails(tmp_path, capsys):
    case = {"height": 188, "width": 250, "stages": 3, "mode": "generation"}
    case |= {"min_size": 25, "max_size": 250, "levels": [[25, 34], [69, 92], [188, 251]]}
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps([case]))
    assert parity.main([str(path)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_double_precision_is_that_and_ends(capsys):
    """A replay leaves the precision of the next one as it was."""
    recording = str(next(path for path in RECORDINGS if path.stem == "upsample"))
    printed = []
    for way in ([], ["--double"], []):
        assert parity.main([*way, recording]) == 0
        printed.append(capsys.readouterr().out)
    before, double, after = printed
    assert before == after != double


def test_two_ways_at_once_are_refused(capsys):
    assert parity.main(["--native", "--double", str(RECORDINGS[0])]) == 2
    assert parity.main(["--either", str(RECORDINGS[0])]) == 2
    assert "[--native | --double]" in capsys.readouterr().out


def test_a_nan_is_not_within_the_limit():
    assert not parity.Check("x", float("nan"), 1.0).ok


def test_an_unknown_file_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", y=1)
    with pytest.raises(InputError, match=r"x\.npz is no recording"):
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
