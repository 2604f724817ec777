"""What a training says of itself to whoever watches it, and how it is told to stop."""

from collections.abc import Callable
from typing import NamedTuple

from consingan_jax.nn.resize import Size


class Moment(NamedTuple):
    """Where a training is.

    Attributes:
        stage: the one that trains, counted from 0.
        num_stages: of the run.
        size: (height, width) of the stage.
        step: iterations done in the stage.
        iterations: that it has.
        compiling: whether its program is still being compiled.
        share: 0 to 1, how much of the run's arithmetic is done.
        seconds_left: that the run still needs; None where nothing was measured yet.
        error: root mean square error of the reconstruction on [-1, 1], likewise.
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
        title = f"stage {self.stage + 1} of {self.num_stages}, {self.size[0]}x{self.size[1]} px"
        if self.compiling:
            return f"{title}: compiling"
        return f"{title}: iteration {self.step} of {self.iterations}"


Watcher = Callable[[Moment], bool | None]
"""Is called every few seconds; returns True to let the training stop at this moment."""
