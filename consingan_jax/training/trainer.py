"""Trains one model, or several together: the entry points of this package."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import jax

from consingan_jax import checkpoint, device, numerics
from consingan_jax.config import Config
from consingan_jax.errors import DivergedError, InputError, is_no_room
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.training.loop import train_runs
from consingan_jax.training.process_group import ProcessGroup
from consingan_jax.training.progress import ProgressCallback
from consingan_jax.training.run import TrainingRun
from consingan_jax.training.stopping import interruptible

MAX_RETRIES = 3  # of a run that diverges


@numerics.independent
def train(
    image: str | os.PathLike | Config | Mapping[str, Any],
    workdir: str | os.PathLike,
    *,
    task: str = "generation",
    variant: str = "",
    watcher: ProgressCallback | None = None,
    devices: int = 0,
    **changes: Any,
) -> Model:
    """Trains a model of one image, or resumes where an earlier call was stopped.

        train("photo.jpg", "runs/photo", task="retarget", num_iters=500)

    Args:
        image: file of the training image; or a whole configuration, as a `Config` or a mapping of
            its fields, with which no other field may be given.
        workdir: directory of the run; created if it does not exist.
        task: purpose of the model, a row of the table of tasks.
        variant: a preset of the task, such as "quick".
        watcher: called with a `Progress` about once a second. If it returns True, the training
            stops; the same call resumes it.
        devices: number of devices that share the windows of an iteration (`config.windows`), as far
            as they can be divided evenly; 0 for all available ones.
        changes: fields of the configuration that differ from the task's.

    Returns:
        The finished model, which is also in `workdir`.

    Raises:
        InputError: the configuration, the image or the directory is invalid; nothing is written.
        DivergedError: the training diverged; the last good checkpoint is kept.
        StoppedError: the watcher stopped the training; the state is saved.
        KeyboardInterrupt: Ctrl-C, also in a notebook; the state is saved.
    """
    if isinstance(image, Config) or hasattr(image, "keys"):
        if (task, variant, changes) != ("generation", "", {}):
            raise InputError("a whole configuration was given: change its fields instead")
        config = image if isinstance(image, Config) else Config.create(**cast(Mapping, image))
    else:
        config = Config.create(task, variant, image=image, **changes)
    (result,) = train_together([config], [workdir], watcher=watcher, devices=devices)
    if isinstance(result, Exception):
        raise result
    return result


@numerics.independent
def train_together(
    configs: Sequence[Config],
    workdirs: Sequence[str | os.PathLike],
    *,
    watcher: ProgressCallback | None = None,
    devices: int = 0,
) -> list[Model | Exception]:
    """Trains several models; those whose pyramids have equal sizes train in one program.

    Each equals the model that `train` gives: exactly on a CPU, and elsewhere up to rounding if a
    device trains several.

    Args:
        configs: configurations of the runs, equal but for image and seed.
        workdirs: their directories.
        watcher: as for `train`, called for each run; to stop one stops all.
        devices: as for `train`.

    Returns:
        For each run its model, or the InputError, DivergedError or OSError with which it failed.

    Raises:
        InputError: there are fewer devices.
        StoppedError: the watcher stopped the training; all states are saved.
        KeyboardInterrupt: Ctrl-C, in the main thread; all states are saved. A second one ends the
            training at once.
    """
    selected = device.select_devices(devices)
    results: dict[int, Model | Exception] = {}
    runs: dict[int, TrainingRun] = {}
    with interruptible(watcher) as stop, contextlib.ExitStack() as locks:
        group = ProcessGroup(stop)
        for i, (config, workdir) in enumerate(zip(configs, workdirs, strict=True)):
            with _fault_as_result(results, i):
                begun = _begin(config, RunDirectory(workdir), selected, group, locks)
                if isinstance(begun, Model):
                    results[i] = begun
                else:
                    runs[i] = begun
        faults = (result for result in results.values() if isinstance(result, Exception))
        _begin_together(list(runs.values()), group, next(faults, None))
        train_runs(list(runs.values()), selected, group)
        for i, run in runs.items():
            with _fault_as_result(results, i):
                results[i] = _end(run, selected, group)
        group.end()
    return [results[i] for i in range(len(configs))]


@contextlib.contextmanager
def _fault_as_result(results: dict[int, Model | Exception], i: int) -> Iterator[None]:
    """Makes an error of run i its result, so that it does not stop the others."""
    try:
        yield
    except (DivergedError, InputError, OSError) as error:
        if is_no_room(error):  # a full disk stops all
            raise
        results[i] = error


def _begin(
    config: Config,
    directory: RunDirectory,
    devices: Sequence[jax.Device],
    group: ProcessGroup,
    locks: contextlib.ExitStack,
) -> TrainingRun | Model:
    """Returns a run, whose directory is locked from now on; or the model of a finished one."""
    inputs = load_inputs(config)
    group.check(inputs.config, devices)
    directory.check(inputs)
    if not directory.is_finished() and group.leads:
        locks.enter_context(directory.acquire(inputs))
    if directory.is_finished():  # maybe by the process that had locked it
        return load(directory.path)
    return TrainingRun(inputs, directory, group, messages=inputs.warnings)


def _end(run: TrainingRun, devices: Sequence[jax.Device], group: ProcessGroup) -> Model:
    """Returns the model of a trained run, and saves it."""
    model = _after_retries(run, devices, group).stage.model()
    if not group.leads:
        return model
    model.save(run.directory.model)
    return load(run.directory.path)  # falls back to the last checkpoint if the model is damaged


def _after_retries(
    run: TrainingRun, devices: Sequence[jax.Device], group: ProcessGroup
) -> TrainingRun:
    """Returns the run if it is trained, else a new one that is, from its last checkpoint."""
    config, directory = run.inputs.config, run.directory
    while error := run.fault:
        retries = error.retries + 1
        if config.on_divergence == "stop" or retries > MAX_RETRIES:
            raise DivergedError(_advice(error, directory), error.retries)
        messages = [f"{error}; retry {retries} of {MAX_RETRIES}: new noise, half the rates"]
        run = TrainingRun(run.inputs, directory, group, retries=retries, messages=messages)
        _begin_together([run], group)
        train_runs([run], devices, group)
    return run


def _begin_together(
    runs: Sequence[TrainingRun], group: ProcessGroup, fault: Exception | None = None
) -> None:
    """Waits for the other processes to start; closes the logs if one cannot."""
    moments = [(run.stage.number, run.stage.done) for run in runs]
    with contextlib.ExitStack() as opened:
        for run in runs:
            opened.push(run.callbacks)
        group.begin(fault, next(iter(moments), (-1, -1)))
        opened.pop_all()


def _advice(error: DivergedError, directory: RunDirectory) -> str:
    kept = checkpoint.latest_step(directory.checkpoints) or "no checkpoint yet"
    retry = "" if error.retries else ", or --config.on_divergence=retry"
    after = f", after {error.retries} retries" if error.retries else ""
    return f"{error}{after}. Kept: {kept}. Try a smaller lr_generator, lr_critic or lr_scale{retry}"
