"""Decides when to log, draw sample grids and save checkpoints."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import numpy as np
import tqdm

from consingan_jax import checkpoint
from consingan_jax.data import display
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.runs.logger import MetricsLog, ProgressBar, stage_name
from consingan_jax.runs.notebook import LivePicture
from consingan_jax.runs.report import Page
from consingan_jax.training import background, estimate
from consingan_jax.training.progress import Progress, ProgressCallback
from consingan_jax.training.stage import StageState

SECONDS_PER_CALL = 1.0  # of the compiled loop: how often the bar moves, and who stops it is heard
GRID_SAMPLES = 8  # besides the training image

_T = TypeVar("_T")


class Callbacks:
    """Metrics, progress, sample grids, reconstructions and checkpoints of one run."""

    def __init__(
        self,
        inputs: TrainingInputs,
        run: RunDirectory,
        moment: tuple[int, int],
        watcher: ProgressCallback | None = None,
        *,
        is_silent: bool = False,
    ):
        """Opens the logs.

        Args:
            inputs: what the run works on; to its composite, if there is one, the model is applied
                whenever metrics are logged.
            run: its directory.
            moment: the stage that trains next, and its iterations that are done; what was
                logged after it is forgotten.
            watcher: is told where the training is, and may stop it.
            is_silent: whether another process records the run and this one leaves nothing.
        """
        self.run = run
        self._watcher = watcher
        self._job, self._config, self._sizes = inputs, inputs.config, inputs.sizes
        stages = range(len(self._sizes))
        operations = [
            estimate.operations(inputs.config, inputs.arch, self._sizes[: k + 1]) for k in stages
        ]
        iterations = [inputs.config.stage(k).num_iters for k in stages]
        self._progress = ProgressBar(operations, iterations=iterations)
        self._is_silent = is_silent
        if not is_silent:
            self._log = MetricsLog(run.path, iterations=iterations, moment=moment)
        self._page, self._live = Page(run.path), LivePicture()
        self._thread = background.Thread()
        self._metrics: Mapping[str, float] | None = None  # of the last iteration of this stage
        self._kept = moment

    def __enter__(self) -> "Callbacks":
        return self

    def __exit__(self, kind, *_) -> None:
        self._thread.close()
        self._progress.close()
        if self._is_silent:
            return
        self._log.close()
        # What ended the training is what the user must hear of.
        with contextlib.suppress(*([] if kind is None else [OSError, InputError])):
            self._page.write()

    def say(self, lines: Iterable[str]) -> None:
        """Says something, each a line of its own beside the progress bar."""
        for line in () if self._is_silent else lines:
            tqdm.tqdm.write(line)

    def compiling(self, stage: StageState, num_runs: int = 1) -> None:
        """Says that the loop of a stage is being compiled.

        Args:
            stage: the stage.
            num_runs: of how many runs the progress is shown; 0: another recorder shows it.
        """
        height, width = self._sizes[stage.number]
        runs = f"{num_runs} runs, " if num_runs > 1 else ""
        name = stage_name(stage.number, len(self._sizes))
        self._title = f"{runs}{name}, {height}x{width} px"
        self._metrics = None
        title = f"{self._title}: compiling"
        is_shown = num_runs > 0 and not self._is_silent
        self._progress.start(stage.number, stage.done, title, is_shown=is_shown)
        if not self._is_silent:
            self._log.start()

    def aside(self, work: Callable[[], _T], stage: StageState) -> _T:
        """Returns what `work` returns, which may take long; meanwhile attends as `attend` does."""
        return background.result(self._thread.begin(work), lambda: self.attend(stage))

    def attend(self, stage: StageState) -> None:
        """Tells the watcher where the training is.

        Raises:
            StoppedError: the watcher says so; the state is kept.
        """
        if self._is_told_to_stop(stage):
            raise self.stopped(stage)

    def stopped(self, stage: StageState) -> StoppedError:
        """Saves the state and returns what says where it is."""
        self.keep(stage)
        kept = checkpoint.latest_step(self.run.checkpoints)
        words = "nothing is trained yet" if kept is None else f"kept: {kept}"
        return StoppedError(f"the training in {self.run.path} was stopped; {words}")

    def keep(self, stage: StageState) -> None:
        """Saves the state, if iterations have changed it."""
        if self._metrics is not None:
            self._save(stage)

    def compiled(self) -> None:
        """Says that its iterations start now."""
        self._progress.begin(self._title)
        self._saved = time.monotonic()

    def iterations_of_call(self, stage: StageState) -> int:
        """Returns how many iterations to make at once: a moment's work, up to what is due next."""
        marks = (stage.iterations, self._config.log_every, self._config.sample_every)
        due = min(mark - stage.done % mark for mark in marks)
        seconds = self._progress.seconds_per_iteration()
        return min(due, max(1, int(SECONDS_PER_CALL / seconds))) if seconds else 1

    def log(self, stage: StageState, metrics: Mapping[str, float]) -> None:
        """Reports.

        Args:
            stage: as it is now.
            metrics: of the last iteration.
        """
        self._metrics = metrics
        self._progress.advance(stage.done, metrics)
        due = stage.done == stage.iterations or stage.done % self._config.log_every == 0
        if due and not self._is_silent:
            self._log.write(stage.number, stage.done, metrics)

    def after_call(self, stage: StageState) -> None:
        """Draws and saves what is due."""
        if self._is_silent:
            return
        self._progress.describe(f"{self._title}: pictures")
        drawn = self._draw(stage)
        self._progress.describe(self._title)
        at_end = stage.done == stage.iterations
        due = time.monotonic() - self._saved > 60 * self._config.checkpoint_minutes
        if at_end or due:
            self._save(stage)
        is_last = at_end and stage.number + 1 == len(self._sizes)
        if drawn and not is_last:  # at the very end the page is written at the exit
            self._page.write()

    def restart_clock(self) -> None:
        """Says that the time since the last call was not spent on iterations."""
        self._progress.restart_clock()

    def catch_up(self, stage: StageState) -> None:
        """Leaves the pictures of a moment at which the training was stopped before they were."""
        if stage.done and not self._is_silent:
            self._draw(stage, missing=True)

    def _is_told_to_stop(self, stage: StageState) -> bool:
        """Returns what the watcher says to this moment; without metrics it is a compilation."""
        if self._watcher is None:
            return False
        metrics = self._metrics
        compiling = metrics is None
        moment = Progress(
            stage=stage.number,
            num_stages=len(self._sizes),
            size=self._sizes[stage.number],
            step=stage.done,
            iterations=stage.iterations,
            compiling=compiling,
            share=self._progress.share_done(stage.done),
            seconds_left=None if compiling else self._progress.time_left(stage.done),
            error=None if metrics is None else metrics["reconstruction_rmse"],
        )
        return bool(self._watcher(moment))

    def _save(self, stage: StageState) -> None:
        if self._is_silent or self._kept == (stage.number, stage.done):
            return
        about = {"stage": stage.number, "step": stage.done}
        checkpoint.save_step(self.run.checkpoints, stage.tree(), stage.metadata(), **about)
        self._kept, self._saved = (stage.number, stage.done), time.monotonic()

    def _draw(self, stage: StageState, *, missing: bool = False) -> bool:
        """Leaves the pictures that are due, or the missing ones of them; returns if there is one.

        They are a grid of samples with the training image at the top left, at the end of a stage
        the reconstruction, and with the lines of metrics what the model makes of the composite.
        """
        model = functools.cache(stage.model)  # is made if something is due
        composite, at_end = self._job.composite, stage.done == stage.iterations
        moment = f"stage_{stage.number}_step_{stage.done:06d}.png"
        drawn = False

        def is_due(name: str, every: int) -> bool:
            due = at_end or stage.done % every == 0
            return due and not (missing and display.is_readable(self.run.path / name))

        if composite is not None and is_due(f"naive/{moment}", self._config.log_every):
            made = self.aside(lambda: model().harmonize(composite), stage)
            pair = display.grid([made.composite, made.result], columns=2)
            self._leave("naive", moment, pair, stage)
        if is_due(f"samples/{moment}", self._config.sample_every):
            samples = self.aside(
                lambda: list(map(np.asarray, model().samples(0, GRID_SAMPLES))), stage
            )
            pictures = (
                display.shrunk(np.asarray(one), display.CELL) for one in (model().real[0], *samples)
            )
            self._leave("samples", moment, sheet := display.grid(list(pictures)), stage)
            self._live.show(lambda: display.to_png(sheet))
            drawn = True
        last = f"reconstruction/stage_{stage.number}.png"
        if at_end and is_due(last, 1):
            display.save(self.run.path / last, self.aside(lambda: model().reconstruct()[0], stage))
        return drawn

    def _leave(self, folder: str, name: str, picture: np.ndarray, stage: StageState) -> None:
        """Leaves a picture in a folder of the run, and in the log."""
        display.save(self.run.path / folder / name, picture)
        self._log.image(folder, display.to_uint8(picture), stage.number, stage.done)
