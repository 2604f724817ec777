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


def _asked_for(flags: Flags, images: Sequence[str]) -> tuple[Config, str]:
    """Returns the configuration and the directory that the flags ask for; of a set its own."""
    given = flags.config.to_dict() if hasattr(flags.config, "to_dict") else flags.config
    if not isinstance(given, Mapping):
        raise InputError("--config: get_config returns no configuration: return a ConfigDict")
    asked = Config.restore(given)
    chosen: Any = flags["config"]
    if images:
        if "image" in chosen.override_values:
            raise InputError(f"image {images[0]} and --config.image: give one of them")
        if restore.is_run(images[0]):
            raise InputError(f"{images[0]} is a run: --workdir={images[0]} goes on with it")
        asked = dataclasses.replace(asked, image=images[0])
    if asked.image and asked.images:
        raise InputError(f"image {asked.image} and config.images: give one of them")
    needs_image = not (asked.image or asked.images or asked.fine_tune)
    says_image = "image" in chosen.override_values and not isinstance(chosen.config_filename, str)
    if (needs_image or says_image) and flags.workdir and _goes_on(flags):
        return _that_goes_on(flags.workdir, chosen.override_values), flags.workdir
    if needs_image:
        raise InputError("an image is missing: give its file, for example photo.jpg")
    slug, variant = asked.task_spec.slug, _variant(flags)
    if isinstance(chosen.config_filename, str):  # else the fields were given, not a file
        path, _, variant = chosen.config_filename.partition(":")
        slug = pathlib.Path(path).stem
    if not is_many(flags, asked, images):
        return asked, flags.workdir or str(RUNS / default_name(asked, slug, variant))
    place = pathlib.Path(images[0] if images else asked.images)
    parts = [part for part in place.absolute().parts if not glob.has_magic(part)]
    is_one = len(images) < 2 and (place.exists() or not glob.has_magic(str(place)))
    stem = place.stem if is_one else (place.absolute().parent.name if place.exists() else parts[-1])
    name = "-".join(part for part in (stem, slug, variant, "set") if part)
    return asked, flags.workdir or str(RUNS / name)


def _that_goes_on(workdir: str, changes: Mapping[str, Any]) -> Config:
    """Returns the configuration of a run, with changes; its pictures must still be there."""
    asked = dataclasses.replace(RunDirectory(workdir).config(), **changes)
    if not asked.fine_tune:
        for field in ("image", "mask"):
            path = getattr(asked, field)
            if path and not pathlib.Path(path).exists():
                raise InputError(
                    f"config.{field}={path}: {missing(path)}; if it has moved, give "
                    f"--config.{field}=FILE with --workdir={workdir}"
                )
    return asked


def is_many(flags: Flags, config: Config, images: Sequence[str]) -> bool:
    """Returns whether a set of runs is asked for."""
    is_word = len(images) == 1 and not pathlib.Path(images[0]).is_file()
    is_folder = is_word and (pathlib.Path(images[0]).is_dir() or glob.has_magic(images[0]))
    several = bool(config.images) or flags.seeds > 1 or len(images) > 1 or is_folder
    return several or _names_set(flags)


def _names_set(flags: Flags) -> bool:
    return bool(flags.workdir) and sweep.is_set(flags.workdir)


def _says_what(flags: Flags) -> bool:
    """Returns whether flags say what the run is for."""
    return any(flags[name].present for name in ("task", *VARIANTS))


def _goes_on(flags: Flags) -> bool:
    """Returns whether a run is named that can say itself what it is."""
    return restore.is_run(flags.workdir) and not _says_what(flags)


def _set_that_goes_on(flags: Flags, images: Sequence[str]) -> sweep.Sweep | None:
    """Returns the set that is named where nothing says which images, if it is one."""
    chosen: Any = flags["config"]
    says = _says_what(flags) or flags["config"].present
    says |= any(name in chosen.override_values for name in ("image", "images", "fine_tune"))
    if images or says or not _names_set(flags):
        return None
    seeds = flags.seeds if flags["seeds"].present else 0
    return sweep.restored(flags.workdir, seeds=seeds, **chosen.override_values)


def _main(flags: Flags, images: Sequence[str]) -> None:
    if flags.fields:
        check_used(flags, {"fields"}, "with --fields")
        for name, default, words, meaning in config.fields():
            print(f"{name:<19}{default:<14}{meaning}" + (f" ({words})" if words else ""))
        return
    processes.check(flags)
    device.divide_cpu(flags.devices)
    if known := _set_that_goes_on(flags, images):
        _main_of_set(flags, known)
        return
    asked, workdir = _asked_for(flags, images)
    if is_many(flags, asked, images):
        _main_of_set(flags, sweep.Sweep(asked, workdir, paths=images, seeds=flags.seeds))
        return
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


def _main_of_set(flags: Flags, many: sweep.Sweep) -> None:
    if flags.coordinator:
        raise InputError("--coordinator has no effect on a set of images: give --engine=ray")
    if not flags.engine:  # which has other devices, and may need this one's memory
        _say_device()
    if flags.dry_run:
        for line in dry_run.of_set(many):
            print(line, flush=True)
        return
    device.use_compilation_cache(flags.compilation_cache)
    _train_set(many, flags)


def _train_set(many: sweep.Sweep, flags: Flags) -> None:
    engine = executor_flags.executor_of(flags) or LOCAL
    about: dict[str, Any] = {"stack": flags.stack, "devices": flags.devices}
    about |= {"measure": evaluation.quick_metrics, "say": tqdm.tqdm.write}
    if flags.engine:  # an interruption ends its tasks, whose checkpoints stay
        many.train(engine=engine, **about)
    else:
        with _stoppable() as request:
            many.train(watcher=request, **about)
    number, failed = len(many.members), len(many.errors)
    print(f"{number - len(many.left())} of {number} runs are finished: {many.path}/index.html")
    if failed:
        name, error = next(iter(many.errors.items()))
        others = f"; and {failed - 1} more, all in {many.path}/summary.csv" if failed > 1 else ""
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
