import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from PIL import Image

import consingan_jax
from consingan_jax.generation import video
from consingan_jax.generation.output import Output
from consingan_jax.images import display, loading


@pytest.fixture(scope="module")
def harmonizer(harmonization_run) -> Output:
    return Output(consingan_jax.load(harmonization_run), "", str(harmonization_run))


@pytest.fixture(scope="module")
def generator(finished_run) -> Output:
    """Its parameters are larger than trained, so that its frames differ."""
    model = consingan_jax.load(finished_run)
    model = dataclasses.replace(model, params=jax.tree.map(lambda x: 20 * x, model.params))
    return Output(model, "", str(finished_run))


@pytest.fixture
def pasted(picture, tmp_path) -> pathlib.Path:
    """A composite at twice the size, with a mask of its own beside it."""
    composite = np.repeat(np.repeat(loading.load(picture), 2, 0), 2, 1)
    composite[20:36, 30:54] = 1
    mask = np.full((60, 80, 1), -1.0)
    mask[20:36, 30:54] = 1
    display.save(tmp_path / "pasted.png", composite)
    display.save(tmp_path / "pasted_mask.png", mask)
    return tmp_path / "pasted.png"


def _into(output: Output, directory: pathlib.Path) -> Output:
    return Output(output.model, str(directory), output.ckpt)


def _composites(output, *paths, mask=None, full_size=False):
    return list(output.composites(list(map(str, paths)), mask=mask, seed=0, full_size=full_size))


def _names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_composite_with_the_mask_beside_it(harmonizer, pasted, tmp_path):
    *_, line = _composites(_into(harmonizer, tmp_path / "out"), pasted, full_size=True)
    out = tmp_path / "out/pasted"
    assert f"mask {tmp_path}/pasted_mask.png" in line
    names = ["blended.png", "full_size.png", "mask.png", "result.png", "side_by_side.png"]
    assert _names(out) == names
    assert loading.load(out / "blended.png").shape == (21, 28, 3)
    assert loading.load(out / "full_size.png").shape == (60, 80, 3)
    assert loading.load(out / "side_by_side.png").shape == (21, 3 * 28 + 4, 3)


@pytest.mark.parametrize(
    ("mask", "said", "masked"),
    [("none", "no mask, as asked", False), ("auto", "mask from the difference", True)],
)
def test_other_masks(mask, said, masked, harmonizer, pasted, tmp_path):
    out = tmp_path / "out/pasted"
    out.mkdir(parents=True)
    (out / "mask.png").write_text("of an earlier call")
    *_, line = _composites(_into(harmonizer, tmp_path / "out"), pasted, mask=mask)
    assert said in line and (out / "mask.png").is_file() == masked


def test_several_composites_go_below_the_run(harmonizer, harmonization_run, pasted, picture):
    lines = _composites(harmonizer, pasted, picture)[1::2]
    assert len(lines) == 2 and "no mask beside it" in lines[1]
    assert {"pasted", "picture"} <= set(_names(harmonization_run / "generated"))


def test_an_image_of_another_mode_and_aspect_ratio(harmonizer, tmp_path):
    Image.new("LA", (90, 30), (100, 255)).save(tmp_path / "wide.png")
    _composites(_into(harmonizer, tmp_path / "out"), tmp_path / "wide.png")
    assert loading.load(tmp_path / "out/wide/result.png").shape == (9, 28, 3)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("no_mask.png", "mask no_mask.png: no such file"),
        ("black", "black.png is all black: paint white"),
        (__file__, "is of no known image format"),
        ("turned", "mask has 80x60 px, but its composite 60x80"),
    ],
)
def test_a_bad_mask_writes_nothing(mask, message, harmonizer, pasted, tmp_path):
    if mask == "black":
        mask = str(tmp_path / "black.png")
        display.save(mask, -np.ones((4, 4, 1)))
    if mask == "turned":
        mask = str(tmp_path / "turned.png")
        display.save(mask, np.ones((80, 60, 1)))
    with pytest.raises(ValueError, match=message):
        _composites(_into(harmonizer, tmp_path / "out"), pasted, mask=mask)
    assert not (tmp_path / "out").exists()


