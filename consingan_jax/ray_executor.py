"""Runs trainings and renders tiles on a Ray cluster. The only module that imports Ray."""

import collections
import contextlib
import dataclasses
import importlib.util
import logging
import os
import pathlib
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from consingan_jax.errors import InputError
from consingan_jax.sweeps.executor import Result, WorkUnit
from consingan_jax.training.progress import ProgressCallback

SECONDS = 5.0  # between two looks at what is done
RETRIES = 10  # of a task whose process or machine has died; each goes on from its last checkpoint
PATIENCE = 120.0  # seconds for which the lock of a machine that died may last


@dataclasses.dataclass(frozen=True)
class Ray:
    """Does tasks on a Ray cluster, which begins again what dies.

    All machines see the runs and the images under the same names.

    Attributes:
        address: of the cluster, "HOST:PORT", or "auto" for the one that this machine is part of;
            empty: RAY_ADDRESS, a cluster that runs on this machine, or a new one of it alone.
        cpus: cores that each task takes.
        gpus: GPUs that each task takes, or a part of one.
    """

    address: str = ""
    cpus: float = 2
    gpus: float = 0

    def __call__(
        self, tasks: Sequence[WorkUnit], watcher: ProgressCallback
    ) -> Iterator[tuple[WorkUnit, list[Result] | None]]:
        """Yields tasks with their outcomes as they are done, and one with None now and then.

        Raises:
            InputError: Ray is not installed, the cluster cannot be reached, or this machine has not
                what a task takes.
        """
        del watcher  # of trainings in this process
        if not tasks:
            return
        with self._joined() as ray:
            work = ray.remote(**self._options())(_work)
            here = os.getcwd()  # paths are relative to where the command was given
            open_tasks = {
                work.options(name=f"train {_name(task)}").remote(here, task): task for task in tasks
            }
            while open_tasks:
                done, _ = ray.wait(list(open_tasks), timeout=SECONDS)
                for reference in done:
                    task = open_tasks.pop(reference)
                    yield task, _outcomes(reference, task)
                if not done:
                    yield next(iter(open_tasks.values())), None

    def map_tiles(
        self, make: Callable[[int, int], np.ndarray], places: Iterable[tuple[int, int]]
    ) -> Iterator[np.ndarray]:
        """Yields what the machines make of each of some places, in their order.

        What a machine that dies had in hand is made elsewhere.

        Args:
            make: from (top, left) of a tile to its numbers; it is sent to the machines.
            places: of the tiles.

        Raises:
            InputError: as for the call.
        """
        with self._joined() as ray:

            def tile(top: int, left: int) -> np.ndarray:  # sent once, with what it is made from
                return make(top, left)

            work = ray.remote(**self._options())(tile)
            there = ray.cluster_resources()
            shares = [("CPU", self.cpus), ("GPU", self.gpus)]
            workers = min(
                (there.get(kind, 0) / share for kind, share in shares if share), default=1
            )
            begun: collections.deque = collections.deque()
            for place in places:
                begun.append(work.remote(*place))
                if len(begun) >= 2 * workers:  # so that memory stays flat
                    yield _tile(begun.popleft())
            while begun:
                yield _tile(begun.popleft())

    def _options(self) -> dict[str, Any]:
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": RETRIES}

    @contextlib.contextmanager
    def _joined(self) -> Iterator[Any]:
        """Yields Ray, joined with the cluster."""
        if importlib.util.find_spec("ray") is None:
            raise InputError("engine=ray needs ray: python -m pip install ray (the extra ray)")
        self._join()
        import ray

        try:
            self._check_room(ray.nodes())
            yield ray
        finally:
            ray.shutdown()

    def _join(self) -> None:
        address = self.address or os.environ.get("RAY_ADDRESS", "")
        _check_reachable(address)
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # or Ray asks for a quarter hour
        import ray

        where: dict[str, Any] = {"address": address} if address else {"include_dashboard": False}
        where |= {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            ray.init(**where, runtime_env={"env_vars": self._environment()})
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise _unreachable(address, reason) from None

    def _environment(self) -> dict[str, str]:
        """Returns the environment of tasks: they find what this process finds, and their share."""
        package = str(pathlib.Path(__file__).parents[2])
        known = {
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        }
        if self.gpus == 0:
            known["JAX_PLATFORMS"] = "cpu"
        elif self.gpus < 1:
            known["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.75 * self.gpus:g}"
        return known

    def _check_room(self, nodes: Sequence[dict]) -> None:
        """Sees that a run does not wait for ever: a cluster may grow, this machine does not."""
        for node in nodes:
            has = node["Resources"] if node["Alive"] else {}
            if has.get("CPU", 0) >= self.cpus and has.get("GPU", 0) >= self.gpus:
                return
        fault = f"no machine has {self.cpus:g} CPUs and {self.gpus:g} GPUs"
        if not (self.address or os.environ.get("RAY_ADDRESS")):
            raise InputError(f"engine=ray: {fault}: give --cpus and --gpus that this one has")
        warnings.warn(f"{fault}: the runs wait until the cluster has one", stacklevel=2)


def _check_reachable(address: str) -> None:
    """Raises an InputError if nobody listens at "HOST:PORT"."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdigit()) or "://" in address:
        return  # auto, or a client's address, for Ray to read
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from None


def _unreachable(address: str, reason: str) -> InputError:
    return InputError(f"engine=ray: no cluster at {address or 'this machine'}: {reason}")


def _name(task: WorkUnit) -> str:
    """Returns what a task is called: after its runs."""
    return " ".join(pathlib.Path(run).name for run in task.runs)


def _work(here: str, task: WorkUnit) -> list[Result]:
    os.chdir(here)
    try:
        outcomes = task.work()
        end = time.monotonic() + PATIENCE
        while held := [i for i, one in enumerate(outcomes) if one.is_held]:
            if time.monotonic() > end:
                break
            time.sleep(SECONDS)
            for i, outcome in zip(held, task.only(held).work(), strict=True):
                outcomes[i] = outcome
        return outcomes
    finally:
        jax.clear_caches()  # the next task in this process may have other sizes


def _tile(reference) -> np.ndarray:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        raise InputError(f"engine=ray: a tile could not be made: {_words(error)}") from None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"


def _outcomes(reference, task: WorkUnit) -> list[Result]:
    """Returns what came of a task; a fault of the program is what it failed of."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return [Result(_words(error))] * len(task.runs)
