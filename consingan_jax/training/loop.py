"""The training loop: stages are trained from coarse to fine (paper, section 3)."""

import contextlib
import functools
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from consingan_jax.errors import InputError, StoppedError
from consingan_jax.training import background
from consingan_jax.training.compiler import Compiler, Loop
from consingan_jax.training.placement import Placement
from consingan_jax.training.process_group import ProcessGroup
from consingan_jax.training.run import TrainingRun
from consingan_jax.training.state import TrainState


def train_runs(
    runs: Sequence[TrainingRun], devices: Sequence[jax.Device], group: ProcessGroup
) -> None:
    """Trains runs until each is finished or has diverged, in one program where possible.

    Args:
        runs: runs with pyramids of equal sizes, and configurations equal but for image and seed.
        devices: devices to train on, including those of other processes.
        group: the processes that train the same runs.

    Raises:
        StoppedError: a progress callback or a signal stops the training; all states are saved.
    """
    with contextlib.closing(Compiler(devices)) as compiler, _recording(runs, group):
        # From coarse to fine: the runs at the lowest stage train next (paper, section 3).
        while together := _furthest_behind(runs):
            if training := [run for run in together if run.stage.done < run.stage.iterations]:
                # Compile the stage's loop; the next stage's is compiled while this one trains.
                loop, placement = _compile(training, compiler)
                stages = [(run.stage.state, run.stage.data, run.stage.key) for run in training]
                state, data, key = placement.place(stages)
                # A call makes iterations for about a second. The newest `train_depth` stages train
                # concurrently, each older one at `lr_scale` times the rate (paper, section 3.1).
                while any(counts := _iterations_of_call(training, group)):
                    state, metrics = loop(state, data, key, placement.counts(counts))
                    # Log metrics; draw samples and save checkpoints if they are due.
                    _record(training, counts, placement, state, jax.device_get(metrics))
                compiler.drop(training[0].stage.number)
                del state, data, key  # frees their memory before the next stage is placed
            # Grow: a new stage starts as a copy of the one below, and its noise amplitude follows
            # from the reconstruction error of the image so far (paper, section 3).
            for run in together:
                if not (run.fault or run.is_trained):
                    run.grow()


@contextlib.contextmanager
def _recording(runs: Sequence[TrainingRun], group: ProcessGroup) -> Iterator[None]:
    """Keeps the logs of all runs open; saves the states if the block is stopped or fails."""
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(run.callbacks)
        for run in runs:
            run.callbacks.draw_missing(run.stage)
        try:
            yield
        except (StoppedError, InputError, OSError) as error:
            # A second error, while saving, must not hide the one that is being reported.
            hidden = () if isinstance(error, StoppedError) else (InputError, OSError)
            for run in runs:
                with contextlib.suppress(*hidden):
                    if not run.fault:
                        run.callbacks.save_changed(run.stage)
            if isinstance(error, StoppedError):
                group.end()
            raise


def _furthest_behind(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Returns the runs that train next: of those at the lowest stage, all that share a program."""
    # Resumed runs may be at different stages. Those ahead wait until the others have caught up, so
    # that all train together from then on.
    under_way = [run for run in runs if not (run.fault or run.is_trained)]
    lead = min(under_way, key=lambda run: run.stage.number, default=None)
    if lead is None:
        return []
    key = lead.stage.program_key()  # the program knows its stage
    return [run for run in under_way if run.stage.program_key() == key]


def _compile(runs: Sequence[TrainingRun], compiler: Compiler) -> Loop:
    """Returns the compiled loop of the runs' stage, and starts to compile that of the next."""
    lead, number = runs[0], len(runs)
    for run in runs:
        run.callbacks.compiling(run.stage, number if run is lead else 0)
    future = compiler.begin(lead.stage.program, number)
    loop = background.wait(future, lambda: _poll(runs))
    for run in runs:
        run.callbacks.compiled()
    if program := lead.next_program():
        compiler.begin(program, number)
    return loop


def _iterations_of_call(runs: Sequence[TrainingRun], group: ProcessGroup) -> list[int]:
    """Returns the iterations of each run in the next call; all 0 at the end of the stage."""
    # Every process must make the same calls: the collectives inside would wait forever otherwise.
    counts = group.sync_counts([run.iterations_of_call() for run in runs])
    for run, count in zip(runs, counts, strict=True):
        if count < 0 and not run.fault:
            run.fault = run.not_finite("a parameter in another process")
    return [max(0, count) for count in counts]


def _record(
    runs: Sequence[TrainingRun],
    counts: Sequence[int],
    placement: Placement,
    state: TrainState,
    metrics: dict[str, np.ndarray],
) -> None:
    """Records the iterations of a call; draws samples and saves checkpoints if they are due."""
    advanced = [(i, run) for i, run in enumerate(runs) if counts[i]]
    for i, run in advanced:
        # The state stays on its devices until a checkpoint or a picture needs it.
        state_now = functools.partial(placement.of, state, i)
        run.record(counts[i], placement.metrics_of(metrics, i), state_now)
    intact = [run for _, run in advanced if not run.fault]
    _poll(intact)
    for run in intact:
        run.callbacks.after_call(run.stage)
    for run in intact:  # the pictures of one run delay all of them
        run.callbacks.restart_clock()


def _poll(runs: Sequence[TrainingRun]) -> None:
    for run in runs:
        run.callbacks.poll(run.stage)