def test_one_bad_composite_of_two_writes_nothing(harmonizer, pasted, tmp_path):
    with pytest.raises(ValueError, match=r"no\.png: no such file"):
        _composites(_into(harmonizer, tmp_path / "out"), pasted, tmp_path / "no.png")
    with pytest.raises(ValueError, match="two composites are called pasted"):
        _composites(_into(harmonizer, tmp_path / "out"), pasted, pasted)
    with pytest.raises(ValueError, match="one mask file serves one composite"):
        _composites(_into(harmonizer, tmp_path / "out"), pasted, "other.png", mask="m.png")
    assert not (tmp_path / "out").exists()


def _walk(**changes):
    walk = {"frames": 3, "alpha": 0.1, "loop": False, "fps": 10.0, "seed": 0}
    return walk | {"width": None, "height": None} | changes


def test_the_published_set_of_animations(generator, tmp_path):
    out = tmp_path / "out"
    lines = list(_into(generator, out).animations(beta=None, start_stage=None, **_walk()))
    assert len(lines) == 13 and len(_names(out)) == 13
    assert {"start_stage_0_beta_0.80.gif", "start_stage_2_beta_0.95.gif"} <= set(_names(out))
    with Image.open(out / "start_stage_0_beta_0.85.gif") as video:
        assert (video.n_frames, video.size, video.info["duration"]) == (3, (28, 21), 100)
    assert loading.load(out / "contact_sheet.png").shape == (12 * 23 - 2, 3 * 30 - 2, 3)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_one_animation(suffix, generator, tmp_path):
    path = tmp_path / f"new/film{suffix}"
    walk = _walk(frames=4, loop=True, width="2x")
    list(generator.animation(str(path), beta=0.9, start_stage=0, **walk))
    with Image.open(path) as video:
        assert (video.n_frames, video.size) == (4, (56, 21))
    assert _names(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("film.avi", {}, "film.avi: give a file ending in .gif, .webp, .png, .mp4"),
        ("film.gif", {"frames": -3}, "frames=-3: give 1 or more"),
        ("film.gif", {"fps": 0.0}, "fps=0.0: give a value from 0.1 to 50"),
        ("film.gif", {"alpha": 2.0}, "alpha=2.0: give a value from 0 to 1"),
        ("film.gif", {"start_stage": 3}, "start_stage=3: this model has the stages 0 to 2"),
    ],
)
def test_bad_animations_write_nothing(name, changes, message, generator, tmp_path):
    walk = {"beta": 0.9, "start_stage": 0, **_walk(**changes)}
    with pytest.raises(ValueError, match=message):
        list(generator.animation(str(tmp_path / "new" / name), **walk))
    assert not (tmp_path / "new").exists()


def test_mp4_names_its_extra(generator, tmp_path, monkeypatch):
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="mp4 needs av: python -m pip install av"):
        list(generator.animation(str(tmp_path / "f.mp4"), beta=0.9, start_stage=0, **_walk()))


def test_mp4(generator, tmp_path):
    av = pytest.importorskip("av", reason="needs the extra video")
    path = tmp_path / "film.mp4"
    list(generator.animation(str(path), beta=0.9, start_stage=0, **_walk(frames=5)))
    with av.open(str(path)) as video:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in video.decode(video=0)]
    assert shapes == 5 * [(22, 28, 3)]


def test_models_of_the_wrong_task(generator, harmonizer, pasted, tmp_path):
    with pytest.raises(ValueError, match="trained for generation: composites need one of"):
        _composites(_into(generator, tmp_path / "out"), pasted)
    with pytest.raises(ValueError, match="trained for harmonization: animations need one of"):
        list(harmonizer.animation(str(tmp_path / "out/f.gif"), beta=0.9, start_stage=0, **_walk()))
    assert not (tmp_path / "out").exists()
