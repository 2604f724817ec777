"""Runs of the published program, and what is made of them."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest

import consingan_jax
from consingan_jax.cli import import_run
from consingan_jax.data.noise import NoiseSource
from consingan_jax.errors import InputError
from consingan_jax.generation import sampling, torch_import
from tests import tiny

OFFICIAL = "official_checkpoint/colusseum_generation"
SETTINGS = """\
not_cuda\t-\t1
input_name\t-\tImages/heidelberg-bridge.jpg
nfc\t-\t4
num_layer\t-\t1
nc_im\t-\t3
min_size\t-\t14
max_size\t-\t28
train_mode\t-\tgeneration
train_stages\t-\t3
niter\t-\t4
batch_norm\t-\t0
activation\t-\tlrelu
lr_g\t-\t5e-04
noise_amp_init\t-\t0.1
timestamp\t-\t2026_11_23-05-05
"""


class Tensor:
    """As much of PyTorch's as is used."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def detach(self):
        """Returns itself: there is no gradient."""
        return self

    def numpy(self):
        """Returns the array."""
        return self.array

    def __float__(self):
        return float(self.array)


def _as_published(model):
    """Returns what PyTorch would read of a run whose last stage is this model."""
    weights = {}
    for module, conv in [
        ("head.conv", model.params["head"]["conv"]),
        ("tail.0", model.params["tail"]),
        *(
            (f"body.{k}.block0.conv", stage["block0"]["conv"])
            for k, stage in enumerate(model.params["stages"])
        ),
    ]:
        weights[f"{module}.weight"] = Tensor(np.transpose(conv["kernel"], (3, 2, 0, 1)))
        weights[f"{module}.bias"] = Tensor(conv["bias"])
    levels = [np.zeros((1, 3, h, w), np.float32) for h, w in model.sizes[:-1]]
    real = np.transpose(model.real, (0, 3, 1, 2))
    return {
        "netG.pth": weights,
        "reals.pth": [Tensor(level) for level in [*levels, real]],
        "fixed_noise.pth": [Tensor(np.transpose(z, (0, 3, 1, 2))) for z in tiny.z_star(model)],
        "noise_amp.pth": [1, *(Tensor(amp) for amp in model.noise_amps[1:])],
    }


@pytest.fixture
def theirs(finished_run, tmp_path, monkeypatch):
    """A run directory as the published program leaves it, of the model of `finished_run`."""
    files = _as_published(consingan_jax.load(finished_run))
    monkeypatch.setattr(torch_import, "tensors", lambda path: files[path.name])
    for stage in range(3):
        (tmp_path / f"theirs/{stage}").mkdir(parents=True)
        (tmp_path / f"theirs/{stage}/netG.pth").touch()
    (tmp_path / "theirs/parameters.txt").write_text(SETTINGS)
    return tmp_path / "theirs"


def test_a_model_taken_over_is_the_same_model(theirs, finished_run):
    ours = consingan_jax.load(finished_run)
    model, levels = torch_import.load_run(theirs)
    np.testing.assert_allclose(model.reconstruct(), ours.reconstruct(), atol=1e-6)
    assert model.finished and [level.shape[1:3] for level in levels] == list(model.sizes)
    assert model.config.image == "Images/heidelberg-bridge.jpg"  # a dash in a value stays there
    assert (model.config.batch_norm, model.config.lr_generator) == (False, 5e-4)


def test_the_command_makes_a_run(theirs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    import_run.COMMAND.run("consingan import", [str(theirs)])
    assert "consingan sample runs/theirs --num_samples=8" in capsys.readouterr().out
    assert consingan_jax.load("runs/theirs").sample(2).shape == (1, 21, 28, 3)
    assert {"report.html", "run.json", "model"} <= {
        p.name for p in (tmp_path / "runs/theirs").iterdir()
    }
    with pytest.raises(SystemExit):
        import_run.COMMAND.run("consingan import", [str(theirs)])
    assert "theirs exists already: use another --out" in capsys.readouterr().err


def test_what_is_no_run_of_it(theirs, tmp_path):
    with pytest.raises(InputError, match=r"parameters\.txt: No such file.*: give a run of the pub"):
        torch_import.load_run(tmp_path)
    (theirs / "parameters.txt").write_text(SETTINGS + "sharpen\t-\t2\n")
    with pytest.raises(InputError, match="the published setting 'sharpen' has no counterpart"):
        torch_import.load_run(theirs)
    for stage in range(3):
        shutil.rmtree(theirs / str(stage))
    with pytest.raises(InputError, match="has no stage"):
        torch_import.load_run(theirs)


def test_files_need_pytorch(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_import.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs PyTorch to be read: python -m pip install torch"):
        torch_import.tensors(tmp_path / "netG.pth")


def test_the_authors_own_run(golden):
    pytest.importorskip("torch", reason="needs PyTorch")
    path = golden.parent / OFFICIAL
    model, _ = torch_import.load_run(path)
    with np.load(f"{path}_expected.npz") as expected:
        np.testing.assert_allclose(model.reconstruct(), expected["reconstruction"], atol=2e-5)
        noise = tuple(jnp.asarray(expected[f"wide_noise_{k}"]) for k in range(3))
        sizes = tuple(map(tuple, expected["wide_shapes"].tolist()))
        canvas = sampling.TiledRenderer(model.params, model.noise_amps, model.generator, sizes)
        wide = canvas.picture(NoiseSource(None, noise))
        np.testing.assert_allclose(wide, expected["wide_sample"][0], atol=2e-5)
