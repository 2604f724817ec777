"""Models as programs of their own."""

import jax.export
import numpy as np
import pytest

import consingan_jax
from consingan_jax.cli import export as command
from consingan_jax.errors import InputError
from consingan_jax.generation import export

pytest.importorskip("flatbuffers", reason="needs the extra export")


def test_a_program_makes_the_samples_of_its_seeds(finished_run):
    model = consingan_jax.load(finished_run)
    program = jax.export.deserialize(export.sampler(model, width=40))
    assert program.platforms == export.PLATFORMS
    made = np.stack([program.call(np.uint32(seed)) for seed in (0, 2**32 - 1)])
    assert made.shape == (2, 21, 40, 3)
    for seed, image in zip((0, 2**32 - 1), made, strict=True):
        np.testing.assert_allclose(image, model.sample(seed, width=40)[0], atol=1e-5)


def test_what_cannot_be_exported(finished_run, harmonization_run, monkeypatch):
    with pytest.raises(InputError, match="the task harmonization takes composites"):
        export.sampler(consingan_jax.load(harmonization_run))
    model = consingan_jax.load(finished_run)
    with pytest.raises(InputError, match="an image of 9000x9000 px is too large for an export"):
        export.sampler(model, height=9000, width=9000)
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="an export needs flatbuffers: python -m pip install"):
        export.sampler(model)


def test_the_command_leaves_all_that_a_hub_wants(finished_run, tmp_path, capsys):
    out = tmp_path / "out"
    command.COMMAND.run("consingan export", [str(finished_run), "--width=2x", f"--out={out}"])
    assert f"{out}: images of 21x56 px" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {
        *("README.md", "model", "sampler.jax_export", "samples.png"),
    }
    card = (out / "README.md").read_text()
    assert f"written by jax {jax.__version__}. Later versions of jax read such a file" in card
    assert (
        card.startswith("---\nlibrary_name: consingan_jax\n") and "# [21, 56, 3], float32" in card
    )
    np.testing.assert_array_equal(
        consingan_jax.load(out / "model").sample(1), consingan_jax.load(finished_run).sample(1)
    )
    with pytest.raises(SystemExit):
        command.COMMAND.run("consingan export", [str(finished_run), f"--out={out}"])
    assert "exists already: use another" in capsys.readouterr().err
