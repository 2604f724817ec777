"""A run in training: its stage, callbacks and fault."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from consingan_jax import checkpoint, kernels
from consingan_jax.errors import DivergedError
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.training.callbacks import Callbacks
from consingan_jax.training.iteration import Iteration
from consingan_jax.training.process_group import ProcessGroup
from consingan_jax.training.stage import StageFactory, StageState
from consingan_jax.training.state import TrainState

COLLAPSE_AFTER = 200  # iterations of a stage
COLLAPSE_RMSE = 0.5  # at least


class TrainingRun:
    """A run in training.

    Attributes:
        inputs: configuration and images.
        directory: directory of the run.
        stage: the stage in training.
        callbacks: log, draw, save and report progress.
        fault: the error with which the run ended, else None.
    """

    def __init__(
        self,
        inputs: TrainingInputs,
        directory: RunDirectory,
        group: ProcessGroup,
        *,
        retries: int = 0,
        messages: Iterable[str] = (),
    ):
        """Restores the last checkpoint, or makes the first stage; prints `messages`."""
        self.inputs, self.directory = inputs, directory
        self._stages, last, self.stage = _begin(inputs, directory, retries)
        moment = (self.stage.number, self.stage.done)
        self.callbacks = Callbacks(self._stages.inputs, directory, group, moment=moment)
        self.callbacks.print([*messages, *_resume_messages(last)])
        self.fault: DivergedError | None = None

    @property
    def is_trained(self) -> bool:
        """Whether all stages are trained to their last iteration."""
        stage = self.stage
        return stage.number + 1 == len(self._stages) and stage.done == stage.iterations

    def next_program(self) -> Iteration | None:
        """Returns the training iteration of the next stage; None after the last."""
        number = self.stage.number + 1
        return self._stages.program(number) if number < len(self._stages) else None

    def grow(self) -> None:
        """Proceeds to the next stage."""
        grown = functools.partial(self._stages.grown, self.stage)
        self.stage = self.callbacks.run_polling(grown, self.stage)

    def iterations_of_call(self) -> int:
        """Returns the iterations of the next call; 0 at the stage's end, -1 after a fault."""
        if self.fault:
            return -1
        ends = self.stage.done == self.stage.iterations
        return 0 if ends else self.callbacks.iterations_of_call(self.stage)

    def record(
        self, count: int, values: dict[str, float], state_now: Callable[[], TrainState]
    ) -> None:
        """Proceeds to the state after `count` iterations, and logs the metrics of the last."""
        self.stage = self.stage.after(count, state_now)
        if not values.pop("finite"):
            bad = [name for name, value in values.items() if not np.isfinite(value)]
            self.fault = self.not_finite(", ".join(bad) or "a parameter")
        elif self._has_collapsed(values["reconstruction_rmse"]):
            self.fault = self._diverged("its reconstruction is worse than an image of one colour")
        else:
            self.callbacks.log(self.stage, values)

    def not_finite(self, quantity: str) -> DivergedError:
        """Returns the error for a quantity that is not finite."""
        return self._diverged(f"{quantity} is not a finite number")

    def _diverged(self, why: str) -> DivergedError:
        stage = self.stage
        at = f"stage {stage.number}, iteration {stage.done}"
        return DivergedError(f"the training diverged at {at}: {why}", stage.retries)

    def _has_collapsed(self, error: float) -> bool:
        """Returns whether a stage that has trained for a while cannot reconstruct the image.

        A critic that grows too fast can drive all pixels to -1 or 1, where there are no gradients
        to come back by.
        """
        is_young = self.stage.done < COLLAPSE_AFTER
        if is_young or error < COLLAPSE_RMSE or not self.inputs.config.rec_weight:
            return False
        real = np.asarray(self.stage.data.real)
        return error > np.sqrt(np.square(real - real.mean((0, 1, 2))).mean())


def _begin(
    inputs: TrainingInputs, directory: RunDirectory, retries: int
) -> tuple[StageFactory, pathlib.Path | None, StageState]:
    """Returns the stages of a run, the checkpoint to resume from if any, and the current stage."""

    def restored(path: pathlib.Path) -> tuple[StageFactory, pathlib.Path, StageState]:
        # A resumed run keeps the lower rates and the noise of the retries that it has had.
        before = checkpoint.metadata(path).get("retries", 0)
        stages = StageFactory(inputs, max(retries, before))
        return stages, path, stages.restored(path)

    read = checkpoint.read_latest(directory.checkpoints, restored)
    if read is not None:
        return read
    stages = StageFactory(inputs, retries)
    first = stages.first() if inputs.source is None else stages.fine_tuned(inputs.source)
    return stages, None, first


def _resume_messages(last: pathlib.Path | None) -> Iterator[str]:
    """Yields where a run resumes, and what differs if another version of the program began it."""
    if last is None:
        return
    about = checkpoint.metadata(last)
    yield f"resumes at stage {len(about['sizes']) - 1}, iteration {about['step']} ({last.name})"
    if about.get("jax", jax.__version__) != jax.__version__:  # older checkpoints do not say
        yield (
            f"trained with jax {about['jax']} so far, and with {jax.__version__} from now on: the "
            "result will differ from that of either version alone (docs/numerics.md)"
        )
    before, now = about.get("kernels", ""), kernels.version()
    if before != now:
        words = [f"with compiled kernels {one}" if one else "without them" for one in (before, now)]
        yield (
            f"trained {words[0]} so far, and {words[1]} from now on: the result will differ from "
            "that of either way alone (docs/numerics.md)"
        )
    if about["format"] == 1:
        yield (
            f"{last} is of format 1: the run keeps its fixed input, and draws its noise pixel by "
            "pixel from now on, as format 2 does"
        )
