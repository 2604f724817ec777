"""The training loop: stage by stage, each initialised from the one below (paper, section 3)."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from consingan_jax import checkpoint
from consingan_jax.errors import DivergedError, InputError, StoppedError
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.training import background
from consingan_jax.training.callbacks import Callbacks
from consingan_jax.training.compiler import Compiler, Loop
from consingan_jax.training.placement import Placement
from consingan_jax.training.process_group import ProcessGroup
from consingan_jax.training.stage import StageFactory, StageState
from consingan_jax.training.state import TrainState
from consingan_jax.training.step import StageStep


class TrainingRun:
    """A run under way, from its last checkpoint on.

    Attributes:
        inputs: what it trains on.
        directory: where it is kept.
        stage: where it is.
        recorder: writes down what happens.
        fault: why it cannot go on, if so.
    """

    def __init__(
        self,
        inputs: TrainingInputs,
        run: RunDirectory,
        group: ProcessGroup,
        *,
        retries: int = 0,
        news: Iterable[str] = (),
    ):
        """Reads where the run is; makes its first stage if it is nowhere.

        Args:
            inputs: what it works on.
            run: its directory.
            group: the other processes that train it.
            retries: how often it has diverged.
            news: to say once it goes on.
        """
        self.inputs, self.directory = inputs, run
        self._stages, last, self.stage = _begin(inputs, run, retries)
        moment = (self.stage.number, self.stage.done)
        self.recorder = Callbacks(
            self._stages.inputs, run, moment, group.watcher, is_silent=not group.leads
        )
        self.recorder.say([*news, *_news(last)])
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
        self.stage = self.recorder.aside(grown, self.stage)

    def iterations_of_call(self) -> int:
        """Returns how many iterations to make at once; 0 at the stage's end, -1 after a fault."""
        if self.fault:
            return -1
        ends = self.stage.done == self.stage.iterations
        return 0 if ends else self.recorder.iterations_of_call(self.stage)

    def record(
        self, count: int, values: dict[str, float], state_now: Callable[[], TrainState]
    ) -> None:
        """Goes on to the state after `count` iterations, whose last one had these losses."""
        self.stage = self.stage.after(count, state_now)
        if values.pop("finite"):
            self.recorder.log(self.stage, values)
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
    inputs: TrainingInputs, run: RunDirectory, retries: int
) -> tuple[StageFactory, pathlib.Path | None, StageState]:
    """Returns the stages of a run, and the one to go on from with its checkpoint if it has one."""

    def restored(path: pathlib.Path) -> tuple[StageFactory, pathlib.Path, StageState]:
        before = checkpoint.metadata(path).get("retries", 0)
        stages = StageFactory(inputs, max(retries, before))
        return stages, path, stages.restored(path)

    read = checkpoint.read_latest(run.checkpoints, restored)
    if read is not None:
        return read
    stages = StageFactory(inputs, retries)
    return (
        stages,
        None,
        stages.first() if inputs.source is None else stages.fine_tuned(inputs.source),
    )


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


def train_runs(
    runs: Sequence[TrainingRun], devices: Sequence[jax.Device], group: ProcessGroup
) -> None:
    """Trains runs to their ends, or to their faults; those that can in one program.

    Args:
        runs: with pyramids of one shape, and configurations that differ in image and seed.
        devices: to train on, those of other processes among them.
        group: the processes that train the same runs.

    Raises:
        StoppedError: a progress callback said so; the states of all runs are saved.
    """
    with contextlib.closing(Compiler(devices)) as compiler, _recording(runs, group):
        # From coarse to fine: each run trains its lowest unfinished stage (paper, section 3).
        while together := _furthest_behind(runs):
            if training := [run for run in together if run.stage.done < run.stage.iterations]:
                # Compile the stage's loop; the next stage's is compiled while this one trains.
                loop, placement = _compile(training, compiler)
                stages = [(run.stage.state, run.stage.data, run.stage.key) for run in training]
                state, data, key = placement.place(stages)
                # Iterate, about a second at a time. The newest `train_depth` stages train
                # concurrently, each older one at `lr_scale` times the rate (paper, section 3.1).
                while any(counts := _iterations_of_call(training, group)):
                    state, metrics = loop(state, data, key, placement.counts(counts))
                    # Record losses, and what is due: sample grids and checkpoints.
                    _record(training, counts, placement, state, jax.device_get(metrics))
                compiler.drop(training[0].stage.number)
                del state, data, key  # or the next stage would not have their memory
            # Grow: a new stage starts as a copy of the one below, and its noise amplitude follows
            # from the reconstruction error of the image so far (paper, section 3).
            for run in together:
                if not (run.fault or run.is_trained):
                    run.grow()


