import jax
import numpy as np
import optax
import pytest

from consingan_jax import checkpoint


@pytest.fixture
def tree():
    params = {"stages": [{"w": np.ones((2, 3), np.float32)}, {"w": np.zeros(4, np.float32)}]}
    optimizer = optax.multi_transform(
        {"a": optax.adam(1e-3), "b": optax.set_to_zero()}, {"stages": ["a", "b"]}
    )
    return {"params": params, "opt": optimizer.init(params), "step": np.int32(3) * np.ones((), int)}


def test_round_trip_keeps_containers_and_values(tree, tmp_path):
    checkpoint.save(tmp_path / "one", tree, {"sizes": [[1, 2]], "name": "x"})
    back = checkpoint.load(tmp_path / "one", tree)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    assert jax.tree.all(jax.tree.map(np.array_equal, back, tree))
    assert checkpoint.metadata(tmp_path / "one") == {"sizes": [[1, 2]], "name": "x"}


def test_lists_come_back_as_lists_without_a_template(tree, tmp_path):
    checkpoint.save(tmp_path / "one", {"params": tree["params"]}, {})
    back = checkpoint.load(tmp_path / "one")
    assert isinstance(back["params"]["stages"], list)
    assert isinstance(back["params"]["stages"][0]["w"], np.ndarray)


def test_a_newer_step_replaces_the_older_ones(tree, tmp_path):
    assert checkpoint.latest_step(tmp_path) is None
    checkpoint.save_step(tmp_path, tree, {}, stage=0, step=900)
    checkpoint.save_step(tmp_path, tree, {}, stage=1, step=20)
    assert [path.name for path in tmp_path.iterdir()] == ["stage_1_step_000020"]
    assert checkpoint.latest_step(tmp_path) == tmp_path / "stage_1_step_000020"


def test_foreign_files_beside_the_checkpoints_stay(tree, tmp_path):
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "generated").mkdir()
    (tmp_path / "stage_0_step_000001.orbax-checkpoint-tmp").mkdir()
    checkpoint.save_step(tmp_path, tree, {}, stage=1, step=20)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".DS_Store", "generated", "stage_1_step_000020"}


def test_a_checkpoint_that_was_cut_off_is_not_taken(tree, tmp_path):
    checkpoint.save_step(tmp_path, tree, {}, stage=1, step=20)
    (tmp_path / "stage_1_step_000040.orbax-checkpoint-tmp").mkdir()
    assert checkpoint.latest_step(tmp_path) == tmp_path / "stage_1_step_000020"


def test_the_last_of_two_complete_steps_is_taken(tree, tmp_path):
    for step in (20, 100):
        checkpoint.save(tmp_path / f"stage_1_step_{step:06d}", tree, {})
    checkpoint.save(tmp_path / "stage_0_step_000900", tree, {})
    assert checkpoint.latest_step(tmp_path) == tmp_path / "stage_1_step_000100"
