"""Synchronises the processes that train one run (`jax.distributed`).

All compute the same and follow process 0, the only one that draws, logs and saves.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from consingan_jax.config import Config
from consingan_jax.errors import InputError, StoppedError
from consingan_jax.training.stopping import StopFlag


class ProcessGroup:
    """The processes that train a run; usually there is one.

    Attributes:
        stop: the stop flag of this process.
        size: number of processes.
        leads: whether this is process 0, which the others follow.
    """

    def __init__(self, stop: StopFlag):
        self.stop = stop
        self.size = jax.process_count() if jax.distributed.is_initialized() else 1
        self.leads = self.size == 1 or jax.process_index() == 0

    def sync_counts(self, counts: Sequence[int]) -> Sequence[int]:
        """Returns the counts of process 0; a negative count on any process wins on all.

        Raises:
            StoppedError: any of several processes was asked to stop.
        """
        if self.size == 1:
            return counts
        gathered = self._gathered(self.stop.is_set, *counts)
        if gathered[:, 0].any():
            raise StoppedError(f"all {self.size} processes stop; process 0 saves the state")
        lowest = gathered[:, 1:].min(0)
        return np.where(lowest < 0, lowest, gathered[0, 1:]).tolist()

    def end(self) -> None:
        """Waits until all processes have ended, including process 0, which writes last."""
        if self.size > 1:
            self._gathered(0)

    def begin(self, fault: Exception | None, moment: tuple[int, int]) -> None:
        """Checks that all processes start, and at the same `moment`, a stage and an iteration.

        Args:
            fault: the error that prevents this process from starting.
            moment: where it would start or continue.

        Raises:
            InputError: another process cannot start, or would continue from elsewhere.
        """
        if self.size == 1:
            return
        gathered = self._gathered(fault is not None, *moment)
        if fault is not None:
            return  # the caller reports it
        for process, (failed, *other) in enumerate(gathered.tolist()):
            if failed:
                raise InputError(f"process {process} cannot start; see its own output")
            if other != gathered[0, 1:].tolist():
                stage, step = gathered[0, 1:]
                raise InputError(
                    f"process {process} would continue at stage {other[0]}, iteration {other[1]}, "
                    f"but process 0 at stage {stage}, iteration {step}: give all processes the "
                    "same --workdir on a shared disk"
                )

    def check(self, config: Config, devices: Sequence[jax.Device]) -> None:
        """Raises an InputError if the windows of an iteration cannot be divided evenly."""
        if self.size > 1 and config.windows % len(devices):
            raise InputError(
                f"config.windows={config.windows}: {self.size} processes with {len(devices)} "
                f"devices in all share the windows evenly; use a multiple of {len(devices)}"
            )

    def _gathered(self, *own: int) -> np.ndarray:
        """Returns these numbers of all processes, `[processes, len(own)]`."""
        return np.asarray(multihost_utils.process_allgather(np.array(own, np.int32)))