@contextlib.contextmanager
def _recording(runs: Sequence[TrainingRun], group: ProcessGroup) -> Iterator[None]:
    """Opens the logs of all runs; if the block is stopped or fails, their states are saved."""
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.recorder)
        for run in runs:
            run.recorder.catch_up(run.stage)
        try:
            yield
        except (StoppedError, InputError, OSError) as error:
            # While another failure is reported, one of saving would hide it.
            hidden = () if isinstance(error, StoppedError) else (InputError, OSError)
            for run in runs:
                with contextlib.suppress(*hidden):
                    if not run.fault:
                        run.recorder.keep(run.stage)
            if isinstance(error, StoppedError):
                group.end()
            raise


def _furthest_behind(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Returns the runs that train next: of those at the lowest stage, all that share a program.

    After a resume runs may be at different stages; those ahead wait, so that all train together
    from then on.
    """
    under_way = [run for run in runs if not (run.fault or run.is_trained)]
    lowest = min((run.stage.number for run in under_way), default=0)
    candidates = [run for run in under_way if run.stage.number == lowest]
    return [run for run in candidates if run.stage.kind() == candidates[0].stage.kind()]


def _compile(runs: Sequence[TrainingRun], compiler: Compiler) -> Loop:
    """Returns the compiled loop of the stage of some runs, and starts on that of the next stage."""
    lead, number = runs[0], len(runs)
    for run in runs:
        run.recorder.compiling(run.stage, number if run is lead else 0)
    promise = compiler.begin(lead.stage.program, number)
    loop = background.result(promise, lambda: _attend(runs))
    for run in runs:
        run.recorder.compiled()
    if program := lead.next_program():
        compiler.begin(program, number)
    return loop


def _iterations_of_call(runs: Sequence[TrainingRun], group: ProcessGroup) -> list[int]:
    """Returns how many iterations each run makes at once; all 0 at the end of the stage.

    All processes of a group make the same calls, or the collectives inside would wait for ever.
    """
    counts = group.sync_counts([run.iterations_of_call() for run in runs])
    if counts is None:
        raise group.stopped()
    for run, count in zip(runs, counts, strict=True):
        if count < 0 and not run.fault:
            run.fault = run.diverged("a parameter in another process")
    return [max(0, count) for count in counts]


def _record(
    runs: Sequence[TrainingRun],
    counts: Sequence[int],
    placement: Placement,
    state: TrainState,
    metrics: dict[str, np.ndarray],
) -> None:
    """Records the iterations that some runs have just made, draws and saves what is due."""
    went = [(i, run) for i, run in enumerate(runs) if counts[i]]
    for i, run in went:
        # The state stays on its devices until something is made of it.
        state_now = functools.partial(placement.of, state, i)
        run.record(counts[i], placement.numbers(metrics, i), state_now)
    whole = [run for _, run in went if not run.fault]
    _attend(whole)
    for run in whole:
        run.recorder.after_call(run.stage)
    for run in whole:  # pictures of one take the time of all
        run.recorder.restart_clock()


def _attend(runs: Sequence[TrainingRun]) -> None:
    for run in runs:
        run.recorder.attend(run.stage)
