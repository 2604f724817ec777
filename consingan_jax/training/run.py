"""A run in training: where it is, and how it goes on (paper, section 3)."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from consingan_jax import checkpoint
from consingan_jax.errors import DivergedError
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.training.callbacks import Callbacks
from consingan_jax.training.process_group import ProcessGroup
from consingan_jax.training.stage import StageFactory, StageState
from consingan_jax.training.state import TrainState
from consingan_jax.training.step import StageStep


class TrainingRun:
    """A run in training.

    Attributes:
        inputs: the configuration and the pictures that it trains on.
        directory: of the run.
        stage: the state of the stage in training.
        callbacks: log, draw and save.
        fault: the error after which it cannot go on, else None.
    """

    def __init__(
        self,
        inputs: TrainingInputs,
        directory: RunDirectory,
        group: ProcessGroup,
        *,
        retries: int = 0,
        news: Iterable[str] = (),
    ):
        """Restores the last checkpoint, or makes the first stage.

        Args:
            inputs: what it trains on.
            directory: of the run.
            group: the processes that train it.
            retries: how often it has diverged.
            news: lines to print before it goes on.
        """
        self.inputs, self.directory = inputs, directory
        self._stages, last, self.stage = _begin(inputs, directory, retries)
        moment = (self.stage.number, self.stage.done)
        self.callbacks = Callbacks(self._stages.inputs, directory, group, moment=moment)
        self.callbacks.say([*news, *_news(last)])
        self.fault: DivergedError | None = None

    @property
    def is_trained(self) -> bool:
        """Whether its last stage is at its end."""
        stage = self.stage
        return stage.number + 1 == len(self._stages) and stage.done == stage.iterations

    def next_program(self) -> StageStep | None:
        """Returns the arithmetic of the stage above, None above the last."""
        number = self.stage.number + 1
        return self._stages.program(number) if number < len(self._stages) else None

    def grow(self) -> None:
        """Goes on to the stage above."""
        grown = functools.partial(self._stages.grown, self.stage)
        self.stage = self.callbacks.aside(grown, self.stage)

    def iterations_of_call(self) -> int:
        """Returns how many iterations to make at once; 0 at the stage's end, -1 after a fault."""
        if self.fault:
            return -1
        ends = self.stage.done == self.stage.iterations
        return 0 if ends else self.callbacks.iterations_of_call(self.stage)

    def record(
        self, count: int, values: dict[str, float], state_now: Callable[[], TrainState]
    ) -> None:
        """Goes on to the state after `count` iterations, whose last one had these losses."""
        self.stage = self.stage.after(count, state_now)
        if values.pop("finite"):
            self.callbacks.log(self.stage, values)
        else:
            bad = [name for name, value in values.items() if not np.isfinite(value)]
            self.fault = self.diverged(", ".join(bad) or "a parameter")

    def diverged(self, what: str) -> DivergedError:
        """Returns the error that says what is no finite number any more."""
        return DivergedError(
            f"the training diverged at stage {self.stage.number}, iteration "
            f"{self.stage.done}: {what} is not a finite number",
            self.stage.retries,
        )


def _begin(
    inputs: TrainingInputs, directory: RunDirectory, retries: int
) -> tuple[StageFactory, pathlib.Path | None, StageState]:
    """Returns the stages of a run, and the one to go on from with its checkpoint if it has one."""

    def restored(path: pathlib.Path) -> tuple[StageFactory, pathlib.Path, StageState]:
        before = checkpoint.metadata(path).get("retries", 0)
        stages = StageFactory(inputs, max(retries, before))
        return stages, path, stages.restored(path)

    read = checkpoint.read_latest(directory.checkpoints, restored)
    if read is not None:
        return read
    stages = StageFactory(inputs, retries)
    first = stages.first() if inputs.source is None else stages.fine_tuned(inputs.source)
    return stages, None, first


def _news(last: pathlib.Path | None) -> Iterator[str]:
    """Yields where a run goes on, and what changes if an earlier version has begun it."""
    if last is None:
        return
    about = checkpoint.metadata(last)
    yield f"goes on at stage {len(about['sizes']) - 1}, iteration {about['step']} ({last.name})"
    if about.get("jax", jax.__version__) != jax.__version__:  # older checkpoints do not say
        yield (
            f"trained with jax {about['jax']} so far, from here on with {jax.__version__}: the "
            "result will differ a little from that of either alone (docs/numerics.md)"
        )
    if about["format"] == 1:
        yield (
            f"{last} is of format 1: the run keeps its fixed input, and from here on draws its "
            "noise by place, as format 2 does"
        )
