"""The table of methods: which pictures count, its intervals, and the samples that it makes."""

import json

import numpy as np
import pytest

from benchmarks import curves, patch_matching, table
from benchmarks.table import Key
from consingan_jax.images import display
from consingan_jax.measures import patches
from consingan_jax.measures.sample_sets import SampleSet


def _figures(values):
    """Returns figures of VGG-SIFD, given by row and picture."""
    return {
        Key("lsun", picture, row, 0, 64): {"vgg_sifd": value}
        for row, own in values.items()
        for picture, value in own.items()
    }


def test_only_pictures_that_all_rows_have_count():
    figures = _figures(
        {"published": {"5": 1.0, "10": 2.0, "15": 30.0}, "fast": {"10": 4.0, "5": 2.0}}
    )
    figures[Key("lsun", "10", "fast", 1, 64)] = {"vgg_sifd": 6.0}  # another seed
    pictures, found = table.of_pictures(figures, ["published", "fast"])
    assert pictures == ["5", "10"]
    np.testing.assert_array_equal(found["published"]["vgg_sifd"], [1, 2])
    np.testing.assert_array_equal(found["fast"]["vgg_sifd"], [2, 5])
    assert "| VGG-SIFD | 1.500±0.707 | 3.500±2.121 |" in table.means(found)
    assert "| VGG-SIFD | 1.414 |" in table.between_seeds(figures, ["published", "fast"])


def test_a_difference_is_bold_where_its_interval_excludes_zero():
    rng = np.random.default_rng(1)
    level = rng.normal(5, 3, 12)  # pictures differ more than the methods do
    noise = rng.normal(0, 0.1, (2, 12))
    rows = {"published": level, "fast": level + 0.5 + noise[0], "paper": level + noise[1]}
    found = {row: {"vgg_sifd": x} for row, x in rows.items()}
    (line,) = [line for line in table.differences(found).splitlines() if "VGG" in line]
    _, _, fast, paper, _ = (cell.strip() for cell in line.split("|"))
    assert fast.startswith("**0.5")
    assert "**" not in paper


def test_the_interval_of_a_mean():
    x = np.random.default_rng(2).normal(3, 2, 400)
    low, high = table.interval(x)
    assert low == pytest.approx(x.mean() - 1.96 * x.std() / 20, abs=0.02)
    assert high == pytest.approx(x.mean() + 1.96 * x.std() / 20, abs=0.02)


def test_the_levels_of_patch_matching():
    sizes = patch_matching.levels((188, 250))
    assert sizes[-1] == (188, 250)
    assert patch_matching.COARSEST <= sizes[0][0] < patch_matching.COARSEST / patch_matching.FACTOR
    assert patch_matching.levels((20, 30)) == [(20, 30)]


def test_patch_matching_brings_the_patches_closer(monkeypatch):
    monkeypatch.setattr(patch_matching, "STEPS", 100)
    image = np.random.default_rng(0).uniform(-1, 1, (12, 12, 3))
    image = np.kron(image, np.ones((3, 3, 1)))
    made = patch_matching.sample(image, 0)
    assert made.shape == image.shape
    assert np.abs(made).max() <= 1
    of_real, of_made, of_noise = (
        patches.projections(x)
        for x in (image, made, np.random.default_rng(1).uniform(-1, 1, image.shape))
    )
    distance = patches.sliced_wasserstein(of_made, of_real)
    assert distance < patches.sliced_wasserstein(of_noise, of_real) / 4
    np.testing.assert_array_equal(made, patch_matching.sample(image, 0))
    assert np.abs(made - patch_matching.sample(image, 1)).mean() > 0.005


def test_ways_are_variants_methods_and_changed_fields():
    assert curves.config_of("paper", "x.png").num_iters == 2000
    assert curves.config_of("singan,seed=3", "x.png").method == "singan"
    assert curves.config_of("fast,num_iters=9;7", "x.png").num_iters == (9, 7)


@pytest.fixture
def shared(tmp_path):
    """A folder as the published samples have it, of two pictures with three samples each."""
    rng = np.random.default_rng(0)
    for picture in ("5", "10"):
        image = np.kron(rng.uniform(-1, 1, (8, 10, 3)), np.ones((4, 4, 1)))
        files = {f"Real/{picture}": image} | {
            f"ConSinGAN/{picture}_{k}": np.roll(image, 4 * k, 1) for k in (1, 2, 3)
        }
        for name, one in files.items():
            path = tmp_path / "shared/paper/lsun" / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            display.save(path, one)
    return tmp_path / "shared"


def test_a_table_goes_on_where_it_was(shared, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(patch_matching, "STEPS", 2)
    monkeypatch.setattr(table, "apart", lambda work, *arguments: work(*arguments))
    arguments = ["--rows", "published", "patches", "--pictures", "5", "--num_samples=2"]
    arguments += [f"--shared={shared}", f"--workdir={tmp_path / 'work'}", "--max_size=32"]
    table.main(arguments)
    assert "pictures 5\n" in capsys.readouterr().out
    monkeypatch.setattr(table, "samples_of", None)  # which would fail if it were called
    table.main(arguments)
    assert "| VGG-SIFD |" in capsys.readouterr().out
    kept = tmp_path / "work/figures.jsonl"
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [(line["row"], line["num_samples"]) for line in lines] == [
        ("published", 3),
        ("patches", 2),
    ]
    assert lines[1]["measures"]["first"] > 0


def test_the_worst_samples():
    image = np.random.default_rng(0).uniform(-1, 1, (32, 32, 3)).astype(np.float32)
    one = SampleSet("a", image, [image, image[::-1], image * 0])
    sheet = table.worst([one])
    assert sheet.shape[0] > 2 * 32
    assert sheet.shape[1] > 6 * 32
