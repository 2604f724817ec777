"""`consingan train`: trains a model of one image, or a sweep over several."""

import contextlib
import dataclasses
import glob
import pathlib
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tqdm
from absl import flags as absl_flags

from consingan_jax import config, device
from consingan_jax.cli import dry_run, executor_flags, processes, signals
from consingan_jax.cli.flags import Command, Flags, as_config_dict, check_used, define_config
from consingan_jax.cli.resolve_run import RUNS
from consingan_jax.config import Config
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.executors import LOCAL
from consingan_jax.files import missing
from consingan_jax.generation import restore
from consingan_jax.measures import evaluation
from consingan_jax.runs.directory import RunDirectory, default_name
from consingan_jax.sweeps import sweep
from consingan_jax.tasks import TASKS
from consingan_jax.training import trainer
from consingan_jax.training.stopping import StopFlag

USAGE = """Trains a generative model of one image. The same command again goes on where it stopped.

  consingan train photo.jpg --quick                      minutes on a laptop: see what it does
  consingan train photo.jpg --fast                       the paper's size in a sixth of its time
  consingan train photo.jpg                              as in the paper: hours on a CPU
  consingan train photo.jpg --task=retarget --dry_run    says what the run would be and cost
  consingan train photo.jpg --config.lr_scale=0.5 --config.num_iters=1000
  consingan train --config=FILE.py:quick                 a file with a function get_config
  consingan train --workdir=RUN                          goes on with a run, or with a set
  consingan train FOLDER [--seeds=4]                     a model of each image, of each seed

--config.FIELD=VALUE sets any field of the configuration; --fields lists them."""
VARIANTS = {
    "quick": "A small size for a laptop's CPU.",
    "fast": "The paper's size from cheaper iterations.",
}


def _define(flags: Flags, arguments: Sequence[str]) -> None:
    to: dict[str, Any] = {"flag_values": flags}
    absl_flags.DEFINE_string("workdir", None, "Directory of the run [runs/IMAGE-TASK].", **to)
    absl_flags.DEFINE_bool("dry_run", False, "Say what the run would be and cost, then stop.", **to)
    absl_flags.DEFINE_integer("seeds", 1, "Models of each image.", lower_bound=1, **to)
    absl_flags.DEFINE_integer(
        "stack", 0, "Models of a set that train together at most [as fit].", lower_bound=0, **to
    )
    executor_flags.define(to)
    processes.define(to)
    absl_flags.DEFINE_bool("fields", False, "List all fields of the configuration.", **to)
    _define_choice(flags)
    chosen = Flags()  # what the fields are without --config=FILE depends on these
    _define_choice(chosen)
    absl_flags.DEFINE_string("config", None, "", flag_values=chosen)
    chosen(["train", *arguments], known_only=True)
    if chosen.config is None:
        variant = _variant(chosen)
        define_config(flags, arguments, as_config_dict(Config.create(chosen.task, variant)))
        return
    given = [name for name in ("task", *VARIANTS) if chosen[name].present]
    if given:
        raise InputError(f"--config={chosen.config} and --{given[0]}: give one of them")
    if not pathlib.Path(chosen.config.partition(":")[0]).is_file():
        raise InputError(f"--config={chosen.config}: no such file")
    define_config(flags, arguments, None)


def _define_choice(flags: Flags) -> None:
    absl_flags.DEFINE_string("task", "generation", f"{', '.join(TASKS)}.", flag_values=flags)
    for name, meaning in VARIANTS.items():
        absl_flags.DEFINE_bool(name, False, meaning, flag_values=flags)


def _variant(flags: Flags) -> str:
    """Returns the name of the variant that is asked for, "" if none is."""
    asked = [name for name in VARIANTS if flags[name].value]
    if len(asked) > 1:
        raise InputError(f"--{asked[0]} and --{asked[1]}: give one of them")
    return asked[0] if asked else ""


def _work(flags: Flags, images: Sequence[str]) -> sweep.Sweep | tuple[Config, str]:
    """Returns the sweep to train, or the configuration and the directory of the run.

    A `--workdir` that exists goes on as it is unless images, a task, a variant or `--config=FILE`
    are given. Otherwise several images, a folder, a pattern or `--seeds` train a sweep, and one
    image trains a run.
    """
    if (resumed := _resumed(flags, images)) is not None:
        return resumed
    config = _config(flags, images)
    chosen: Any = flags["config"]
    file = chosen.config_filename  # or the fields, where no file is given
    slug, variant = config.task_spec.slug, _variant(flags)
    if isinstance(file, str):
        path, _, variant = file.partition(":")
        slug = pathlib.Path(path).stem
    if _is_sweep(flags, config, images):
        words = images or [config.images or config.image]
        name = "-".join(filter(None, (_stem(words), slug, variant, "set")))
        workdir = flags.workdir or str(RUNS / name)
        return sweep.Sweep(config, workdir, paths=images, seeds=flags.seeds)
    return config, flags.workdir or str(RUNS / default_name(config, slug, variant))


def _resumed(flags: Flags, images: Sequence[str]) -> sweep.Sweep | tuple[Config, str] | None:
    """Returns the work in `--workdir`; None if there is none, or if flags describe other work."""
    workdir = flags.workdir
    chosen: Any = flags["config"]
    is_described = any(flags[name].present for name in ("task", *VARIANTS))
    if not workdir or images or is_described or isinstance(chosen.config_filename, str):
        return None
    changes = chosen.override_values
    if sweep.is_set(workdir) and not changes.keys() & {"image", "images", "fine_tune"}:
        seeds = flags.seeds if flags["seeds"].present else 0
        return sweep.restored(workdir, seeds=seeds, **changes)
    if restore.is_run(workdir) and not changes.keys() & {"images", "fine_tune"}:
        config = dataclasses.replace(RunDirectory(workdir).config(), **changes)
        _check_files(config, workdir)
        return config, workdir
    return None


