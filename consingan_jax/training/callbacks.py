"""Decides when a run logs, draws, saves and reports its progress."""

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import numpy as np
import tqdm

from consingan_jax import checkpoint
from consingan_jax.errors import StoppedError
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.runs.logger import ProgressBar, stage_name
from consingan_jax.training import background, estimate, run_logger
from consingan_jax.training.process_group import ProcessGroup
from consingan_jax.training.progress import Progress
from consingan_jax.training.run_logger import RunLogger
from consingan_jax.training.stage import StageState

SECONDS_PER_CALL = 1.0  # of the compiled loop: how often the bar moves and the stop flag is polled
GRID_SAMPLES = 8  # besides the training image

_T = TypeVar("_T")


class Callbacks:
    """What happens beside the iterations of one run.

    Only the leading process of a group writes; the others have no logger and show no bar.
    """

    def __init__(
        self,
        inputs: TrainingInputs,
        directory: RunDirectory,
        group: ProcessGroup,
        *,
        moment: tuple[int, int],
    ):
        """Opens the logs.

        Args:
            inputs: of the run; its composite, if any, is harmonized whenever metrics are logged.
            directory: of the run.
            group: the processes that train the run.
            moment: stage and iteration from which the run goes on.
        """
        self.directory, self._group = directory, group
        self._inputs, self._config, self._sizes = inputs, inputs.config, inputs.sizes
        stages = range(len(self._sizes))
        operations = [
            estimate.operations(self._config, inputs.arch, self._sizes[: k + 1]) for k in stages
        ]
        iterations = [self._config.stage(k).num_iters for k in stages]
        self._bar = ProgressBar(operations, iterations=iterations)
        self._thread = background.Thread()
        self._logger: RunLogger | None = None
        if group.leads:
            self._logger = RunLogger(directory, iterations=iterations, moment=moment)
        self._metrics: Mapping[str, float] | None = None  # None until the stage has iterated

    def __enter__(self) -> "Callbacks":
        return self

    def __exit__(self, kind, *_) -> None:
        self._thread.close()
        self._bar.close()
        if self._logger is not None:
            self._logger.close(hide_errors=kind is not None)

    def say(self, lines: Iterable[str]) -> None:
        """Prints lines above the progress bar."""
        for line in lines if self._logger is not None else ():
            tqdm.tqdm.write(line)

    def compiling(self, stage: StageState, num_runs: int = 1) -> None:
        """Reports that the loop of a stage is being compiled.

        Args:
            stage: the stage.
            num_runs: how many runs the bar stands for; 0: the bar of another run stands for it.
        """
        height, width = self._sizes[stage.number]
        runs = f"{num_runs} runs, " if num_runs > 1 else ""
        name = stage_name(stage.number, len(self._sizes))
        self._title, self._metrics = f"{runs}{name}, {height}x{width} px", None
        is_shown = num_runs > 0 and self._logger is not None
        title = f"{self._title}: compiling"
        self._bar.start(stage.number, stage.done, title, is_shown=is_shown)
        if self._logger is not None:
            self._logger.start_clock()

    def compiled(self) -> None:
        """Reports that the iterations start now."""
        self._bar.begin(self._title)
        self._saved_at = time.monotonic()

    def iterations_of_call(self, stage: StageState) -> int:
        """Returns how many iterations to make at once: a second's work, up to what is due next."""
        marks = (stage.iterations, self._config.log_every, self._config.sample_every)
        due = min(mark - stage.done % mark for mark in marks)
        seconds = self._bar.seconds_per_iteration()
        return min(due, max(1, int(SECONDS_PER_CALL / seconds))) if seconds else 1

    def log(self, stage: StageState, metrics: Mapping[str, float]) -> None:
        """Moves the bar, and logs the metrics of the last iteration when they are due."""
        self._metrics = metrics
        self._bar.advance(stage.done, metrics)
        if self._logger is not None and _is_due(stage, self._config.log_every):
            self._logger.metrics(stage, metrics)

    def after_call(self, stage: StageState) -> None:
        """Draws and saves what is due."""
        if self._logger is None:
            return
        self._bar.describe(f"{self._title}: pictures")
        drawn = self._draw(stage)
        self._bar.describe(self._title)
        at_end = stage.done == stage.iterations
        if at_end or time.monotonic() - self._saved_at > 60 * self._config.checkpoint_minutes:
            self._save(stage)
        is_last = at_end and stage.number + 1 == len(self._sizes)
        if drawn and not is_last:  # at the very end the page is written when the logs are closed
            self._logger.page()

    def restart_clock(self) -> None:
        """Excludes the time since the last call from the time of an iteration."""
        self._bar.restart_clock()

    def catch_up(self, stage: StageState) -> None:
        """Draws the pictures of the moment at which the run was stopped before they were drawn."""
        if stage.done and self._logger is not None:
            self._draw(stage, only_missing=True)

    def aside(self, work: Callable[[], _T], stage: StageState) -> _T:
        """Returns the result of `work`, which may take long, and polls as `poll` does meanwhile."""
        return background.result(self._thread.begin(work), lambda: self.poll(stage))

    def poll(self, stage: StageState) -> None:
        """Reports the progress.

        Raises:
            StoppedError: the training is asked to stop; the state is saved. Several processes stop
                together, at the next call of the loop.
        """
        if self._group.stop(self._progress(stage)) and self._group.size == 1:
            self.keep(stage)
            kept = checkpoint.latest_step(self.directory.checkpoints)
            words = "nothing is trained yet" if kept is None else f"kept: {kept}"
            raise StoppedError(f"the training in {self.directory.path} was stopped; {words}")

    def keep(self, stage: StageState) -> None:
        """Saves the state, if iterations have changed it."""
        if self._metrics is not None:
            self._save(stage)

    def _save(self, stage: StageState) -> None:
        if self._logger is not None:
            self._logger.checkpoint(stage)
            self._saved_at = time.monotonic()

    def _progress(self, stage: StageState) -> Progress:
        compiling = self._metrics is None
        return Progress(
            stage=stage.number,
            num_stages=len(self._sizes),
            size=self._sizes[stage.number],
            step=stage.done,
            iterations=stage.iterations,
            compiling=compiling,
            share=self._bar.share_done(stage.done),
            seconds_left=None if compiling else self._bar.time_left(stage.done),
            error=None if self._metrics is None else self._metrics["reconstruction_rmse"],
        )

    def _draw(self, stage: StageState, *, only_missing: bool = False) -> bool:
        """Draws the pictures that are due; returns whether a grid of samples is among them."""
        logger, composite = self._logger, self._inputs.composite
        assert logger is not None, "only the leading process draws"
        model = functools.cache(stage.model)  # made if something is due

        def is_due(file, every: int) -> bool:
            return _is_due(stage, every) and (not only_missing or logger.is_missing(file))

        if composite is not None and is_due(
            run_logger.composite_file(stage), self._config.log_every
        ):
            logger.composite(stage, self.aside(lambda: model().harmonize(composite), stage))
        draws_samples = is_due(run_logger.samples_file(stage), self._config.sample_every)
        if draws_samples:
            samples = self.aside(
                lambda: list(map(np.asarray, model().samples(0, GRID_SAMPLES))), stage
            )
            logger.samples(stage, model().real[0], samples)
        if is_due(run_logger.reconstruction_file(stage), stage.iterations):
            picture = self.aside(lambda: model().reconstruct()[0], stage)
            logger.reconstruction(stage, picture)
        return draws_samples


def _is_due(stage: StageState, every: int) -> bool:
    return stage.done == stage.iterations or stage.done % every == 0
