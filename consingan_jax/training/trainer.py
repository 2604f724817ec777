"""Trains one model, or several together."""

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

MOST_RETRIES = 3  # of a run that diverges


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
    """Trains a model of one image, or goes on where an earlier call was stopped.

        train("photo.jpg", "runs/photo", task="retarget", num_iters=500)

    Args:
        image: file of the training image. Or a whole configuration, as a `Config` or a mapping of
            its fields; then no further argument but `workdir` is taken.
        workdir: directory of the run; made if it is not there.
        task: what the model is for, a row of the table of tasks.
        variant: other settings that the task has, such as "quick".
        watcher: is called with a `Progress` every few seconds; the training stops where it returns
            True. The same call again goes on from there.
        devices: how many to train on: the windows of an iteration are divided over them as far as
            they can be (`config.windows`); 0: all that are there.
        changes: fields of the configuration that differ from the task's.

    Returns:
        The finished model, which is also in `workdir`.

    Raises:
        InputError: the configuration, the image or the directory cannot work; nothing is written.
        DivergedError: the training failed; the last good checkpoint is kept.
        StoppedError: the watcher said so; the state is kept.
        KeyboardInterrupt: Ctrl-C, as in a notebook; the state is kept.
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
    """Trains several models, those whose pyramids have the same shapes in one program.

    Each equals the one that `train` makes: up to rounding where a device has several, which on a
    CPU it has not.

    Args:
        configs: of the runs, alike but for image and seed.
        workdirs: their directories.
        watcher: as for `train`, called for each run; where it stops one, all are stopped.
        devices: as for `train`.

    Returns:
        For each run its model, or the InputError, DivergedError or OSError that stands in its way.

    Raises:
        InputError: so many devices are not there.
        StoppedError: the watcher said so; the states are kept.
        KeyboardInterrupt: Ctrl-C, in the main thread; the states are kept. A second one while they
            are being saved ends at once.
    """
    places = device.select_devices(devices)
    results: dict[int, Model | Exception] = {}
    runs: dict[int, TrainingRun] = {}
    with interruptible(watcher) as stop, contextlib.ExitStack() as held:
        group = ProcessGroup(stop)
        for i, (config, workdir) in enumerate(zip(configs, workdirs, strict=True)):
            with _fault_as_result(results, i):
                begun = _begin(config, RunDirectory(workdir), places, group, held)
                if isinstance(begun, Model):
                    results[i] = begun
                else:
                    runs[i] = begun
        faults = (result for result in results.values() if isinstance(result, Exception))
        _agree(list(runs.values()), group, next(faults, None))
        train_runs(list(runs.values()), places, group)
        for i, run in runs.items():
            with _fault_as_result(results, i):
                results[i] = _end(run, places, group)
        group.end()
    return [results[i] for i in range(len(configs))]


@contextlib.contextmanager
def _fault_as_result(results: dict[int, Model | Exception], i: int) -> Iterator[None]:
    """Lets what stands in the way of one run be its result, and stop no other."""
    try:
        yield
    except (DivergedError, InputError, OSError) as error:
        if is_no_room(error):
            raise
        results[i] = error


def _begin(
    config: Config,
    directory: RunDirectory,
    devices: Sequence[jax.Device],
    group: ProcessGroup,
    held: contextlib.ExitStack,
) -> TrainingRun | Model:
    """Returns a run under way, and acquires its directory; or its model, if it is finished."""
    inputs = load_inputs(config)
    group.check(inputs.config, devices)
    directory.check(inputs)
    if not directory.is_finished() and group.leads:
        held.enter_context(directory.acquire(inputs))
    if directory.is_finished():  # perhaps by the process that held it before
        return load(directory.path)
    return TrainingRun(inputs, directory, group, news=inputs.warnings)


def _end(run: TrainingRun, devices: Sequence[jax.Device], group: ProcessGroup) -> Model:
    """Returns the model of a trained run; the leading process writes it."""
    model = _retried(run, devices, group).stage.model()
    if not group.leads:
        return model
    model.save(run.directory.model)
    return load(run.directory.path)  # or, should it be damaged, from its last checkpoint


def _retried(run: TrainingRun, devices: Sequence[jax.Device], group: ProcessGroup) -> TrainingRun:
    """Returns a run at its end: a new one, if it has diverged and may try again."""
    config, directory = run.inputs.config, run.directory
    while error := run.fault:
        retries = error.retries + 1
        if config.on_divergence == "stop" or retries > MOST_RETRIES:
            raise DivergedError(_advice(error, directory), error.retries)
        news = [f"{error}; retry {retries} of {MOST_RETRIES}: new noise, half the rates"]
        run = TrainingRun(run.inputs, directory, group, retries=retries, news=news)
        _agree([run], group)
        train_runs([run], devices, group)
    return run


def _agree(
    runs: Sequence[TrainingRun], group: ProcessGroup, fault: Exception | None = None
) -> None:
    """Waits for the other processes to begin; closes the logs if they cannot."""
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
