"""Defines the progress that a training reports to its callback."""

from collections.abc import Callable
from typing import NamedTuple

from consingan_jax.nn.resize import Size
from consingan_jax.runs.logger import stage_name


class Progress(NamedTuple):
    """The progress of a training.

    Attributes:
        stage: the stage in training, counted from 0.
        num_stages: number of stages of the run.
        size: (height, width) of the stage.
        step: iterations done in the stage.
        iterations: iterations of the stage in all.
        compiling: whether the stage's loop is still being compiled.
        share: fraction of the run's operations that are done, 0 to 1.
        seconds_left: estimated seconds to the end of the run; None before the first measurement.
        error: root mean square error of the reconstruction on [-1, 1]; None before the first.
    """

    stage: int
    num_stages: int
    size: Size
    step: int
    iterations: int
    compiling: bool
    share: float
    seconds_left: float | None
    error: float | None

    def __str__(self) -> str:
        title = f"{stage_name(self.stage, self.num_stages)}, {self.size[0]}x{self.size[1]} px"
        if self.compiling:
            return f"{title}: compiling"
        return f"{title}: iteration {self.step} of {self.iterations}"


ProgressCallback = Callable[[Progress], bool | None]
"""Called about once a second; the training stops if it returns True."""
