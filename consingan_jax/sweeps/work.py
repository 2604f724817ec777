"""A unit of work of a sweep: runs that train together, and their results."""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax

from consingan_jax.config import Config
from consingan_jax.errors import HeldError, InputError, is_no_room, is_out_of_memory
from consingan_jax.generation.model import Model
from consingan_jax.training import trainer
from consingan_jax.training.progress import ProgressCallback

POLL_SECONDS = 5.0  # between two attempts at a run that another process holds
PATIENCE = 120.0  # seconds; the lock of a machine that died lasts less

Measure = Callable[[Model], Mapping[str, float]]
"""Computes metrics of a finished model, by name."""


class Result(NamedTuple):
    """The result of a run."""

    error: str  # reason of the failure, else empty
    measures: Mapping[str, float] = {}
    is_held: bool = False  # whether it failed because another process trains the run


class WorkUnit(NamedTuple):
    """A run, or several runs with equal pyramid shapes that train together."""

    configs: tuple[Config, ...]
    runs: tuple[str, ...]  # directories
    measure: Measure | None = None
    devices: int = 0  # as for `trainer.train`

    def __str__(self) -> str:
        return " ".join(pathlib.Path(run).name for run in self.runs)

    def work(self, watcher: ProgressCallback | None = None) -> list[Result]:
        """Trains what is left of the runs, and returns the result of each.

        Raises:
            StoppedError: the watcher asked for it.
            OSError: the disk is full.
        """
        try:
            results = trainer.train_together(
                self.configs, self.runs, watcher=watcher, devices=self.devices
            )
            return [self._result(result) for result in results]
        except InputError as error:
            return self.failed(str(error))
        except OSError as error:
            if is_no_room(error):
                raise
            return self.failed(f"{error.filename}: {error.strerror}")
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            smaller = "size" if len(self.runs) == 1 else "stack"
            return self.failed(f"out of memory: give a smaller {smaller}")

    def failed(self, reason: str) -> list[Result]:
        """Returns the results of runs that failed together."""
        return [Result(reason)] * len(self.runs)

    def only(self, indices: Sequence[int]) -> "WorkUnit":
        """Returns a unit with some of the runs."""
        return self._replace(
            configs=tuple(self.configs[i] for i in indices),
            runs=tuple(self.runs[i] for i in indices),
        )

    def _result(self, result: Model | Exception) -> Result:
        if isinstance(result, OSError):
            return Result(f"{result.filename}: {result.strerror}")
        if isinstance(result, Exception):
            return Result(str(result), is_held=isinstance(result, HeldError))
        return Result("", dict(self.measure(result)) if self.measure else {})


def work_elsewhere(unit: WorkUnit) -> list[Result]:
    """Executes a unit in a worker process of a cluster.

    If the machine that worked on it before has died, its locks remain until they expire, so that
    held runs are tried again for `PATIENCE` seconds.
    """
    try:
        results = unit.work()
        end = time.monotonic() + PATIENCE
        while held := [i for i, one in enumerate(results) if one.is_held]:
            if time.monotonic() > end:
                break
            time.sleep(POLL_SECONDS)
            for i, result in zip(held, unit.only(held).work(), strict=True):
                results[i] = result
        return results
    finally:
        jax.clear_caches()  # Ray reuses the process for units of other sizes
