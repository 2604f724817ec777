"""Pictures that are made tile by tile, through the command."""

import dataclasses
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore
import tifffile

import consingan_jax
from consingan_jax import executors
from consingan_jax.cli import sample
from consingan_jax.executors import LocalExecutor
from consingan_jax.generation import sampling
from consingan_jax.images import display, loading
from consingan_jax.images.pixels import PixelFormat
from consingan_jax.tiled import render

SIZE = {"height": 70, "width": 90}


@pytest.fixture
def run(capsys, finished_run, monkeypatch):
    """Returns what the command prints and reports, and its exit code; tiles are small."""
    monkeypatch.setattr(sampling, "TILE", 32)
    monkeypatch.setattr("consingan_jax.device.use_compilation_cache", lambda _: None)

    def call(*arguments):
        code = 0
        try:
            sample.COMMAND.run("sample", [str(finished_run), *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def read(path):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return tensorstore.open(spec).result().read().result()


def flags_of(size):
    return [f"--{name}={value}" for name, value in size.items()]


@pytest.mark.parametrize("suffix", ["zarr", "tif"])
def test_a_large_picture_is_the_sample_of_its_seed(run, finished_run, tmp_path, suffix):
    file = tmp_path / f"big.{suffix}"
    command = ["--seed=3", *flags_of(SIZE), f"--out={file}"]
    code, out, err = run(*command)
    assert code == 0, err
    assert "9 tiles of 32x32 px; one takes" in out and "MiB, however large" in out
    found = read(file) if suffix == "zarr" else tifffile.imread(file)
    expected = display.to_uint8(consingan_jax.load(finished_run).sample(3, **SIZE)[0])
    assert np.abs(found.astype(int) - expected).max() <= 1 and found.std() > 1
    assert (tmp_path / f"big.{suffix}.preview.png").is_file()
    assert "is complete already" in run(*command)[1]
    code, _, err = run("--seed=4", *command[1:])
    assert code == 2 and "seed" in err.splitlines()[-1]


@pytest.mark.parametrize("suffix", ["zarr", "tif"])
def test_numbers_are_as_the_training_image_had_them(finished_run, tmp_path, suffix, monkeypatch):
    """A model of two deep channels and a mask of many values."""
    monkeypatch.setattr(sampling, "TILE", 32)
    model = consingan_jax.load(finished_run)
    encoding = PixelFormat(100, 4000, "uint16", ".npy", labels=tuple(range(3, 2003, 10)))
    model = dataclasses.replace(model, encoding=encoding)
    file = tmp_path / f"deep.{suffix}"
    said = list(render.sample(model, str(file), seed=3, start_stage=0, **SIZE))
    found = np.asarray(read(file)) if suffix == "zarr" else tifffile.imread(file)
    expected = encoding.numbers(model.sample(3, **SIZE)[0])
    assert found.dtype == np.uint16 and set(np.unique(found[..., 2])) <= set(encoding.labels)
    difference = np.abs(found.astype(int) - expected)
    assert difference[..., :2].max() <= 1 and difference[..., 2].max() <= 10
    assert (difference[..., 2] > 0).mean() < 0.01 and len(np.unique(found[..., 2])) > 1
    assert loading.load(said[-1].file).std() > 0.1


def test_each_device_makes_its_share_in_order():
    seen, here = [], jax.devices()[0]

    def make(number):
        seen.append(jax.config.jax_default_device)
        return jnp.full((), number + 1)

    made = LocalExecutor([here] * 3).map(make, iter(range(7)))
    assert next(made) == (0, 1) and len(seen) <= 1 + executors.AHEAD * 3  # not all at once
    assert list(made) == [(number, number + 1) for number in range(1, 7)]
    assert set(seen) == {here}
    assert [result for _, result in LocalExecutor([here]).map(make, range(7))] == list(range(1, 8))


def test_on_two_devices_the_same_picture_and_elsewhere_too(run, finished_run, tmp_path):
    """On a CPU of two devices, in another process; and from a copy that was sent there."""
    command = [sys.executable, "-m", "consingan_jax", "sample", str(finished_run), *flags_of(SIZE)]
    code = "from consingan_jax.generation import sampling; sampling.TILE = 32\n"
    code += "from consingan_jax import __main__; __main__.main()"
    command[1:3] = ["-c", code]
    two = [*command, "--devices=2", f"--out={tmp_path / 'two.zarr'}"]
    result = subprocess.run(two, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert run(*flags_of(SIZE), f"--out={tmp_path / 'one.zarr'}")[0] == 0
    np.testing.assert_array_equal(read(tmp_path / "two.zarr"), read(tmp_path / "one.zarr"))
    make = render._Sample(consingan_jax.load(finished_run), {"seed": 0, "start_stage": 0, **SIZE})
    _ = make.input
    sent = pickle.loads(pickle.dumps(make))
    np.testing.assert_array_equal(sent(0, 0), make(0, 0))


def test_one_sample_as_a_png(run, finished_run, tmp_path):
    code, out, err = run("--seed=3", f"--out={tmp_path / 'new' / 'one.png'}")
    assert code == 0 and "one.png: 21x28 px" in out, err
    expected = display.to_uint8(consingan_jax.load(finished_run).sample(3)[0])
    found = display.to_uint8(loading.load(tmp_path / "new" / "one.png"))
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_an_animation_of_any_size(run, finished_run, tmp_path):
    command = ["--animate", "--frames=3", *flags_of(SIZE), f"--out={tmp_path / 'big.zarr'}"]
    assert run(*command)[0] == 0
    frames = consingan_jax.load(finished_run).animate(0, frames=3, **SIZE)
    expected = display.to_uint8(np.stack(list(frames)))
    found = read(tmp_path / "big.zarr")
    assert found.shape == (3, 70, 90, 3)
    assert np.abs(found.astype(int) - expected).max() <= 1 and found.std() > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width=3000000", "--out=big.zarr"], "give a size from 1 to 2000000 px"),
        (["--width=40000"], "give a size from 1 to 32768 px; a file .zarr or .tif may be larger"),
        (["--width=32768", "--height=32768"], "takes a file .zarr or .tif as --out"),
        (["--out=big.jpg"], "out=big.jpg: one image goes into .png, .npy, .zarr or .tif"),
        (["--reconstruct", "--out=one.png"], "--reconstruct writes into a directory"),
        (["--out=big.zarr", "--cpus=2"], "--cpus has no effect without --engine=ray"),
        (["--devices=2"], "--devices has no effect on samples: leave it out"),
        (["--out=big.zarr", "--devices=999"], "devices=999: only 1 available: give 1"),
        (["--out=big.zarr", "--engine=ray", "--devices=2"], "give --cpus and --gpus"),
        (["--num_samples=2", "--out=big.zarr"], "num_samples=2: one file holds one sample"),
    ],
)
def test_what_cannot_be_is_one_line(run, arguments, message):
    code, _, err = run(*arguments)
    assert code == 2 and message in err.splitlines()[-1]


def test_models_that_make_whole_images_only(capsys, harmonization_run, tmp_path):
    model = consingan_jax.load(harmonization_run)
    with pytest.raises(consingan_jax.InputError, match="cannot make windows or very large images"):
        next(render.sample(model, str(tmp_path / "a.zarr"), seed=0, start_stage=0, **SIZE))
    assert not list(tmp_path.iterdir())
