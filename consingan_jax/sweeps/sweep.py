"""Sweeps: one configuration over several images or seeds, in one directory."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from consingan_jax import device, lock, numerics
from consingan_jax.config import Config
from consingan_jax.data import listing
from consingan_jax.errors import InputError
from consingan_jax.executors import LOCAL, Executor
from consingan_jax.generation import restore
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.sweeps import grouping, state
from consingan_jax.sweeps.report import Row, SweepReport
from consingan_jax.sweeps.state import SweepState
from consingan_jax.sweeps.work import Measure, Result, WorkUnit, work_elsewhere
from consingan_jax.training.progress import Progress, ProgressCallback

SECONDS = 5.0  # between two versions of the set's files while runs end


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """One of the runs: its name, which is also that of its directory, and its configuration."""

    name: str
    config: Config


def is_set(path: str | os.PathLike) -> bool:
    """Returns whether a directory is a set of runs."""
    return (pathlib.Path(path) / state.IDENTITY).is_file()


def _is_of_set(entry: pathlib.Path) -> bool:
    """Returns whether a file or a directory may lie in a set's directory."""
    own = entry.name.startswith(".") or entry.name in ("index.html", "summary.csv")
    return own or (entry / restore.IDENTITY).is_file()


def restored(workdir: str | os.PathLike, *, seeds: int = 0, **changes: Any) -> "Sweep":
    """Returns the set of runs that a directory holds, with the images it was last called for.

    Args:
        workdir: the directory of the set.
        seeds: how many runs of each image; 0: as many as there were.
        changes: fields of the configuration that are asked for; they must be as they were.

    Raises:
        InputError: the set cannot be read, its images are gone, or its configuration is another.
    """
    known = SweepState.read(pathlib.Path(workdir))
    if not known.images:
        raise InputError(
            f"workdir {workdir}: an earlier version has begun this set and does not name its "
            "images: give them, and --seeds, once more"
        )
    config = dataclasses.replace(known.config, **changes)
    return Sweep(config, workdir, paths=known.images, seeds=seeds or known.seeds)


