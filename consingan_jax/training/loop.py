"""The training loop: stage by stage, each initialised from the one below (paper, section 3)."""

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
            stack.enter_context(run.callbacks)
        for run in runs:
            run.callbacks.catch_up(run.stage)
        try:
            yield
        except (StoppedError, InputError, OSError) as error:
            # While another failure is reported, one of saving would hide it.
            hidden = () if isinstance(error, StoppedError) else (InputError, OSError)
            for run in runs:
                with contextlib.suppress(*hidden):
                    if not run.fault:
                        run.callbacks.keep(run.stage)
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
        run.callbacks.compiling(run.stage, number if run is lead else 0)
    promise = compiler.begin(lead.stage.program, number)
    loop = background.result(promise, lambda: _poll(runs))
    for run in runs:
        run.callbacks.compiled()
    if program := lead.next_program():
        compiler.begin(program, number)
    return loop


def _iterations_of_call(runs: Sequence[TrainingRun], group: ProcessGroup) -> list[int]:
    """Returns how many iterations each run makes at once; all 0 at the end of the stage.

    All processes of a group make the same calls, or the collectives inside would wait for ever.
    """
    counts = group.sync_counts([run.iterations_of_call() for run in runs])
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
        run.record(counts[i], placement.metrics_of(metrics, i), state_now)
    whole = [run for _, run in went if not run.fault]
    _poll(whole)
    for run in whole:
        run.callbacks.after_call(run.stage)
    for run in whole:  # pictures of one take the time of all
        run.callbacks.restart_clock()


def _poll(runs: Sequence[TrainingRun]) -> None:
    for run in runs:
        run.callbacks.poll(run.stage)
