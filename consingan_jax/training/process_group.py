"""Synchronises the processes that train one run (`jax.distributed`).

All do the same arithmetic and follow the first one, which alone draws, logs and saves.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from consingan_jax.config import Config
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.training.stopping import StopFlag


class ProcessGroup:
    """The processes of a run, most often this one alone.

    Attributes:
        stop: whether this process is asked to stop.
        size: number of processes.
        leads: whether this is the process that the others follow.
    """

    def __init__(self, stop: StopFlag):
        """Takes the flag of this process."""
        self.stop = stop
        self.size = jax.process_count() if jax.distributed.is_initialized() else 1
        self.leads = self.size == 1 or jax.process_index() == 0

    def sync_counts(self, counts: Sequence[int]) -> Sequence[int]:
        """Returns the first process's counts; a negative count on any process wins on all.

        Raises:
            StoppedError: one of several processes is asked to stop.
        """
        if self.size == 1:
            return counts
        said = self._gathered(self.stop.is_set, *counts)
        if said[:, 0].any():
            raise StoppedError(f"all {self.size} processes stop; the first saves the state")
        fewest = said[:, 1:].min(0)
        return np.where(fewest < 0, fewest, said[0, 1:]).tolist()

    def end(self) -> None:
        """Waits until all processes have ended, however long the first one writes."""
        if self.size > 1:
            self._gathered(0)

    def begin(self, fault: Exception | None, moment: tuple[int, int]) -> None:
        """Waits for the other processes to begin.

        Args:
            fault: the error that keeps this process from it.
            moment: stage and iteration from which it would go on.

        Raises:
            InputError: another process cannot begin, or would go on from elsewhere.
        """
        if self.size == 1:
            return
        said = self._gathered(fault is not None, *moment)
        if fault is not None:
            return  # this process reports it itself
        for process, (failed, *other) in enumerate(said.tolist()):
            if failed:
                raise InputError(f"process {process} cannot begin; its own output says why")
            if other != said[0, 1:].tolist():
                raise InputError(
                    f"process {process} would go on at stage {other[0]}, iteration {other[1]}, "
                    f"but process 0 at stage {said[0, 1]}, iteration {said[0, 2]}: give all of "
                    "them one --workdir on a disk that they share"
                )

    def check(self, config: Config, devices: Sequence[jax.Device]) -> None:
        """Raises an InputError if the windows of an iteration cannot be divided evenly."""
        if self.size > 1 and config.windows % len(devices):
            raise InputError(
                f"config.windows={config.windows}: {self.size} processes with {len(devices)} "
                f"devices in all share the windows: give a multiple of {len(devices)}"
            )

    def _gathered(self, *own: int) -> np.ndarray:
        """Returns the numbers of all processes, `[processes, len(own)]`."""
        return np.asarray(multihost_utils.process_allgather(np.array(own, np.int32)))
