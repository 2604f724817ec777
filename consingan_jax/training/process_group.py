"""Synchronises the processes that train one run (`jax.distributed`).

All do the same arithmetic and follow the first one, which alone draws, logs and saves.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from consingan_jax.config import Config
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.training.progress import Progress, ProgressCallback


class ProcessGroup:
    """This process and the others of a run; mostly there are none.

    Attributes:
        leads: whether this is the process that the others follow.
    """

    def __init__(self, watcher: ProgressCallback | None):
        """Takes what is asked whether to stop; with other processes the answer waits for them."""
        self._watcher = watcher
        self._number = jax.process_count() if jax.distributed.is_initialized() else 1
        self._is_told = False
        self.leads = self._number == 1 or jax.process_index() == 0

    @property
    def watcher(self) -> ProgressCallback | None:
        """What a recorder asks; with other processes it never says so itself: see `agreed`."""
        return self._watcher if self._number == 1 or self._watcher is None else self._note

    def _note(self, moment: Progress) -> bool:
        assert self._watcher is not None, "see watcher"
        self._is_told = self._is_told or bool(self._watcher(moment))
        return False

    def sync_counts(self, counts: Sequence[int]) -> Sequence[int] | None:
        """Returns the first process' numbers; None if any of the processes is told to stop.

        What is below 0 with one of them is so for all.
        """
        if self._number == 1:
            return counts
        said = self._gathered(self._is_told, *counts)
        fewest = said[:, 1:].min(0)
        return None if said[:, 0].any() else np.where(fewest < 0, fewest, said[0, 1:]).tolist()

    def stopped(self) -> StoppedError:
        """Returns what says that all of them stop."""
        return StoppedError(f"all {self._number} processes stop; the first saves the state")

    def end(self) -> None:
        """Waits until all have ended, however long the first one writes."""
        if self._number > 1:
            self._gathered(0)

    def begin(self, fault: Exception | None, moment: tuple[int, int]) -> None:
        """Waits for the others to begin.

        Args:
            fault: what keeps this one from it.
            moment: stage and iteration where it would go on.

        Raises:
            InputError: another one cannot begin, or would do so elsewhere.
        """
        if self._number == 1:
            return
        said = self._gathered(fault is not None, *moment)
        if fault is not None:
            return  # which this process tells itself
        for process, (failed, *other) in enumerate(said.tolist()):
            if failed:
                raise InputError(f"process {process} cannot begin: it says why")
            if other != said[0, 1:].tolist():
                raise InputError(
                    f"process {process} would go on at stage {other[0]}, iteration {other[1]}, "
                    f"but process 0 at stage {said[0, 1]}, iteration {said[0, 2]}: give all of "
                    "them one --workdir on a disk that they share"
                )

    def check(self, config: Config, devices: Sequence[jax.Device]) -> None:
        """Raises an InputError if the windows of an iteration do not go round."""
        if self._number > 1 and config.windows % len(devices):
            raise InputError(
                f"config.windows={config.windows}: {self._number} processes with {len(devices)} "
                f"devices in all share the windows: give a multiple of {len(devices)}"
            )

    def _gathered(self, *own: int) -> np.ndarray:
        """Returns the numbers of all processes, `[processes, len(own)]`."""
        return np.asarray(multihost_utils.process_allgather(np.array(own, np.int32)))
