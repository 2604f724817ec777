import errno
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
import tensorstore

from consingan_jax import checkpoint
from consingan_jax.errors import DamagedError, InputError


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
    assert checkpoint.metadata(tmp_path / "one") == {"format": 2, "sizes": [[1, 2]], "name": "x"}


def test_lists_come_back_as_lists_without_a_template(tree, tmp_path):
    checkpoint.save(tmp_path / "one", {"params": tree["params"]}, {})
    back = checkpoint.load(tmp_path / "one")
    assert isinstance(back["params"]["stages"], list)
    assert isinstance(back["params"]["stages"][0]["w"], np.ndarray)


def test_the_last_two_steps_are_kept(tree, tmp_path):
    assert checkpoint.latest_step(tmp_path) is None
    for stage, step in ((0, 40), (0, 900), (1, 20)):
        checkpoint.save_step(tmp_path, tree, {}, stage=stage, step=step)
    kept = [tmp_path / name for name in ("stage_1_step_000020", "stage_0_step_000900")]
    assert set(tmp_path.iterdir()) == set(kept) and checkpoint.steps(tmp_path) == kept
    assert checkpoint.latest_step(tmp_path) == kept[0]


def test_a_checkpoint_that_asks_for_more_than_it_holds_is_not_read(tree, tmp_path):
    checkpoint.save(tmp_path / "one", tree, {})
    store = {"driver": "ocdbt", "base": f"file://{tmp_path}/one/state/"}
    store = tensorstore.KvStore.open(store).result()
    name = next(key for key in store.list().result() if key.endswith(b"w/zarr.json"))
    about = json.loads(store.read(name).result().value)
    store.write(name, json.dumps(about | {"shape": [10**6, 10**6]})).result()
    with pytest.raises(DamagedError, match=r"bytes ask for arrays of 4,000,000,000,0.."):
        checkpoint.load(tmp_path / "one")


def test_a_checkpoint_is_read_from_its_own_directory_alone(tree, tmp_path):
    checkpoint.save(tmp_path / "one", tree, {})
    (tmp_path / "same").symlink_to(tmp_path / "one")
    checkpoint.load(tmp_path / "same")
    file = tmp_path / "one/state/manifest.ocdbt"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    for path in ("one", "same"):
        with pytest.raises(DamagedError, match=r"manifest.ocdbt is a link out of it: replace"):
            checkpoint.load(tmp_path / path)


def _damage(path):
    """Takes the arrays of a checkpoint away."""
    shutil.rmtree(path / "state")


# In a process: where Orbax fails, it leaves tasks that warn when they are collected.
FLIPPED = """
import pathlib, sys
import jax
import numpy as np
from consingan_jax import checkpoint
from consingan_jax.errors import InputError

path = pathlib.Path(sys.argv[1])
tree = {"a": np.random.default_rng(0).standard_normal((50, 7), np.float32), "b": [np.ones(3)]}
checkpoint.save(path, tree, {"seed": 3})
about, refused, silent = checkpoint.metadata(path), 0, []
for file in [file for file in path.rglob("*") if file.is_file()]:
    content = file.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 12)):
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        try:
            back = checkpoint.load(path)
        except InputError:
            refused += 1
            continue
        same = jax.tree.all(jax.tree.map(np.array_equal, back, tree))
        if not same or checkpoint.metadata(path) != about:
            silent.append((file.name, place))
    file.write_bytes(content)
checkpoint.load(path)
print(refused, silent)
"""


