"""What a run leaves behind and says while it trains, and when."""

import contextlib
import itertools
import time
from collections.abc import Iterable, Mapping

import numpy as np
import tqdm

from consingan_jax import checkpoint
from consingan_jax.data import image
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.generation.model import Model
from consingan_jax.training import estimate
from consingan_jax.training.job import Job
from consingan_jax.training.logs import MetricsLog, Progress
from consingan_jax.training.notebook import LivePicture
from consingan_jax.training.page import Page
from consingan_jax.training.stage import Stage
from consingan_jax.training.watch import Moment, Watcher
from consingan_jax.training.workdir import Workdir

SECONDS_PER_CALL = 2.0  # of the compiled loop: how often the progress bar moves
GRID_SAMPLES = 8  # besides the training image


class Recorder:
    """Metrics, progress, sample grids, reconstructions and checkpoints of one run."""

    def __init__(
        self,
        job: Job,
        run: Workdir,
        moment: tuple[int, int],
        watcher: Watcher | None = None,
    ):
        """Opens the logs.

        Args:
            job: what the run works on; to its composite, if there is one, the model is applied
                whenever metrics are logged.
            run: its directory.
            moment: the stage that trains next, and its iterations that are done; what was
                logged after it is forgotten.
            watcher: is told where the training is, and may stop it.
        """
        self.run = run
        self._watcher = watcher
        self._job, self._config, self._sizes = job, job.config, job.sizes
        stages = range(len(self._sizes))
        operations = [
            estimate.operations(job.config, job.arch, self._sizes[: k + 1]) for k in stages
        ]
        iterations = [job.config.stage(k).num_iters for k in stages]
        self._progress = Progress(operations, iterations=iterations)
        self._log = MetricsLog(run.path, iterations=iterations, moment=moment)
        self._page, self._live = Page(run.path), LivePicture()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind, *_) -> None:
        self._progress.close()
        self._log.close()
        # What ended the training is what the user must hear of.
        with contextlib.suppress(*([] if kind is None else [OSError, InputError])):
            self._page.write()

    def say(self, lines: Iterable[str]) -> None:
        """Says something, each a line of its own beside the progress bar."""
        for line in lines:
            tqdm.tqdm.write(line)

    def compiling(self, stage: Stage) -> None:
        """Says that the loop of a stage is being compiled."""
        height, width = self._sizes[stage.number]
        self._title = f"stage {stage.number + 1} of {len(self._sizes)}, {height}x{width} px"
        self._progress.start(stage.number, stage.done, f"{self._title}: compiling")
        self._log.start()

    def while_compiling(self, stage: Stage) -> None:
        """Tells the watcher; raises a StoppedError if it says so."""
        if self._is_told_to_stop(stage, None):
            self._stop()

    def compiled(self) -> None:
        """Says that its iterations start now."""
        self._progress.begin(self._title)
        self._saved = time.monotonic()

    def iterations_of_call(self, stage: Stage) -> int:
        """Returns how many iterations to make at once: a moment's work, up to what is due next."""
        marks = (stage.iterations, self._config.log_every, self._config.sample_every)
        due = min(mark - stage.done % mark for mark in marks)
        seconds = self._progress.seconds_per_iteration()
        return min(due, max(1, int(SECONDS_PER_CALL / seconds))) if seconds else 1

    def after_call(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Reports, and saves what is due.

        Args:
            stage: as it is now.
            metrics: of the last iteration.
        """
        number, done, model = stage.number, stage.done, stage.model()
        self._progress.advance(done, metrics)
        at_end = done == stage.iterations
        draws = at_end or done % self._config.sample_every == 0
        if at_end or done % self._config.log_every == 0:
            self._log.write(number, done, metrics)
            self._watch(number, done, model)
        if draws:
            self._draw(number, done, model)
        if at_end:
            picture = model.reconstruct()[0]
            image.save(self.run.path / f"reconstruction/stage_{number}.png", picture)
        stop = self._is_told_to_stop(stage, metrics)
        due = time.monotonic() - self._saved > 60 * self._config.checkpoint_minutes
        if at_end or stop or due:
            checkpoint.save_step(
                self.run.checkpoints, stage.tree(), model.metadata(), stage=number, step=done
            )
            self._saved = time.monotonic()
        if stop:
            self._stop()
        is_last = at_end and number + 1 == len(self._sizes)  # then the page is written at the exit
        if draws and not is_last:
            self._page.write()
        self._progress.restart_clock()

    def _is_told_to_stop(self, stage: Stage, metrics: Mapping[str, float] | None) -> bool:
        """Returns what the watcher says to this moment; without metrics it is a compilation."""
        if self._watcher is None:
            return False
        compiling = metrics is None
        moment = Moment(
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

    def _stop(self) -> None:
        kept = checkpoint.latest_step(self.run.checkpoints)
        words = "nothing is trained yet" if kept is None else f"kept: {kept}"
        raise StoppedError(f"the training in {self.run.path} was stopped; {words}")

    def _draw(self, stage: int, done: int, model: Model) -> None:
        """Leaves a grid of samples, the training image at the top left."""
        pictures = itertools.chain([model.real[0]], model.samples(0, GRID_SAMPLES))
        sheet = image.grid([image.shrunk(np.asarray(picture), image.CELL) for picture in pictures])
        image.save(self.run.path / f"samples/stage_{stage}_step_{done:06d}.png", sheet)
        self._log.image("samples", image.to_uint8(sheet), stage, done)
        self._live.show(lambda: image.to_png(sheet))

    def _watch(self, stage: int, done: int, model: Model) -> None:
        """Leaves the composite beside what the model makes of it, if there is one to watch."""
        if self._job.composite is None:
            return
        made = model.harmonize(self._job.composite)
        pair = image.grid([made.composite, made.result], columns=2)
        image.save(self.run.path / f"naive/stage_{stage}_step_{done:06d}.png", pair)
        self._log.image("naive", image.to_uint8(pair), stage, done)
