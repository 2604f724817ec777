"""`consingan train`: trains a model of one image, or a sweep over several."""

import dataclasses
import glob
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, cast

import tqdm
from absl import flags as absl_flags

from consingan_jax import config, device
from consingan_jax.cli import dry_run, executor_flags, processes, signals
from consingan_jax.cli.flags import Command, Flags, as_config_dict, check_used, define_config
from consingan_jax.cli.resolve_run import RUNS
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.files import missing
from consingan_jax.generation import restore
from consingan_jax.measures import evaluation
from consingan_jax.methods import METHODS
from consingan_jax.runs.directory import RunDirectory, default_name
from consingan_jax.sweeps import state, sweep
from consingan_jax.tasks import TASKS
from consingan_jax.training import trainer

USAGE = """Trains a generative model of one image. The same command again resumes the training.

  consingan train photo.jpg --quick                      minutes on a laptop, for a first look
  consingan train photo.jpg --fast                       the paper's size in a seventh of its time
  consingan train photo.jpg                              as in the paper: hours on a CPU
  consingan train photo.jpg --task=retarget --dry_run    prints pyramid and cost only
  consingan train photo.jpg --method=singan              SinGAN instead of ConSinGAN
  consingan train photo.jpg --config.lr_scale=0.5 --config.num_iters=1000
  consingan train --config=FILE.py:quick                 a file with a function get_config
  consingan train --workdir=RUN                          resumes a run or a sweep
  consingan train FOLDER [--seeds=4]                     a sweep: a model of each image and seed

--config.FIELD=VALUE sets any field of the configuration; --fields lists them."""
VARIANTS = {
    "quick": "Small images, for a laptop's CPU.",
    "fast": "The paper's size with cheaper iterations.",
}


def _define(flags: Flags, arguments: Sequence[str]) -> None:
    a, to = absl_flags, cast(dict[str, Any], {"flag_values": flags})
    least = {**to, "lower_bound": 0}
    a.DEFINE_string("workdir", None, "Directory of the run [runs/IMAGE-TASK].", **to)
    a.DEFINE_bool("dry_run", False, "Print the pyramid and the cost, then exit.", **to)
    a.DEFINE_integer("seeds", 1, "Number of models of each image.", **least | {"lower_bound": 1})
    a.DEFINE_integer("stack", 0, "Maximum of models of a sweep trained together [as fit].", **least)
    executor_flags.define(to)
    processes.define(to)
    a.DEFINE_bool("fields", False, "List all fields of the configuration.", **to)
    _define_choice(flags)
    chosen = Flags()  # parsed first: the defaults of --config.FIELD depend on them
    _define_choice(chosen)
    absl_flags.DEFINE_string("config", None, "", flag_values=chosen)
    chosen(["train", *arguments], known_only=True)
    if chosen.config is None:
        variant = _variant(chosen)
        default = Config.create(chosen.task, variant, method=chosen.method)
        define_config(flags, arguments, as_config_dict(default))
        return
    for name in ("task", "method", *VARIANTS):
        if chosen[name].present:
            raise InputError(f"--config={chosen.config} and --{name}: give one of them")
    if not pathlib.Path(chosen.config.partition(":")[0]).is_file():
        raise InputError(f"--config={chosen.config}: no such file")
    define_config(flags, arguments, None)


def _define_choice(flags: Flags) -> None:
    absl_flags.DEFINE_string("task", "generation", "|".join(TASKS), flag_values=flags)
    absl_flags.DEFINE_string("method", "consingan", f"{', '.join(METHODS)}.", flag_values=flags)
    for name, meaning in VARIANTS.items():
        absl_flags.DEFINE_bool(name, False, meaning, flag_values=flags)


def _variant(flags: Flags) -> str:
    """Returns the name of the variant that the flags select, or ""."""
    asked = [name for name in VARIANTS if flags[name].value]
    if len(asked) > 1:
        raise InputError(f"--{asked[0]} and --{asked[1]}: give one of them")
    return asked[0] if asked else ""


def _work(flags: Flags, images: Sequence[str]) -> sweep.Sweep | tuple[Config, str]:
    """Returns the sweep to train, or the configuration and the directory of the run.

    An existing `--workdir` is resumed as it is unless images, a task, a variant or `--config=FILE`
    are given. Otherwise several images, a folder, a pattern or `--seeds` start a sweep, and one
    image a run.
    """
    if resumed := _resumed(flags, images):
        return resumed
    config = _config(flags, images)
    chosen: Any = flags["config"]
    file = chosen.config_filename  # or the fields, where no file is given
    slug, variant = config.slug, _variant(flags)
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
    """Returns the work in `--workdir`; None if there is none or the flags describe new work."""
    workdir = flags.workdir
    chosen: Any = flags["config"]
    is_new = images or any(flags[name].present for name in ("task", "method", *VARIANTS))
    if not workdir or is_new or isinstance(chosen.config_filename, str):
        return None
    changes = chosen.override_values
    if state.is_sweep(workdir) and not changes.keys() & {"image", "images", "fine_tune"}:
        seeds = flags.seeds if flags["seeds"].present else 0
        return sweep.restored(workdir, seeds=seeds, **changes)
    if restore.is_run(workdir) and not changes.keys() & {"images", "fine_tune"}:
        config = dataclasses.replace(RunDirectory(workdir).config(), **changes)
        _check_files(config, workdir)
        return config, workdir
    return None


