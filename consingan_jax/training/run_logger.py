"""Writes the metrics, pictures, checkpoints and report page of a run."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from consingan_jax import checkpoint
from consingan_jax.data import display
from consingan_jax.errors import InputError
from consingan_jax.generation.composite import CompositeResult
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.logger import MetricsLog
from consingan_jax.runs.notebook import LivePicture
from consingan_jax.runs.report import Page
from consingan_jax.training.stage import StageState


class RunLogger:
    """Writes into the directory of one run; `Callbacks` says when."""

    def __init__(
        self, directory: RunDirectory, *, iterations: Sequence[int], moment: tuple[int, int]
    ):
        """Opens the logs and drops the lines that were written after `moment`.

        Args:
            directory: of the run.
            iterations: of every stage.
            moment: stage and iteration from which the run goes on.
        """
        self._directory, self._saved = directory, moment
        self._metrics = MetricsLog(directory.path, iterations=iterations, moment=moment)
        self._page, self._live = Page(directory.path), LivePicture()

    def close(self, *, hide_errors: bool) -> None:
        """Closes the logs and writes the page.

        Args:
            hide_errors: whether an error of the page is hidden behind the one that ends the run.
        """
        self._metrics.close()
        with contextlib.suppress(*([OSError, InputError] if hide_errors else [])):
            self.page()

    def page(self) -> None:
        """Writes the report page."""
        self._page.write()

    def start_clock(self) -> None:
        """Starts the clock of a stage, whose seconds the metrics have."""
        self._metrics.start()

    def metrics(self, stage: StageState, metrics: Mapping[str, float]) -> None:
        """Appends the metrics of the last iteration."""
        self._metrics.write(stage.number, stage.done, metrics)

    def checkpoint(self, stage: StageState) -> None:
        """Saves the state, unless it is saved already."""
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
        """Returns whether a picture is not there or cannot be read, as after a power cut."""
        return not display.is_readable(self._directory.path / file)

    def samples(self, stage: StageState, real: np.ndarray, samples: Sequence[np.ndarray]) -> None:
        """Draws a grid of samples `[h, w, C]`, with the training image at the top left."""
        cells = [display.shrunk(np.asarray(one), display.CELL) for one in (real, *samples)]
        grid = display.grid(cells)
        self._picture(samples_file(stage), grid, stage)
        self._live.show(lambda: display.to_png(grid))

    def composite(self, stage: StageState, made: CompositeResult) -> None:
        """Draws the composite beside the model's result."""
        pair = display.grid([made.composite, made.result], columns=2)
        self._picture(composite_file(stage), pair, stage)

    def reconstruction(self, stage: StageState, picture: np.ndarray) -> None:
        """Draws the reconstruction at the end of a stage."""
        display.save(self._directory.path / reconstruction_file(stage), picture)

    def _picture(self, file: pathlib.PurePath, picture: np.ndarray, stage: StageState) -> None:
        display.save(self._directory.path / file, picture)
        pixels = display.to_uint8(picture)
        self._metrics.image(file.parent.name, pixels, stage.number, stage.done)


def samples_file(stage: StageState) -> pathlib.PurePath:
    """Returns the file of a sample grid, in the run's directory."""
    return pathlib.PurePath("samples", _name(stage))


def composite_file(stage: StageState) -> pathlib.PurePath:
    """Returns the file of a composite and its result, likewise."""
    return pathlib.PurePath("naive", _name(stage))


def reconstruction_file(stage: StageState) -> pathlib.PurePath:
    """Returns the file of a stage's reconstruction, likewise."""
    return pathlib.PurePath("reconstruction", f"stage_{stage.number}.png")


def _name(stage: StageState) -> str:
    return f"stage_{stage.number}_step_{stage.done:06d}.png"
