import importlib
import pathlib

import pytest

from configs import default, unconditional
from consingan_jax import config as config_lib
from consingan_jax.data import image

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("variant", ["", "quick"])
def test_every_config_works_on_its_image(name, variant, monkeypatch):
    if (name, variant) == ("default", "quick"):
        pytest.skip("has no variants")
    monkeypatch.chdir(ROOT)
    config = importlib.import_module(f"configs.{name}").get_config(variant)
    assert set(config) == set(default.get_config())
    config_lib.check(config)
    config_lib.level_sizes(config, image.load(config.image).shape[:2])


def test_an_unknown_variant_is_an_error():
    with pytest.raises(ValueError, match="takes ':quick' or nothing, not ':fast'"):
        unconditional.get_config("fast")


def test_the_scene_has_its_size():
    assert image.load(ROOT / "examples/scene.png").shape == (188, 250, 3)


def test_differences_that_matter():
    old = default.get_config().to_dict()
    assert config_lib.difference(old, old | {"log_every": 1, "image": "other.png"}) is None
    assert config_lib.difference(old, old | {"beta1": 0.9}) == "beta1"
