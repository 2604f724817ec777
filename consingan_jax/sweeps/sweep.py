"""Sweeps: one configuration over several images or seeds, in one directory."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from consingan_jax import device, lock, numerics
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.executors import LOCAL, Executor
from consingan_jax.generation import restore
from consingan_jax.images import listing
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.sweeps import grouping
from consingan_jax.sweeps.report import SweepReport
from consingan_jax.sweeps.state import SweepRun, SweepState, read_matching
from consingan_jax.sweeps.work import Measure, Result, WorkUnit, work_elsewhere
from consingan_jax.training.progress import Progress, ProgressCallback

SECONDS = 5.0  # between two versions of set.json and the report while runs end


def restored(workdir: str | os.PathLike, *, seeds: int = 0, **changes: Any) -> "Sweep":
    """Returns the sweep in a directory, with the images that it was last started with.

    Args:
        workdir: directory of the sweep.
        seeds: number of runs per image; 0 keeps the number.
        changes: fields of the configuration; they must equal those of the sweep.

    Raises:
        InputError: the sweep cannot be read, its images are gone, or its configuration differs.
    """
    state = SweepState.read(pathlib.Path(workdir))
    if not state.images:
        raise InputError(
            f"workdir {workdir}: an earlier version began this sweep and did not record its "
            "images: give them, and --seeds, once more"
        )
    config = dataclasses.replace(state.config, **changes)
    return Sweep(config, workdir, paths=state.images, seeds=seeds or state.seeds)


class Sweep:
    """Trains one configuration on several images or seeds; a later call trains what is left.

    Attributes:
        path: directory of the sweep, with a directory for each run.
        members: the runs.
    """

    def __init__(
        self,
        config: Config,
        workdir: str | os.PathLike,
        *,
        paths: Sequence[str] = (),
        seeds: int = 1,
    ):
        """Finds the images; writes nothing.

        Args:
            config: configuration of all runs, except for image and seed.
            workdir: directory of the sweep.
            paths: folders, files or patterns of images; by default `config.images`, or
                `config.image` alone.
            seeds: number of runs per image, with the seeds from `config.seed` on.

        Raises:
            InputError: there are no images, or the directory belongs to something else.
        """
        if seeds < 1:
            raise InputError(f"seeds={seeds}: give 1 or more")
        if config.fine_tune:
            raise InputError(
                f"config.fine_tune={config.fine_tune}: a sweep cannot fine-tune: train each as a "
                "run of its own"
            )
        asked = list(map(os.fspath, paths)) or [config.images or config.image]
        if not all(asked):
            raise InputError("an image is missing: give its file, or a folder of images")
        self.path = pathlib.Path(workdir)
        self.members = list(_runs(config, listing.images(asked), seeds))
        placed = listing.from_anywhere
        self._state = SweepState(
            dataclasses.replace(config, mask=placed(config.mask), exclude=placed(config.exclude)),
            [run.name for run in self.members],
            errors={},
            measures={},
            images=list(map(placed, asked)),
            seeds=seeds,
        )
        self._read_state()

    def run(self, member: SweepRun) -> RunDirectory:
        """Returns the directory of a run."""
        return RunDirectory(self.path / member.name)

    def left(self) -> list[SweepRun]:
        """Returns the runs that are not finished."""
        return [run for run in self.members if not self.run(run).is_finished()]

    @property
    def errors(self) -> Mapping[str, str]:
        """Reasons why runs of `members` failed, by run name."""
        errors = self._state.errors
        return {run.name: errors[run.name] for run in self.members if run.name in errors}

    def train(
        self,
        *,
        engine: Executor = LOCAL,
        stack: int = 0,
        devices: int = 0,
        watcher: ProgressCallback | None = None,
        measure: Measure | None = None,
        say: Callable[[str], object] = print,
    ) -> None:
        """Trains the runs that are not finished; a run that fails does not stop the others.

        Args:
            engine: executes the units of work; by default this process, one after the other.
            stack: maximum number of runs with equal pyramid shapes that train together; 0 means
                one per device of this machine, on a GPU as many as fit its memory.
            devices: number of devices for each unit; 0 means all.
            watcher: as for `trainer.train`; a run that it stops stops the sweep.
            measure: measures every finished model.
            say: takes a line about each run that ends.

        Raises:
            InputError: another process trains this sweep, there are fewer devices, or the stack
                cannot fit.
            StoppedError: the watcher asked for it; the state is saved.
        """
        if stack < 0:
            raise InputError(f"stack={stack}: give 1 or more, or 0 for as many as fit")
        self.path.mkdir(parents=True, exist_ok=True)
        with lock.hold(self.path):
            self._read_state()  # again: whoever held the lock may have changed it
            report = SweepReport(self.path, [*self.members, *self._others()], self._state)

            def watch(progress: Progress) -> bool:
                report.write_if_old()
                return bool(watcher and watcher(progress))

            def work_here(unit: WorkUnit) -> list[Result]:
                results = unit.work(watch)
                numerics.clear_programs()  # the compiled programs of all sizes would fill memory
                return results

            left = self.left()
            finished = [run for run in self.members if run not in left]
            self._check_images(finished)
            available = device.select_devices(devices) if engine.is_local else None
            groups = grouping.group_runs([run.config for run in left], stack, available)
            together = [[left[i] for i in group] for group in groups]
            if measure:
                together += [[run] for run in finished if run.name not in self._state.measures]
            units = [self._unit(runs, measure, devices) for runs in together]
            work = work_here if engine.is_local else work_elsewhere
            self._write(report)
            try:
                self._collect(engine.map(work, units), sum(map(len, together)), report, say)
            finally:
                self._write(report)

    def _read_state(self) -> None:
        """Takes over the errors and measures of the sweep on disk, if there is one.

        Raises:
            InputError: the directory belongs to something else, or to another sweep.
        """
        self._on_disk = read_matching(self.path, self._state)
        if self._on_disk:
            self._state.errors, self._state.measures = self._on_disk.errors, self._on_disk.measures

    def _others(self) -> Iterator[SweepRun]:
        """Yields runs of the sweep on disk that are not asked for now."""
        for name in self._on_disk.names if self._on_disk else ():
            if name not in self._state.names and restore.is_run(self.path / name):
                with contextlib.suppress(InputError):  # damaged; reported when it is asked for
                    yield SweepRun(name, RunDirectory(self.path / name).config())

    def _check_images(self, finished: Sequence[SweepRun]) -> None:
        """Clears all errors, and adds one for each finished run whose image has been replaced."""
        for run in self.members:
            self._state.errors.pop(run.name, None)
        for run in finished:
            try:
                self.run(run).check(load_inputs(run.config))
            except InputError as error:
                self._state.errors[run.name] = str(error)

    def _unit(self, runs: Sequence[SweepRun], measure: Measure | None, devices: int) -> WorkUnit:
        configs = tuple(run.config for run in runs)
        return WorkUnit(configs, tuple(str(self.path / run.name) for run in runs), measure, devices)

    def _collect(
        self,
        finished: Iterable[tuple[WorkUnit, list[Result] | Exception | None]],
        total: int,
        report: SweepReport,
        say: Callable[[str], object],
    ) -> None:
        """Records the results of all units."""
        number = 0
        for unit, results in finished:
            if results is None:  # none yet, but runs elsewhere may have made progress
                report.write_if_old()
                continue
            if isinstance(results, Exception):
                results = unit.failed(str(results))
            for path, result in zip(unit.runs, results, strict=True):
                number += 1
                name = pathlib.Path(path).name
                self._record(name, result)
                outcome = f"failed: {result.error}" if result.error else "is finished"
                say(f"{number} of {total}: {name} {outcome}")
            # Both files hold all runs, so writing them after every result would be quadratic.
            if report.age() > SECONDS:
                self._write(report)

    def _record(self, name: str, result: Result) -> None:
        self._state.errors.pop(name, None)
        if result.measures:
            self._state.measures[name] = dict(result.measures)
        if result.error:
            self._state.errors[name] = result.error

    def _write(self, report: SweepReport) -> None:
        state, old = self._state, self._on_disk
        if old and old.images and set(state.names) < set(old.names):
            # Only a part of the sweep was asked for, which must not make the sweep smaller.
            state = dataclasses.replace(state, names=old.names, images=old.images, seeds=old.seeds)
        state.write(self.path)
        report.write()


def _runs(config: Config, images: Sequence[str], seeds: int) -> Iterator[SweepRun]:
    for image, mask in zip(images, listing.masks(config.mask, images), strict=True):
        for seed in range(config.seed, config.seed + seeds):
            name = pathlib.Path(image).stem + (f"-seed_{seed}" if seeds > 1 else "")
            own = dataclasses.replace(config, images="", image=image, mask=mask, seed=seed)
            yield SweepRun(name, own)
