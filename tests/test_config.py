import dataclasses
import importlib
import json
import pathlib

import numpy as np
import pytest

import consingan_jax
from consingan_jax import config as module
from consingan_jax import tasks
from consingan_jax.config import Config
from consingan_jax.data import noise, pyramid
from consingan_jax.errors import InputError
from consingan_jax.images import loading
from consingan_jax.nn import layers
from consingan_jax.runs.inputs import PYRAMIDS

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("variant", ["", "quick"])
def test_every_config_works_on_its_image(name, variant, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = Config.create(**importlib.import_module(f"configs.{name}").get_config(variant))
    assert name in ("default", config.slug)
    resolved, levels = PYRAMIDS[config.method](config, np.asarray(loading.load(config.image)))
    assert resolved.num_stages == len(levels) >= 3


def test_the_scene_has_its_size():
    assert loading.load(ROOT / "examples/scene.png").shape == (188, 250, 3)


def test_choices_are_those_of_the_rooms_above():
    choices = {field.name: field.metadata["about"].choices for field in dataclasses.fields(Config)}
    assert choices["activation"] == tuple(layers.ACTIVATIONS)
    assert choices["dtype"] == tuple(layers.DTYPES)
    assert choices["pyramid_rule"] == ("task", *pyramid.RULES)
    for row in tasks.TASKS.values():
        inputs = {row.random_input, row.fixed_input, row.composite_input} - {None}
        assert inputs <= set(noise.INPUTS) and row.pyramid_rule in pyramid.RULES


def test_a_task_and_its_variant_change_the_papers_defaults():
    assert Config.create("animation").min_size == 20
    assert Config.create("animation", "quick").min_size == 20
    harmonization = Config.create("harmonization", num_iters=7)
    assert (harmonization.num_stages, harmonization.batch_norm) == (3, True)
    assert harmonization.num_iters == 7
    with pytest.raises(InputError, match="generation has no variant 'slow': give quick, fast or"):
        Config.create("generation", "slow")


def test_values_of_other_types_become_the_fields_or_are_refused():
    made = Config(image=pathlib.Path("a.png"), num_stages=np.int64(3), lr_scale=np.float32(0.5))
    made = dataclasses.replace(
        made, batch_norm=np.True_, lr_critic=1, num_iters=[4, np.int32(5), 6]
    )
    expected = Config(
        image="a.png",
        num_stages=3,
        lr_scale=0.5,
        batch_norm=True,
        lr_critic=1.0,
        num_iters=(4, 5, 6),
    )
    assert made == expected and hash(made) == hash(expected)
    kinds = {type(value) for value in dataclasses.asdict(made).values()}
    assert kinds == {str, int, float, bool, tuple}
    assert json.loads(json.dumps(made.to_dict())) == made.to_dict()


def test_a_list_is_for_the_last_stages_and_its_first_for_all_below():
    made = Config(
        num_stages=4, num_iters=(9, 8, 7), window=(0, 64), d_steps=3, g_steps=(1, 2, 3, 4)
    )
    assert [made.stage(k).num_iters for k in range(4)] == [9, 9, 8, 7]
    assert [made.stage(k).window for k in range(4)] == [0, 0, 0, 64]
    assert [made.stage(k).d_steps for k in range(4)] == [3, 3, 3, 3]
    assert [made.stage(k).g_steps for k in range(4)] == [1, 2, 3, 4]
    assert Config.create(variant="fast", num_stages=3).stage(2).num_iters == 1600


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_norm": "false"}, "config.batch_norm='false': give True or False"),
        ({"batch_norm": 1}, "config.batch_norm=1: give True or False"),
        ({"num_iters": 1.5}, "config.num_iters=1.5: give a whole number, or one for each stage"),
        ({"num_iters": "12"}, "config.num_iters='12': give a whole number"),
        (
            {"num_iters": 7 * [5]},
            r"num_iters=\(5, .*\): give one number, or at most one for each of",
        ),
        ({"num_iters": []}, r"config.num_iters=\(\): give one number, or at most one for each of"),
        ({"num_iters": [5, 5, 5, 5, 5, 0]}, "give 1 or more"),
        ({"d_steps": 7 * [1]}, "give one number, or at most one for each of the 6 stages"),
        ({"exclude": "a.png", "loss": "relativistic"}, "exclude=a.png: the relativistic loss has"),
        ({"num_stages": True}, "config.num_stages=True: give a whole number"),
        ({"lr_scale": "0.1"}, "config.lr_scale='0.1': give a finite number"),
        ({"rec_weight": float("inf")}, "config.rec_weight=inf: give a finite number"),
        ({"lr_critic": 10**400}, "give a finite number"),
        ({"naive": 3}, "config.naive=3: give text"),
        ({"seed": 2**32}, "config.seed=4294967296: give 0 or more, below 4294967296"),
        ({"num_iter": 5}, "config.num_iter: no such field; did you mean num_iters?"),
        ({"zzz": 5}, "config.zzz: no such field; `consingan train --fields` lists them all"),
    ],
)
def test_what_cannot_work_is_refused_by_name(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        consingan_jax.train("no.png", tmp_path / "run", **changes)
    assert not list(tmp_path.iterdir())


def test_differences_that_matter():
    old = Config()
    assert old.difference(dataclasses.replace(old, log_every=1, image="other.png")) is None
    assert old.difference(dataclasses.replace(old, beta1=0.9)) == "beta1"


def test_a_configuration_saved_before_a_field_existed_has_its_default():
    saved = dataclasses.replace(Config(), beta1=0.7).to_dict()
    del saved["remat"], saved["pyramid_rule"]
    assert Config.restore(saved) == dataclasses.replace(Config(), beta1=0.7)


def test_the_table_of_the_docs_is_the_configuration():
    text = (ROOT / "docs/configuration.md").read_text()
    rows = [f"| `{n}` | `{d}` | {r} | {h} |" for n, d, r, h in module.fields()]
    assert "\n".join(rows) in text
