"""Strict jax, a compilation cache for the session, and one small trained run."""

import os
import pathlib
import shutil

from tests import xla_flags

# Before jax reads them. What a user's programs compute, fully optimised, is checked by
# `python -m tests.parity`. Test processes inherit what the first one has found.
os.environ["XLA_FLAGS"] = xla_flags.checked(os.environ.get("XLA_FLAGS"))

import filelock
import jax
import numpy as np
import pytest

from consingan_jax import numerics
from consingan_jax.images import display
from consingan_jax.training import trainer
from tests import tiny

jax.config.update("jax_numpy_rank_promotion", "raise")

BROWSERS = ("chromium", "google-chrome", "chromium-browser")
GOLDEN = pathlib.Path(__file__).parent.parent / "../shared/golden"


def pytest_configure(config):
    """Makes every warning an error."""
    tiny.hear_interrupts()
    config.addinivalue_line("filterwarnings", "error")
    # ml_collections reads configuration files by a method that Python will drop.
    config.addinivalue_line("filterwarnings", "ignore:the load_module:DeprecationWarning")


def pytest_collection_modifyitems(items):
    """Lets the two longest tests be the first of two processes."""
    longest = [item for item in items if item.name.startswith("test_the_recordings")]
    for number, item in enumerate(longest):
        items.remove(item)
        items.insert(number * len(items) // len(longest), item)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Returns the directory of a name, made by the first of the test processes that asks for it."""
    here = tmp_path_factory.getbasetemp()
    common = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here

    def directory(name, make):
        path = common / name
        with filelock.FileLock(common / f"{name}.lock"):
            if not path.exists():
                unfinished = common / f"{name}.unfinished"
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(path)
        return path

    return directory


@pytest.fixture(autouse=True, scope="session")
def _compilation_cache(once):
    jax.config.update("jax_compilation_cache_dir", str(once("jax_cache", lambda _: None)))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture
def key() -> jax.Array:
    """A random key."""
    return numerics.key(0)


@pytest.fixture(scope="session")
def picture(once) -> pathlib.Path:
    """The file of the picture that most tests train on."""
    return once("picture", lambda path: tiny.paint(path / "picture.png")) / "picture.png"


@pytest.fixture(scope="session")
def tiny_config(picture) -> dict:
    """A configuration that trains in seconds."""
    return tiny.CONFIG | {"image": str(picture)}


@pytest.fixture(scope="session")
def finished_run(tiny_config, once) -> pathlib.Path:
    """The directory of a finished run of `tiny_config`."""
    return once("finished", lambda path: trainer.train(tiny_config, path))


@pytest.fixture(scope="session")
def tiny_harmonization(picture) -> dict:
    """A configuration of the task harmonization, with a composite to watch."""
    return tiny.HARMONIZATION | {"image": str(picture), "naive": str(picture)}


@pytest.fixture(scope="session")
def harmonization_run(tiny_harmonization, once) -> pathlib.Path:
    """The directory of a finished run of `tiny_harmonization`."""
    return once("harmonization", lambda path: trainer.train(tiny_harmonization, path))


@pytest.fixture(scope="session")
def editing_run(picture, once) -> pathlib.Path:
    """The directory of a finished run of the task editing, with three stages."""
    config = tiny.CONFIG | {"task": "editing", "num_iters": 2, "image": str(picture)}
    return once("editing", lambda path: trainer.train(config, path))


@pytest.fixture
def folders(tmp_path):
    """Folders `real` and `samples` with two images of 60x64 px and three samples of each."""
    rng = np.random.default_rng(0)
    for folder in ("real", "samples"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b_1"):
        rough = np.asarray(jax.image.resize(rng.uniform(-1, 1, (8, 8, 3)), (60, 64, 3), "cubic"))
        display.save(tmp_path / f"real/{name}.png", rough)
        for j in range(3):
            changed = np.roll(rough, 9 * j, 1) + 0.05 * rng.standard_normal(rough.shape)
            display.save(tmp_path / f"samples/{name}_{j}.png", changed)
    return tmp_path


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as api:
        chromium = api.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def golden() -> pathlib.Path:
    """The folder of recordings; skips where it is absent."""
    if not GOLDEN.is_dir():
        pytest.skip("the recordings of the published program are not beside this checkout")
    return GOLDEN
