import shutil

import numpy as np
import pytest

from consingan_jax import checkpoint
from consingan_jax.config import Config
from consingan_jax.images import display
from consingan_jax.runs import inputs


@pytest.fixture(scope="module")
def fine_tuning(tiny_harmonization, harmonization_run) -> dict:
    return tiny_harmonization | {"fine_tune": str(harmonization_run)}


def test_a_fine_tuning_takes_the_model_from_its_source(fine_tuning, harmonization_run):
    changes = {"num_filters": 64, "max_size": 99, "image": "other.png", "num_iters": 7}
    todo = inputs.load_inputs(Config.create(**{**fine_tuning, **changes}))
    assert todo.config.num_filters == 4 and todo.config.num_iters == 7
    assert [level.shape[1:3] for level in todo.levels] == [(14, 19), (21, 28)]
    assert todo.source == checkpoint.latest_step(harmonization_run / "checkpoints")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"naive": ""}, "config.naive is missing: the composite to fine-tune on"),
        ({"naive": "no/such.png"}, "config.naive: image no/such.png: no such file"),
        ({"fine_tune": "no/such"}, "config.fine_tune=no/such is not a run"),
        ({"task": "editing"}, "is a run of the task harmonization, not editing"),
        ({"task": "generation"}, "the task generation takes no composite; harmonization"),
    ],
)
def test_what_cannot_be_fine_tuned(changes, message, fine_tuning):
    with pytest.raises(ValueError, match=message):
        inputs.load_inputs(Config.create(**{**fine_tuning, **changes}))


def test_a_composite_to_fine_tune_on_has_the_images_aspect_ratio(fine_tuning, tmp_path):
    display.save(tmp_path / "square.png", np.zeros((30, 30, 3)))
    with pytest.raises(ValueError, match=r"square.png has 30x30 px.*aspect ratio"):
        inputs.load_inputs(Config.create(**{**fine_tuning, "naive": str(tmp_path / "square.png")}))


def test_a_half_trained_run_is_no_start(fine_tuning, harmonization_run, tmp_path):
    path = checkpoint.latest_step(harmonization_run / "checkpoints")
    metadata, tree = checkpoint.metadata(path), checkpoint.load(path)
    half = tmp_path / "half"
    checkpoint.save(half / "checkpoints" / path.name, tree, metadata | {"step": 1})
    shutil.copy(harmonization_run / "run.json", half)
    with pytest.raises(ValueError, match=r"iteration 1 of 2: train it to its end"):
        inputs.load_inputs(Config.create(**{**fine_tuning, "fine_tune": str(half)}))