def _check_files(config: Config, workdir: str) -> None:
    """Raises an InputError if an image file of a run is gone."""
    for field in () if config.fine_tune else ("image", "mask", "exclude"):
        path = getattr(config, field)
        if path and not pathlib.Path(path).exists():
            raise InputError(
                f"config.{field}={path}: {missing(path)}; if it has moved, give "
                f"--config.{field}=FILE with --workdir={workdir}"
            )


def _config(flags: Flags, images: Sequence[str]) -> Config:
    """Returns the configuration from the flags and the first image."""
    chosen: Any = flags["config"]
    given = flags.config.to_dict() if hasattr(flags.config, "to_dict") else flags.config
    if not isinstance(given, Mapping):
        raise InputError("--config: get_config must return a ConfigDict")
    config = Config.restore(given)
    if images:
        if "image" in chosen.override_values:
            raise InputError(f"image {images[0]} and --config.image: give one of them")
        if restore.is_run(images[0]):
            raise InputError(
                f"{images[0]} is a run, not an image: --workdir={images[0]} resumes it"
            )
        config = dataclasses.replace(config, image=images[0])
    if config.image and config.images:
        raise InputError(f"image {config.image} and config.images: give one of them")
    if not (config.image or config.images or config.fine_tune):
        raise InputError("an image is missing: give its file, for example photo.jpg")
    return config


def _is_sweep(flags: Flags, config: Config, images: Sequence[str]) -> bool:
    is_many = len(images) > 1 or flags.seeds > 1 or config.images or any(map(_is_many, images))
    return bool(is_many or (flags.workdir and state.is_sweep(flags.workdir)))


def _is_many(path: str) -> bool:
    is_pattern = glob.has_magic(path) and not pathlib.Path(path).is_file()
    return is_pattern or pathlib.Path(path).is_dir()


def _stem(words: Sequence[str]) -> str:
    """Returns the stem of the file or folder, or of the parent folder of several files."""
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
    else:
        _main_of_run(flags, *work)


def _main_of_run(flags: Flags, asked: Config, workdir: str) -> None:
    for name in (*executor_flags.FLAGS[1:], "stack"):
        if flags[name].present:
            raise InputError(f"--{name} has no effect on one image: leave it out")
    if flags.dry_run:
        _print_device()
        for line in dry_run.dry_run(asked):
            print(line, flush=True)
        return
    with signals.listening() as stop, processes.joined(flags):
        _print_device()
        device.use_compilation_cache(flags.compilation_cache)
        finished = RunDirectory(workdir).is_finished()
        model = trainer.train(asked, workdir, watcher=stop, devices=flags.devices)
    print(f"{workdir} {'is finished already' if finished else 'is finished'}", end="; ")
    print(f"reconstruction RMSE {model.reconstruction_rmse():.4f} on [-1, 1]. To use it:")
    print(f"consingan sample {shlex.quote(workdir)} {model.task.sample_hint}")


def _print_device() -> None:
    print(device.describe())
    if warning := device.warning():
        print(warning)


def _main_of_sweep(flags: Flags, runs: sweep.Sweep) -> None:
    if flags.coordinator:
        raise InputError("--coordinator has no effect on a sweep: give --engine=ray")
    if not flags.engine:  # a cluster has other devices, and may need the memory of this one
        _print_device()
    if flags.dry_run:
        for line in dry_run.of_sweep(runs):
            print(line, flush=True)
        return
    device.use_compilation_cache(flags.compilation_cache)
    options: dict[str, Any] = {"stack": flags.stack, "devices": flags.devices}
    options |= {"measure": evaluation.quick_metrics, "say": tqdm.tqdm.write}
    if cluster := executor_flags.executor_of(flags):
        # Without signal handlers: an interrupt ends the tasks at once, and their checkpoints stay.
        runs.train(engine=cluster, **options)
    else:
        with signals.listening() as stop:
            runs.train(watcher=stop, **options)
    number, left, failed = len(runs.members), len(runs.left()), list(runs.errors.items())
    print(f"{number - left} of {number} runs are finished: {runs.path}/index.html")
    if failed:
        others = f"; {len(failed) - 1} more failed, see {runs.path}/summary.csv"
        name, error = failed[0]
        raise InputError(f"{name} failed: {error}{others if len(failed) > 1 else ''}")


COMMAND = Command(USAGE, _define, _main)
