"""The algorithm: stage by stage, each started from the one below (paper, section 3)."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import jax
import numpy as np

from consingan_jax import checkpoint, numerics
from consingan_jax.config import Config
from consingan_jax.errors import DivergedError, InputError
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load
from consingan_jax.training import beside
from consingan_jax.training.compiler import Compiler
from consingan_jax.training.job import Job, prepare
from consingan_jax.training.recorder import Recorder
from consingan_jax.training.stage import Stage, Stages
from consingan_jax.training.watch import Watcher
from consingan_jax.training.workdir import Workdir

MOST_RETRIES = 3  # of a run that diverges


@numerics.independent
def train(
    image: str | os.PathLike | Config | Mapping[str, Any],
    workdir: str | os.PathLike,
    *,
    task: str = "generation",
    variant: str = "",
    watcher: Watcher | None = None,
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
        watcher: is called with a `Moment` every few seconds; the training stops where it returns
            True. The same call again goes on from there.
        changes: fields of the configuration that differ from the task's.

    Returns:
        The finished model, which is also in `workdir`.

    Raises:
        InputError: the configuration, the image or the directory cannot work; nothing is written.
        DivergedError: the training failed; the last good checkpoint is kept.
        StoppedError: the watcher said so; the state is kept.
    """
    if isinstance(image, Config) or hasattr(image, "keys"):
        if (task, variant, changes) != ("generation", "", {}):
            raise InputError("a whole configuration was given: change its fields instead")
        config = image if isinstance(image, Config) else Config.create(**cast(Mapping, image))
    else:
        config = Config.create(task, variant, image=image, **changes)
    run, job = Workdir(workdir), prepare(config)
    run.check(job)
    if not run.is_finished():
        with run.claim(job):
            if not run.is_finished():  # by the process that held it before
                _train(job, run, watcher).save(run.model)
    return load(run.path)  # should the model be damaged, its last checkpoint has the same


def _train(job: Job, run: Workdir, watcher: Watcher | None) -> Model:
    """Trains all stages of a run that are not trained yet."""
    retries, news = 0, list(job.warnings)
    while True:
        try:
            return _attempt(job, run, watcher, retries, news)
        except DivergedError as error:
            retries = error.retries + 1
            if job.config.on_divergence == "stop" or retries > MOST_RETRIES:
                raise DivergedError(_advice(error, run), error.retries) from None
            news = [f"{error}; retry {retries} of {MOST_RETRIES}: new noise, half the rates"]


def _attempt(
    job: Job, run: Workdir, watcher: Watcher | None, retries: int, news: Iterable[str]
) -> Model:
    """Returns the model of a run that goes on from its last checkpoint."""
    stages, last, stage = _begin(job, run, retries)
    compiler = Compiler(stages.program)
    recorder = Recorder(stages.job, run, (stage.number, stage.done), watcher)
    with recorder, contextlib.closing(compiler):
        recorder.say([*news, *_news(last)])
        while True:
            stage = _train_stage(stage, stages, compiler, recorder)
            if stage.number + 1 == len(stages):
                return stage.model()
            stage = recorder.aside(functools.partial(stages.grown, stage), stage)


def _begin(job: Job, run: Workdir, retries: int) -> tuple[Stages, pathlib.Path | None, Stage]:
    """Returns the stages of a run, and the one to go on from with its checkpoint if it has one."""

    def restored(path: pathlib.Path) -> tuple[Stages, pathlib.Path, Stage]:
        before = checkpoint.metadata(path).get("retries", 0)
        stages = Stages(job, max(retries, before))
        return stages, path, stages.restored(path)

    read = checkpoint.read_latest(run.checkpoints, restored)
    if read is not None:
        return read
    stages = Stages(job, retries)
    return stages, None, stages.first() if job.source is None else stages.fine_tuned(job.source)


def _news(last: pathlib.Path | None) -> Iterator[str]:
    """Yields where a run goes on, and what changes if an earlier version has begun it."""
    if last is None:
        return
    about = checkpoint.metadata(last)
    yield f"goes on at stage {len(about['sizes'])}, iteration {about['step']} ({last.name})"
    if about["format"] == 1:
        yield (
            f"{last} is of format 1: the run keeps its fixed input, and from here on draws its "
            "noise by place, as format 2 does"
        )


def _train_stage(stage: Stage, stages: Stages, compiler: Compiler, recorder: Recorder) -> Stage:
    """Returns a stage at its end."""
    recorder.catch_up(stage)
    if stage.done == stage.iterations:
        return stage
    recorder.compiling(stage)
    run = beside.result(compiler.begin(stage.number), lambda: recorder.attend(stage))
    recorder.compiled()
    if stage.number + 1 < len(stages):
        compiler.begin(stage.number + 1)  # compiled beside this stage's iterations
    key = stages.keys(stage.number)[1]
    while stage.done < stage.iterations:
        count = recorder.iterations_of_call(stage)
        state, metrics = run(stage.state, stage.data, key, np.int32(count))
        stage = stage.after(state)
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not values.pop("finite"):
            bad = [name for name, value in values.items() if not np.isfinite(value)]
            raise DivergedError(
                f"the training diverged at stage {stage.number}, iteration {stage.done}: "
                f"{', '.join(bad) or 'a parameter'} is not a finite number",
                stage.retries,
            )
        recorder.after_call(stage, values)
    compiler.drop(stage.number)
    return stage


def _advice(error: DivergedError, run: Workdir) -> str:
    kept = checkpoint.latest_step(run.checkpoints) or "no checkpoint yet"
    retry = "" if error.retries else ", or --config.on_divergence=retry"
    after = f", after {error.retries} retries" if error.retries else ""
    return f"{error}{after}. Kept: {kept}. Try a smaller lr_generator, lr_critic or lr_scale{retry}"