def _check_files(config: Config, workdir: str) -> None:
    """Raises an InputError if a picture of a run is gone."""
    for field in () if config.fine_tune else ("image", "mask"):
        path = getattr(config, field)
        if path and not pathlib.Path(path).exists():
            raise InputError(
                f"config.{field}={path}: {missing(path)}; if it has moved, give "
                f"--config.{field}=FILE with --workdir={workdir}"
            )


def _config(flags: Flags, images: Sequence[str]) -> Config:
    """Returns the configuration that the flags and the first image describe."""
    chosen: Any = flags["config"]
    given = flags.config.to_dict() if hasattr(flags.config, "to_dict") else flags.config
    if not isinstance(given, Mapping):
        raise InputError("--config: get_config returns no configuration: return a ConfigDict")
    config = Config.restore(given)
    if images:
        if "image" in chosen.override_values:
            raise InputError(f"image {images[0]} and --config.image: give one of them")
        if restore.is_run(images[0]):
            raise InputError(f"{images[0]} is a run: --workdir={images[0]} goes on with it")
        config = dataclasses.replace(config, image=images[0])
    if config.image and config.images:
        raise InputError(f"image {config.image} and config.images: give one of them")
    if not (config.image or config.images or config.fine_tune):
        raise InputError("an image is missing: give its file, for example photo.jpg")
    return config


def _is_sweep(flags: Flags, config: Config, images: Sequence[str]) -> bool:
    is_many = len(images) > 1 or flags.seeds > 1 or bool(config.images)
    if len(images) == 1 and not pathlib.Path(images[0]).is_file():
        is_many |= pathlib.Path(images[0]).is_dir() or glob.has_magic(images[0])
    return is_many or bool(flags.workdir and sweep.is_set(flags.workdir))


def _stem(words: Sequence[str]) -> str:
    """Returns the name of the file, the folder, or the folder of the files."""
    place = pathlib.Path(words[0]).absolute()
    if len(words) > 1:
        place = place.parent
    if place.exists():
        return place.stem
    return pathlib.Path(*(part for part in place.parts if not glob.has_magic(part))).stem


def _main(flags: Flags, images: Sequence[str]) -> None:
    if flags.fields:
        check_used(flags, {"fields"}, "with --fields")
        for name, default, words, meaning in config.fields():
            print(f"{name:<19}{default:<14}{meaning}" + (f" ({words})" if words else ""))
        return
    processes.check(flags)
    device.divide_cpu(flags.devices)
    work = _work(flags, images)
    if isinstance(work, sweep.Sweep):
        _main_of_sweep(flags, work)
        return
    asked, workdir = work
    of_set = [*executor_flags.FLAGS[1:], "stack"]
    unused = [name for name in of_set if flags[name].present]
    if unused:
        raise InputError(f"--{unused[0]} has no effect on one image: leave it out")
    if flags.dry_run:
        _say_device()
        for line in dry_run.dry_run(asked):
            print(line, flush=True)
        return
    with _stoppable() as request, processes.joined(flags):
        _say_device()
        device.use_compilation_cache(flags.compilation_cache)
        finished = RunDirectory(workdir).is_finished()
        model = trainer.train(asked, workdir, watcher=request, devices=flags.devices)
    print(f"{workdir} {'is finished already' if finished else 'is finished'}", end="; ")
    print(f"reconstruction RMSE {model.reconstruction_rmse():.4f} on [-1, 1]. To use it:")
    print(f"consingan sample {shlex.quote(workdir)} {model.task.sample_hint}")


def _say_device() -> None:
    print(device.describe())
    if warning := device.warning():
        print(warning)


def _main_of_sweep(flags: Flags, runs: sweep.Sweep) -> None:
    if flags.coordinator:
        raise InputError("--coordinator has no effect on a set of images: give --engine=ray")
    if not flags.engine:  # which has other devices, and may need this one's memory
        _say_device()
    if flags.dry_run:
        for line in dry_run.of_set(runs):
            print(line, flush=True)
        return
    device.use_compilation_cache(flags.compilation_cache)
    _train_sweep(runs, flags)


def _train_sweep(runs: sweep.Sweep, flags: Flags) -> None:
    engine = executor_flags.executor_of(flags) or LOCAL
    about: dict[str, Any] = {"stack": flags.stack, "devices": flags.devices}
    about |= {"measure": evaluation.quick_metrics, "say": tqdm.tqdm.write}
    if flags.engine:  # an interruption ends its tasks, whose checkpoints stay
        runs.train(engine=engine, **about)
    else:
        with _stoppable() as request:
            runs.train(watcher=request, **about)
    number, failed = len(runs.members), len(runs.errors)
    print(f"{number - len(runs.left())} of {number} runs are finished: {runs.path}/index.html")
    if failed:
        name, error = next(iter(runs.errors.items()))
        others = f"; and {failed - 1} more, all in {runs.path}/summary.csv" if failed > 1 else ""
        raise InputError(f"{name} failed: {error}{others}")


@contextlib.contextmanager
def _stoppable() -> Iterator[StopFlag]:
    """Yields a watcher that hears signals; a training that they stop ends the process."""
    with signals.listening() as request:
        try:
            yield request
        except StoppedError as error:
            print(f"consingan train: {error}", file=sys.stderr)
            signals.end(request.signal or signal.SIGTERM)
            raise


COMMAND = Command(USAGE, _define, _main)
