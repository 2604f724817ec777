"""Decides when a run logs metrics, draws samples, saves checkpoints and reports progress."""

import functools
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import tqdm

from consingan_jax import checkpoint
from consingan_jax.errors import StoppedError
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.runs.logger import ProgressBar, stage_name
from consingan_jax.training import background, estimate, run_logger
from consingan_jax.training.process_group import ProcessGroup
from consingan_jax.training.progress import Progress
from consingan_jax.training.run_logger import COMPOSITES, SAMPLES, RunLogger
from consingan_jax.training.stage import StageState

# Duration of a call of the compiled loop. Between calls the bar moves and the stop flag is polled.
SECONDS_PER_CALL = 1.0
GRID_SAMPLES = 8  # samples in a grid, besides the training image

_T = TypeVar("_T")


class Callbacks:
    """The actions of one run between calls of the compiled loop.

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
        """Opens the logs of a run that continues at `moment`, a stage and an iteration of it.

        The composite of `inputs`, if any, is harmonized whenever metrics are logged.
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.close()
        self._bar.close()
        if self._logger is not None:
            self._logger.close(hide_errors=kind is not None)

    def print(self, lines: Iterable[str]) -> None:
        """Prints lines above the progress bar."""
        for line in lines if self._logger is not None else ():
            tqdm.tqdm.write(line)

    def compiling(self, stage: StageState, num_runs: int = 1) -> None:
        """Reports that the loop of a stage is being compiled.

        The bar shows the progress of `num_runs` runs; 0 if that of another run shows them all.
        """
        height, width = self._sizes[stage.number]
        runs = f"{num_runs} runs, " if num_runs > 1 else ""
        name = stage_name(stage.number, len(self._sizes))
        self._title, self._metrics = f"{runs}{name}, {height}x{width} px", None
        is_shown = num_runs > 0 and self._logger is not None
        title = f"{self._title}: compiling"
        self._bar.start(stage.number, stage.done, title, is_shown=is_shown)
        if self._logger is not None:
            self._logger.metrics.start()

    def compiled(self) -> None:
        """Reports that the iterations start."""
        self._bar.begin(self._title)
        self._saved_at = time.monotonic()

    def iterations_of_call(self, stage: StageState) -> int:
        """Returns the iterations of the next call: about a second, ending when output is due."""
        marks = (stage.iterations, self._config.log_every, self._config.sample_every)
        due = min(mark - stage.done % mark for mark in marks)
        seconds = self._bar.seconds_per_iteration()
        # The first call of a stage is one iteration, which measures how long one takes.
        return min(due, max(1, int(SECONDS_PER_CALL / seconds))) if seconds else 1

    def log(self, stage: StageState, metrics: Mapping[str, float]) -> None:
        """Moves the bar, and logs the metrics of the last iteration if they are due."""
        self._metrics = metrics
        self._bar.advance(stage.done, metrics)
        if self._logger is not None and _is_due(stage, self._config.log_every):
            self._logger.metrics.write(stage.number, stage.done, metrics)

    def after_call(self, stage: StageState) -> None:
        """Draws samples and saves a checkpoint if they are due."""
        if self._logger is None:
            return
        self._bar.describe(f"{self._title}: pictures")
        drawn = self._draw(stage)
        self._bar.describe(self._title)
        at_end = stage.done == stage.iterations
        if at_end or time.monotonic() - self._saved_at > 60 * self._config.checkpoint_minutes:
            self._save(stage)
        is_last = at_end and stage.number + 1 == len(self._sizes)
        if drawn and not is_last:  # closing the logs writes the page of a finished run
            self._logger.page.write()

    def restart_clock(self) -> None:
        """Excludes the time since the last call from the measured time of an iteration."""
        self._bar.restart_clock()

    def draw_missing(self, stage: StageState) -> None:
        """Draws the pictures due at this iteration that an interrupted run has not drawn."""
        if stage.done and self._logger is not None:
            self._draw(stage, only_missing=True)

    def run_polling(self, work: Callable[[], _T], stage: StageState) -> _T:
        """Returns the result of `work`, which runs in a background thread, and polls meanwhile."""
        return background.wait(self._thread.submit(work), lambda: self.poll(stage))

    def poll(self, stage: StageState) -> None:
        """Reports the progress to the callback.

        Raises:
            StoppedError: the callback or a signal stops the training; the state is saved. In a
                group of processes `ProcessGroup.sync_counts` raises it, in all of them at once.
        """
        if self._group.stop(self._progress(stage)) and self._group.size == 1:
            self.save_changed(stage)
            kept = checkpoint.latest_step(self.directory.checkpoints)
            words = "nothing is trained yet" if kept is None else f"kept: {kept}"
            raise StoppedError(f"the training in {self.directory.path} was stopped; {words}")

    def save_changed(self, stage: StageState) -> None:
        """Saves a checkpoint if any iteration was made since the stage began or was restored."""
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
        model = functools.cache(stage.model)  # copies the state from the device, if anything is due

        def is_due(file: pathlib.PurePath, every: int) -> bool:
            return _is_due(stage, every) and (not only_missing or logger.is_missing(file))

        file = run_logger.picture_file(COMPOSITES, stage)
        if composite is not None and is_due(file, self._config.log_every):
            logger.composite(stage, self.run_polling(lambda: model().harmonize(composite), stage))
        draws_samples = is_due(run_logger.picture_file(SAMPLES, stage), self._config.sample_every)
        if draws_samples:
            samples = self.run_polling(lambda: [*model().samples(0, GRID_SAMPLES)], stage)
            logger.samples(stage, model().real[0], samples)
        if is_due(run_logger.reconstruction_file(stage), stage.iterations):
            picture = self.run_polling(lambda: model().reconstruct()[0], stage)
            logger.reconstruction(stage, picture)
        return draws_samples


def _is_due(stage: StageState, every: int) -> bool:
    return stage.done == stage.iterations or stage.done % every == 0
