"""Executors run groups of trainings; `local_executor` runs them in this process."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.errors import HeldError, InputError, is_no_room, is_out_of_memory
from consingan_jax.generation.model import Model
from consingan_jax.training import trainer
from consingan_jax.training.progress import ProgressCallback

Measure = Callable[[Model], Mapping[str, float]]
"""From a finished model to measures by their names."""


class Result(NamedTuple):
    """What has come of a run.

    Attributes:
        error: why it failed, empty if it has not.
        measures: of the finished model, by their names.
        is_held: whether it failed since another process trains it.
    """

    error: str
    measures: Mapping[str, float] = {}
    is_held: bool = False


class WorkUnit(NamedTuple):
    """What an engine does at a time: a run, or several whose pyramids have the same shapes.

    Attributes:
        configs: their configurations.
        runs: their directories.
        measure: is asked for measures of the finished models, if it is not None.
        devices: as for `trainer.train`.
    """

    configs: tuple[Config, ...]
    runs: tuple[str, ...]
    measure: Measure | None = None
    devices: int = 0

    def work(self, watcher: ProgressCallback | None = None) -> list[Result]:
        """Trains the runs, or what is left of them, and says what has come of each.

        Raises:
            StoppedError: the watcher said so.
            OSError: the disk is full.
        """
        try:
            results = trainer.train_together(
                self.configs, self.runs, watcher=watcher, devices=self.devices
            )
            return [self._outcome(result) for result in results]
        except InputError as error:
            return self._failed(str(error))
        except OSError as error:
            if is_no_room(error):
                raise
            return self._failed(f"{error.filename}: {error.strerror}")
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            smaller = "size" if len(self.runs) == 1 else "stack"
            return self._failed(f"out of memory: give a smaller {smaller}")

    def only(self, places: Sequence[int]) -> "WorkUnit":
        """Returns the task with some of its runs."""
        return self._replace(
            configs=tuple(self.configs[i] for i in places), runs=tuple(self.runs[i] for i in places)
        )

    def _outcome(self, result: Model | Exception) -> Result:
        if isinstance(result, OSError):
            return Result(f"{result.filename}: {result.strerror}")
        if isinstance(result, Exception):
            return Result(str(result), is_held=isinstance(result, HeldError))
        return Result("", dict(self.measure(result)) if self.measure else {})

    def _failed(self, why: str) -> list[Result]:
        return [Result(why)] * len(self.runs)


Executor = Callable[
    [Sequence[WorkUnit], ProgressCallback], Iterable[tuple[WorkUnit, list[Result] | None]]
]
"""Does tasks, in any order and anywhere; yields each with its outcomes when it is done, and now and
then one with None. The watcher is for what works in this process."""


def local_executor(
    tasks: Sequence[WorkUnit], watcher: ProgressCallback
) -> Iterator[tuple[WorkUnit, list[Result]]]:
    """Does tasks in this process, one after the other."""
    for task in tasks:
        yield task, task.work(watcher)
        numerics.clear_programs()  # or those of all sizes stay in memory
