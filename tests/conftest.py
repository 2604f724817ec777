"""Strict jax, a compilation cache for the session, and one small trained run."""

import os
import pathlib

# Compilation is most of the time that the tests take, and they measure no speed. What a user's
# programs compute, fully optimised, is checked by `python -m tests.parity`.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import jax
import numpy as np
import pytest

from configs import default
from consingan_jax.data import image
from consingan_jax.training import trainer

jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = pathlib.Path(__file__).parent.parent / "../shared/golden"


def pytest_configure(config):
    """Makes every warning an error."""
    config.addinivalue_line("filterwarnings", "error")


@pytest.fixture(autouse=True, scope="session")
def _compilation_cache(tmp_path_factory):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jax_cache")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture
def key() -> jax.Array:
    """A random key."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def picture(tmp_path_factory) -> pathlib.Path:
    """A file with a picture of 40 x 30 px: smooth colours and a little noise."""
    rows, columns = np.mgrid[0:30, 0:40] / 40
    rng = np.random.default_rng(0)
    colours = np.stack([rows, columns, 1 - rows * columns], -1) * 2 - 1
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    image.save(path, colours + 0.1 * rng.standard_normal(colours.shape))
    return path


@pytest.fixture(scope="session")
def tiny_config(picture) -> dict:
    """A configuration that trains in seconds; stage 2 has a frozen stage below it."""
    return default.get_config().to_dict() | {
        "image": str(picture),
        "num_stages": 3,
        "min_size": 14,
        "max_size": 28,
        "num_filters": 4,
        "num_iters": 4,
        "train_depth": 2,
        "log_every": 2,
        "sample_every": 4,
    }


@pytest.fixture(scope="session")
def finished_run(tiny_config, tmp_path_factory) -> pathlib.Path:
    """The directory of a finished run of `tiny_config`."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    trainer.train(tiny_config, str(path))
    return path


@pytest.fixture(scope="session")
def tiny_harmonization(tiny_config, picture) -> dict:
    """A configuration of the task harmonization, with a composite to watch."""
    return tiny_config | {
        "task": "harmonization",
        "num_stages": 2,
        "num_iters": 2,
        "batch_norm": True,
        "naive": str(picture),
    }


@pytest.fixture(scope="session")
def harmonization_run(tiny_harmonization, tmp_path_factory) -> pathlib.Path:
    """The directory of a finished run of `tiny_harmonization`."""
    path = tmp_path_factory.mktemp("runs") / "harmonization"
    trainer.train(tiny_harmonization, str(path))
    return path


@pytest.fixture
def folders(tmp_path):
    """Folders `real` and `samples` with two images of 60x64 px and three samples of each."""
    rng = np.random.default_rng(0)
    for folder in ("real", "samples"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b_1"):
        rough = np.asarray(jax.image.resize(rng.uniform(-1, 1, (8, 8, 3)), (60, 64, 3), "cubic"))
        image.save(tmp_path / f"real/{name}.png", rough)
        for j in range(3):
            changed = np.roll(rough, 9 * j, 1) + 0.05 * rng.standard_normal(rough.shape)
            image.save(tmp_path / f"samples/{name}_{j}.png", changed)
    return tmp_path


@pytest.fixture
def golden() -> pathlib.Path:
    """The folder of recordings; skips where it is absent."""
    if not GOLDEN.is_dir():
        pytest.skip("the recordings of the published program are not beside this checkout")
    return GOLDEN
