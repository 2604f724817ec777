"""What a run leaves behind and says while it trains, and when."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from consingan_jax import checkpoint
from consingan_jax.data import image
from consingan_jax.generation.model import Model
from consingan_jax.nn.generator import Size
from consingan_jax.nn.layers import Architecture
from consingan_jax.training import estimate
from consingan_jax.training.logs import MetricsLog, Progress
from consingan_jax.training.workdir import Workdir

SECONDS_PER_CALL = 2.0  # of the compiled loop: how often the progress bar moves
GRID_SAMPLES = 8  # besides the training image


class Recorder:
    """Metrics, progress, sample grids, reconstructions and checkpoints of one run."""

    def __init__(
        self,
        config: Mapping[str, Any],
        run: Workdir,
        arch: Architecture,
        sizes: Sequence[Size],
        moment: tuple[int, int],
        *,
        composite: np.ndarray | None = None,
    ):
        """Opens the logs.

        Args:
            config: the configuration of the run.
            run: its directory.
            arch: the architecture.
            sizes: (height, width) of every stage.
            moment: the stage that trains next, and its iterations that are done; what was
                logged after it is forgotten.
            composite: `[H, W, C]`, to which the model is applied whenever metrics are logged.
        """
        self._composite = composite
        self._config, self._run, self._sizes = config, run, sizes
        self._num_iters = config["num_iters"]
        operations = [estimate.operations(config, arch, sizes[: k + 1]) for k in range(len(sizes))]
        self._progress = Progress(operations, num_iters=self._num_iters)
        self._log = MetricsLog(run.path, num_iters=self._num_iters, moment=moment)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_) -> None:
        self._progress.close()
        self._log.close()

    def compiling(self, stage: int, done: int) -> None:
        """Says that a stage is being compiled, of which `done` iterations are done."""
        height, width = self._sizes[stage]
        self._title = f"stage {stage + 1} of {len(self._sizes)}, {height}x{width} px"
        self._stage = stage
        self._progress.start(stage, done, f"{self._title}: compiling")

    def compiled(self) -> None:
        """Says that its iterations start now."""
        self._progress.begin(self._title)
        self._saved = time.monotonic()

    def iterations_of_call(self, done: int) -> int:
        """Returns how many iterations to make at once: a moment's work, up to what is due next."""
        marks = (self._num_iters, self._config["log_every"], self._config["sample_every"])
        due = min(mark - done % mark for mark in marks)
        seconds = self._progress.seconds_per_iteration()
        return min(due, max(1, int(SECONDS_PER_CALL / seconds))) if seconds else 1

    def after_call(self, metrics: Mapping[str, float], model: Model, rest: dict[str, Any]) -> None:
        """Reports, and saves what is due.

        Args:
            metrics: of the last iteration.
            model: as it is now.
            rest: what a checkpoint of the training holds besides the model.
        """
        stage, done = self._stage, model.step
        self._progress.advance(done, metrics)
        at_end = done == self._num_iters
        if at_end or done % self._config["log_every"] == 0:
            self._log.write(stage, done, metrics)
            self._watch(stage, done, model)
        if at_end or done % self._config["sample_every"] == 0:
            self._draw(stage, done, model)
        if at_end:
            picture = model.reconstruct()[0]
            image.save(self._run.path / f"reconstruction/stage_{stage}.png", picture)
        if at_end or time.monotonic() - self._saved > 60 * self._config["checkpoint_minutes"]:
            tree = {"model": model.tree(), "training": rest}
            checkpoint.save_step(
                self._run.checkpoints, tree, model.metadata(), stage=stage, step=done
            )
            self._saved = time.monotonic()
        self._progress.restart_clock()

    def _draw(self, stage: int, done: int, model: Model) -> None:
        """Leaves a grid of samples, the training image at the top left."""
        sheet = image.grid([np.asarray(model.real[0]), *model.samples(0, GRID_SAMPLES)])
        image.save(self._run.path / f"samples/stage_{stage}_step_{done:06d}.png", sheet)
        self._log.image("samples", image.to_uint8(sheet), stage, done)

    def _watch(self, stage: int, done: int, model: Model) -> None:
        """Leaves the composite beside what the model makes of it, if there is one to watch."""
        if self._composite is None:
            return
        made = model.harmonize(self._composite)
        pair = image.grid([made.composite, made.result], columns=2)
        image.save(self._run.path / f"naive/stage_{stage}_step_{done:06d}.png", pair)
        self._log.image("naive", image.to_uint8(pair), stage, done)
