"""Progress callbacks, and stopping a training."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from consingan_jax.errors import StoppedError
from consingan_jax.nn.resize import Size
from consingan_jax.runs.logger import stage_name


class Progress(NamedTuple):
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
        title = f"{stage_name(self.stage, self.num_stages)}, {self.size[0]}x{self.size[1]} px"
        if self.compiling:
            return f"{title}: compiling"
        return f"{title}: iteration {self.step} of {self.iterations}"


ProgressCallback = Callable[[Progress], bool | None]
"""Is called every few seconds; returns True to let the training stop at this moment."""


@contextlib.contextmanager
def interruptible(watcher: ProgressCallback | None) -> Iterator[ProgressCallback | None]:
    """Yields a watcher that Ctrl-C stops too, where nothing else handles SIGINT.

    An interrupt between two JAX calls would lose the state, whose buffers the next call takes over.
    So the first one only asks the training to stop, and is raised once the state is saved.
    """
    plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or not plain:
        yield watcher
        return
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda moment: bool(watcher is not None and watcher(moment)) or asked
    except StoppedError as error:
        if asked:
            raise KeyboardInterrupt(str(error)) from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
