"""Writes the metrics, pictures, checkpoints and report of a run."""

import contextlib
import pathlib
from collections.abc import Sequence

import numpy as np

from consingan_jax import checkpoint
from consingan_jax.errors import InputError
from consingan_jax.generation.composite import CompositeResult
from consingan_jax.images import display
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.logger import MetricsLog
from consingan_jax.runs.notebook import LivePicture
from consingan_jax.runs.report import Page
from consingan_jax.training.stage import StageState

SAMPLES, COMPOSITES = "samples", "naive"  # directories of pictures in that of the run


class RunLogger:
    """Writes to the directory of one run; `Callbacks` decides when.

    Attributes:
        metrics: the log of the metrics.
        page: report.html.
    """

    def __init__(
        self, directory: RunDirectory, *, iterations: Sequence[int], moment: tuple[int, int]
    ):
        """Opens the logs and drops the lines that were written after `moment`."""
        self._directory, self._saved = directory, moment
        self.metrics = MetricsLog(directory.path, iterations=iterations, moment=moment)
        self.page, self._live = Page(directory.path), LivePicture()

    def close(self, *, hide_errors: bool) -> None:
        """Closes the logs and writes the report.

        Errors of the report are hidden when another error ends the run already.
        """
        self.metrics.close()
        with contextlib.suppress(*([OSError, InputError] if hide_errors else [])):
            self.page.write()

    def checkpoint(self, stage: StageState) -> None:
        """Saves the state, unless that is done already."""
        moment = (stage.number, stage.done)
        if self._saved != moment:
            checkpoint.save_step(
                self._directory.checkpoints,
                stage.tree(),
                stage.metadata(),
                stage=stage.number,
                step=stage.done,
            )
            self._saved = moment

    def is_missing(self, file: pathlib.PurePath) -> bool:
        """Returns whether a picture does not exist or is unreadable, as after a power failure."""
        return not display.is_readable(self._directory.path / file)

    def samples(self, stage: StageState, real: np.ndarray, samples: Sequence[np.ndarray]) -> None:
        """Draws a grid of samples `[h, w, C]`, with the training image at the top left."""
        cells = [display.shrunk(np.asarray(one), display.CELL) for one in (real, *samples)]
        grid = display.grid(cells)
        self._picture(SAMPLES, grid, stage)
        self._live.show(lambda: display.to_png(grid))

    def composite(self, stage: StageState, result: CompositeResult) -> None:
        """Draws a composite beside the result of the model."""
        pair = display.grid([result.composite, result.result], columns=2)
        self._picture(COMPOSITES, pair, stage)

    def reconstruction(self, stage: StageState, picture: np.ndarray) -> None:
        """Draws the reconstruction of the training image."""
        display.save(self._directory.path / reconstruction_file(stage), picture)

    def _picture(self, kind: str, picture: np.ndarray, stage: StageState) -> None:
        display.save(self._directory.path / picture_file(kind, stage), picture)
        self.metrics.image(kind, display.to_uint8(picture), stage.number, stage.done)


def picture_file(kind: str, stage: StageState) -> pathlib.PurePath:
    """Returns the file of a picture of the current iteration, relative to the run's directory."""
    return pathlib.PurePath(kind, f"stage_{stage.number}_step_{stage.done:06d}.png")


def reconstruction_file(stage: StageState) -> pathlib.PurePath:
    """Returns the file of a stage's reconstruction, relative to the run's directory."""
    return pathlib.PurePath("reconstruction", f"stage_{stage.number}.png")