def test_no_changed_byte_is_read(tmp_path):
    command = [sys.executable, "-c", FLIPPED, str(tmp_path / "one")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    refused, silent = result.stdout.split(maxsplit=1)
    assert int(refused) > 20 and silent.strip() == "[]"


def test_what_was_not_checked_by_an_earlier_version_is_read(tree, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_DIGEST", "none")
        checkpoint.save(tmp_path / "one", {"a": np.ones(3)}, {})
    np.testing.assert_array_equal(checkpoint.load(tmp_path / "one")["a"], np.ones(3))


def test_a_damaged_step_is_passed_over_and_replaced(tree, tmp_path):
    for step in (1, 2):
        checkpoint.save_step(tmp_path, {"a": np.full(500, step)}, {}, stage=0, step=step)
    one, two = (tmp_path / f"stage_0_step_00000{step}" for step in (1, 2))
    _damage(two)
    with pytest.warns(match=f"{two} is a damaged checkpoint: .*; taken instead: {one}"):
        assert checkpoint.read_latest(tmp_path, checkpoint.load)["a"][0] == 1
    checkpoint.save_step(tmp_path, {"a": np.full(500, 7)}, {}, stage=0, step=2)
    assert checkpoint.read_latest(tmp_path, checkpoint.load)["a"][0] == 7
    assert checkpoint.steps(tmp_path) == [two, one]
    for path in (one, two):
        _damage(path)
    with pytest.raises(DamagedError, match="step_000002 is a damaged"):
        checkpoint.read_latest(tmp_path, checkpoint.load)
    assert checkpoint.read_latest(tmp_path / "nothing", checkpoint.load) is None


def test_a_damaged_later_step_goes_when_the_run_comes_by(tree, tmp_path):
    for step in (1, 5, 7):
        checkpoint.save(tmp_path / f"stage_0_step_{step:06d}", {"a": np.ones(500)}, {})
    checkpoint.save_step(tmp_path, {"a": np.ones(500)}, {}, stage=0, step=3)
    assert [path.name[-1] for path in checkpoint.steps(tmp_path)] == ["3", "1"]


def test_what_cannot_be_read_back_takes_nothing_away(tree, tmp_path, monkeypatch):
    checkpoint.save_step(tmp_path, tree, {}, stage=0, step=1)
    whole = checkpoint.save

    def save(path, *arguments):
        whole(path, *arguments)
        _damage(path)

    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(DamagedError):
        checkpoint.save_step(tmp_path, {"a": np.ones(500)}, {}, stage=0, step=2)
    with pytest.warns(match="taken instead"):
        assert "opt" in checkpoint.read_latest(tmp_path, checkpoint.load)


def test_foreign_files_beside_the_checkpoints_stay(tree, tmp_path):
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "generated").mkdir()
    theirs = {".DS_Store", "generated", "stage_0_step_000100_my_backup", "stage_0_step_000200.txt"}
    (tmp_path / "stage_0_step_000100_my_backup").mkdir()
    (tmp_path / "stage_0_step_000200.txt").touch()
    (tmp_path / "stage_0_step_000001.orbax-checkpoint-tmp").mkdir()
    checkpoint.save_step(tmp_path, tree, {}, stage=1, step=20)
    assert {path.name for path in tmp_path.iterdir()} == {*theirs, "stage_1_step_000020"}


def test_a_checkpoint_that_was_cut_off_is_not_taken(tree, tmp_path):
    checkpoint.save_step(tmp_path, tree, {}, stage=1, step=20)
    (tmp_path / "stage_1_step_000040.orbax-checkpoint-tmp").mkdir()
    assert checkpoint.latest_step(tmp_path) == tmp_path / "stage_1_step_000020"


def test_the_last_of_two_complete_steps_is_taken(tree, tmp_path):
    for step in (20, 100):
        checkpoint.save(tmp_path / f"stage_1_step_{step:06d}", tree, {})
    checkpoint.save(tmp_path / "stage_0_step_000900", tree, {})
    assert checkpoint.latest_step(tmp_path) == tmp_path / "stage_1_step_000100"


def test_nothing_is_written_over(tree, tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(InputError, match="one exists already"):
        checkpoint.save(tmp_path / "one", tree, {})


NAMES = ["[ab]", "a\\b", "a*?b", "a b", "a#b%20", 'it\'s "so"', "ü日本", "-x", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_directory_is_written_and_read(name, tmp_path):
    tree, path = {"a": [np.ones(2)]}, tmp_path / name / "run" / name
    checkpoint.save(path, tree, {"x": 1})
    assert checkpoint.exists(path) and checkpoint.metadata(path)["x"] == 1
    assert jax.tree.all(jax.tree.map(np.array_equal, checkpoint.load(path), tree))
    assert [entry.name for entry in path.parent.iterdir()] == [name]


def test_a_directory_that_cannot_be_read_back_is_refused(tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise OSError("not here")

    monkeypatch.setattr(pathlib.Path, "symlink_to", no_links)
    with pytest.raises(InputError, match="cannot be read back from a path with any of"):
        checkpoint.check_place(tmp_path / "[run]")


@pytest.mark.parametrize("found", [3, 0, "1", None])
def test_another_format_is_refused(found, tmp_path):
    with pytest.raises(InputError, match=f"has the format {found}, but this version"):
        checkpoint.check_format(tmp_path, found)


def test_a_newer_format_is_not_read(tree, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 7)
        checkpoint.save(tmp_path / "one", {"a": np.ones(1)}, {})
    for read in (checkpoint.load, checkpoint.metadata):
        with pytest.raises(InputError, match="has the format 7, but this version"):
            read(tmp_path / "one")


FULL_DISK = """
import pathlib, resource, sys
import numpy as np
from consingan_jax import checkpoint

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
tree = {"a": np.random.default_rng(0).standard_normal(100_000)}
try:
    checkpoint.save(pathlib.Path(sys.argv[1]), tree, {})
except OSError as error:
    print(error.errno, error.filename)
"""


def test_a_disk_without_room_is_an_error_of_the_system(tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "one")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"{errno.EFBIG} {tmp_path / 'one'}\n"


KILLED = """
import os, pathlib, signal, sys
import numpy as np
from orbax.checkpoint import v1 as ocp
from consingan_jax import checkpoint

def rename(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

run = pathlib.Path(sys.argv[1])
tree = {"a": np.arange(5.0)}
checkpoint.save_step(run, tree, {}, stage=0, step=1)
os.rename = os.replace = pathlib.Path.rename = rename
checkpoint.save_step(run, tree, {}, stage=0, step=2)
"""


def test_a_process_killed_inside_a_save_leaves_the_checkpoint_before(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2  # the one before, and a part
    kept = checkpoint.latest_step(tmp_path)
    assert kept == tmp_path / "stage_0_step_000001"
    np.testing.assert_array_equal(checkpoint.load(kept)["a"], np.arange(5.0))
    checkpoint.save_step(tmp_path, {"a": np.ones(1)}, {}, stage=0, step=3)
    assert set(tmp_path.iterdir()) == set(checkpoint.steps(tmp_path))  # the part is gone