class Sweep:
    """The runs of one configuration: what there is to do, and what has come of it."""

    def __init__(
        self,
        config: Config,
        workdir: str | os.PathLike,
        *,
        paths: Sequence[str] = (),
        seeds: int = 1,
    ):
        """Finds the images; touches nothing.

        Args:
            config: of every run but for its image and seed.
            paths: folders, files or patterns of images; without them `config.images` says which
                they are, and without that there is one, `config.image`.
            workdir: the directory of all, with one of its own for each run.
            seeds: how many runs of each image, with the seeds from `config.seed` on.

        Raises:
            InputError: there are no images, or the directory belongs to something else.
        """
        if seeds < 1:
            raise InputError(f"seeds={seeds}: give 1 or more")
        self.path = pathlib.Path(workdir)
        mask = listing.from_anywhere(config.mask) if config.mask else ""
        self._config, self._seeds = dataclasses.replace(config, mask=mask), seeds
        asked = list(map(os.fspath, paths)) or [config.images or config.image]
        self._words = list(map(listing.from_anywhere, asked))
        if config.fine_tune:
            raise InputError(
                f"config.fine_tune={config.fine_tune}: a fine-tuning is a run of its own, and not "
                "one of a set"
            )
        if not all(asked):
            raise InputError("an image is missing: give its file, or a folder of images")
        found = listing.images(asked)
        self.members = [
            SweepRun(
                pathlib.Path(path).stem + (f"-seed_{seed}" if seeds > 1 else ""),
                dataclasses.replace(config, images="", image=path, mask=own, seed=seed),
            )
            for path, own in zip(found, listing.masks(config.mask, found), strict=True)
            for seed in range(config.seed, config.seed + seeds)
        ]
        self._known: SweepState | None = None
        self._finished: dict[str, Row] = {}  # which change no more
        self._errors: dict[str, str] = {}
        self._measured: dict[str, dict[str, float]] = {}
        self._check()

    def run(self, member: SweepRun) -> RunDirectory:
        """Returns the directory of a run."""
        return RunDirectory(self.path / member.name)

    def left(self) -> list[SweepRun]:
        """Returns the members that are not finished."""
        return [member for member in self.members if not self.run(member).is_finished()]

    @property
    def errors(self) -> Mapping[str, str]:
        """Why runs of this set have failed, by their names."""
        names = [member.name for member in self.members]
        return {name: self._errors[name] for name in names if name in self._errors}

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
        """Trains what is left; what fails stops no other.

        Args:
            engine: executes the units of work; by default this process, one after the other.
            stack: how many runs at most train together, of those whose pyramids have the same
                shapes; 0: one for each of this machine's devices, on a GPU as many as its memory
                holds.
            devices: how many each unit trains on; 0: all that are there.
            watcher: as for `trainer.train`; where it stops one run it stops all.
            measure: is asked for measures of every finished model.
            say: takes a line for each thing that happens.

        Raises:
            InputError: another process trains this set, so many devices are not there, or the
                stack cannot fit.
            StoppedError: the watcher said so; the state is kept.
        """
        if stack < 0:
            raise InputError(f"stack={stack}: give 1 or more, or 0 for as many as fit")
        self.path.mkdir(parents=True, exist_ok=True)
        with lock.hold(self.path):
            self._check()
            report, shown = SweepReport(self.path), [*self.members, *self._not_asked_for()]

            def rows() -> list[Row]:
                return list(map(self._row, shown))

            def write() -> None:
                self._write()
                report.write(rows())

            def watch(moment: Progress) -> bool:
                report.write_at_times(rows)
                return bool(watcher and watcher(moment))

            def work_here(unit: WorkUnit) -> list[Result]:
                results = unit.work(watch)
                numerics.clear_programs()  # or those of all sizes stay in memory
                return results

            there = device.select_devices(devices) if engine.is_local else None
            units = self._units(stack, there, measure, devices)
            number, total = 0, sum(len(unit.runs) for unit in units)
            write()
            try:
                work = work_here if engine.is_local else work_elsewhere
                for unit, results in engine.map(work, units):
                    if results is None:
                        report.write_at_times(rows)
                        continue
                    if isinstance(results, Exception):
                        results = unit.failed(str(results))
                    for run, result in zip(unit.runs, results, strict=True):
                        number += 1
                        how = self._take(name := pathlib.Path(run).name, result)
                        say(f"{number} of {total}: {name} {how}")
                    if report.age() > SECONDS:  # for many runs the page takes a while
                        write()
            finally:
                write()

    def _check(self) -> None:
        """Reads what is known of the set that is here, if there is one.

        Raises:
            InputError: the directory belongs to something else, or to another set.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"workdir {self.path} is a file: give another --workdir")
        if not is_set(self.path):
            if self.path.exists() and not all(map(_is_of_set, self.path.iterdir())):
                raise InputError(
                    f"workdir {self.path} exists and is no set of runs: give another --workdir"
                )
            return
        self._known = known = SweepState.read(self.path)
        self._errors, self._measured = known.errors, known.measures
        if field := known.config.difference(self._config):
            was = getattr(known.config, field)
            raise InputError(
                f"workdir {self.path} belongs to a set with config.{field}={was}, "
                f"not {getattr(self._config, field)}: give another --workdir"
            )
        if known.seeds and (known.seeds == 1) != (self._seeds == 1):
            raise InputError(
                f"workdir {self.path} belongs to a set with {known.seeds} seeds of each image, not "
                f"{self._seeds}: give another --workdir"
            )
        if set(known.names).isdisjoint(member.name for member in self.members):
            raise InputError(
                f"workdir {self.path} belongs to a set of other images, such as "
                f"{min(known.names)}: give another --workdir"
            )

    def _look(self) -> tuple[list[SweepRun], list[SweepRun]]:
        """Returns the members that are not finished, and those that are but were never measured.

        Finds the finished ones, too, that are of other pictures than the images now are.
        """
        left, unmeasured = [], []
        for member in self.members:
            self._errors.pop(member.name, None)
            run = self.run(member)
            if not run.is_finished():
                left.append(member)
                continue
            try:
                run.check(load_inputs(member.config))
            except InputError as error:
                self._errors[member.name] = str(error)
            if member.name not in self._measured:
                unmeasured.append(member)
        return left, unmeasured

    def _not_asked_for(self) -> Iterator[SweepRun]:
        """Yields the runs of the set that are there and not asked for now."""
        asked = {member.name for member in self.members}
        for name in self._known.names if self._known else ():
            if name not in asked and restore.is_run(self.path / name):
                with contextlib.suppress(InputError):  # a damaged one is met when it is asked for
                    yield SweepRun(name, RunDirectory(self.path / name).config())

    def _units(
        self,
        stack: int,
        there: Sequence[jax.Device] | None,
        measure: Measure | None,
        devices: int,
    ) -> list[WorkUnit]:
        """Returns what there is to do: runs that train together, then what was never measured."""
        left, unmeasured = self._look()
        groups = grouping.formed([member.config for member in left], stack, there)
        together = [[left[place] for place in group] for group in groups]
        together += [[member] for member in unmeasured if measure]
        return [self._unit(group, measure, devices) for group in together]

    def _unit(self, members: Sequence[SweepRun], measure: Measure | None, devices: int) -> WorkUnit:
        return WorkUnit(
            tuple(member.config for member in members),
            tuple(str(self.path / member.name) for member in members),
            measure,
            devices,
        )

    def _take(self, name: str, result: Result) -> str:
        """Notes what has come of a run, and returns it in words."""
        self._errors.pop(name, None)
        self._finished.pop(name, None)
        if result.measures:
            self._measured[name] = dict(result.measures)
        if not result.error:
            return "is finished"
        self._errors[name] = result.error
        return f"failed: {result.error}"

    def _write(self) -> None:
        """Writes down what is known; a set stays what it was where a part of it was asked for."""
        names, words, seeds = [member.name for member in self.members], self._words, self._seeds
        known = self._known
        if known and known.images and set(names) < set(known.names):
            names, words, seeds = known.names, known.images, known.seeds
        about = SweepState(self._config, names, self._errors, self._measured, words, seeds)
        about.write(self.path)

    def _row(self, member: SweepRun) -> Row:
        if member.name in self._finished:
            return self._finished[member.name]
        row = Row.of(
            self.path / member.name,
            member.config,
            error=self._errors.get(member.name, ""),
            measures=self._measured.get(member.name, {}),
        )
        if row.state == "finished":
            self._finished[member.name] = row
        return row
