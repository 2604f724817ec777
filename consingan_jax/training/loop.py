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
from consingan_jax.training.compiler import Compiler
from consingan_jax.training.process_group import ProcessGroup
from consingan_jax.training.stage import StageFactory, StageState
from consingan_jax.training.state import TrainState
from consingan_jax.training.step import StageStep


class TrainingRun:
    """A run under way, from its last checkpoint on.

    Attributes:
        job: what it works on.
        stage: where it is.
        recorder: writes down what happens.
        fault: why it cannot go on, if so.
    """

    def __init__(
        self,
        job: TrainingInputs,
        run: RunDirectory,
        peers: ProcessGroup,
        *,
        retries: int = 0,
        news: Iterable[str] = (),
    ):
        """Reads where the run is; makes its first stage if it is nowhere.

        Args:
            job: what it works on.
            run: its directory.
            peers: the other processes that train it.
            retries: how often it has diverged.
            news: to say once it goes on.
        """
        self.job = job
        self._stages, last, self.stage = _begin(job, run, retries)
        moment = (self.stage.number, self.stage.done)
        self.recorder = Callbacks(
            self._stages.job, run, moment, peers.watcher, is_silent=not peers.leads
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

    def take(
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
    job: TrainingInputs, run: RunDirectory, retries: int
) -> tuple[StageFactory, pathlib.Path | None, StageState]:
    """Returns the stages of a run, and the one to go on from with its checkpoint if it has one."""

    def restored(path: pathlib.Path) -> tuple[StageFactory, pathlib.Path, StageState]:
        before = checkpoint.metadata(path).get("retries", 0)
        stages = StageFactory(job, max(retries, before))
        return stages, path, stages.restored(path)

    read = checkpoint.read_latest(run.checkpoints, restored)
    if read is not None:
        return read
    stages = StageFactory(job, retries)
    return stages, None, stages.first() if job.source is None else stages.fine_tuned(job.source)


def _news(last: pathlib.Path | None) -> Iterator[str]:
    """Yields where a run goes on, and what changes if an earlier version has begun it."""
    if last is None:
        return
    about = checkpoint.metadata(last)
    yield f"goes on at stage {len(about['sizes'])}, iteration {about['step']} ({last.name})"
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
    courses: Sequence[TrainingRun], devices: Sequence[jax.Device], peers: ProcessGroup
) -> None:
    """Trains courses to their ends, or to their faults; those that can in one program.

    Args:
        courses: with pyramids of one shape, and configurations that differ in image and seed.
        devices: to train on, those of other processes among them.
        peers: the other processes that train the same.

    Raises:
        StoppedError: a watcher said so; the states of all are kept.
    """
    compiler = Compiler(devices)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(compiler))
        for course in courses:
            stack.enter_context(course.recorder)
        for course in courses:
            course.recorder.catch_up(course.stage)
        try:
            while together := _furthest_behind(courses):
                _train_stage(together, compiler, peers)
                for course in together:
                    if not (course.fault or course.is_trained):
                        course.grow()
        except (StoppedError, InputError, OSError) as error:
            hidden = () if isinstance(error, StoppedError) else (InputError, OSError)
            for course in courses:
                with contextlib.suppress(*hidden):
                    if not course.fault:
                        course.recorder.keep(course.stage)
            if isinstance(error, StoppedError):
                peers.end()
            raise


def _furthest_behind(courses: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Returns the courses that train next: of those at the lowest stage, all of one kind."""
    under_way = [course for course in courses if not (course.fault or course.is_trained)]
    lowest = min((course.stage.number for course in under_way), default=0)
    candidates = [course for course in under_way if course.stage.number == lowest]
    return [course for course in candidates if course.stage.kind() == candidates[0].stage.kind()]


def _train_stage(courses: Sequence[TrainingRun], compiler: Compiler, peers: ProcessGroup) -> None:
    """Trains courses that are at one stage to its end."""
    courses = [course for course in courses if course.stage.done < course.stage.iterations]
    if not courses:
        return
    lead, number = courses[0], len(courses)
    for course in courses:
        course.recorder.compiling(course.stage, number if course is lead else 0)
    promise = compiler.begin(lead.stage.program, number)
    loop, layout = background.result(promise, lambda: _attend(courses))
    for course in courses:
        course.recorder.compiled()
    if program := lead.next_program():
        compiler.begin(program, number)  # compiled beside this stage's iterations
    state, data, key = layout.place([(c.stage.state, c.stage.data, c.stage.key) for c in courses])
    while True:
        counts = peers.sync_counts([course.iterations_of_call() for course in courses])
        if counts is None:
            raise peers.stopped()
        for course, count in zip(courses, counts, strict=True):
            course.fault = course.fault or (
                course.diverged("a parameter in another process") if count < 0 else None
            )
        counts = [max(0, count) for count in counts]
        if not any(counts):
            break
        state, metrics = loop(state, data, key, layout.counts(counts))
        metrics = jax.device_get(metrics)
        went = [(i, course) for i, course in enumerate(courses) if counts[i]]
        for i, course in went:
            course.take(
                counts[i], layout.numbers(metrics, i), functools.partial(layout.of, state, i)
            )
        whole = [course for _, course in went if not course.fault]
        _attend(whole)
        for course in whole:
            course.recorder.after_call(course.stage)
        for course in whole:  # pictures of one take the time of all
            course.recorder.restart_clock()
    compiler.drop(lead.stage.number)


def _attend(courses: Sequence[TrainingRun]) -> None:
    for course in courses:
        course.recorder.attend(course.stage)
