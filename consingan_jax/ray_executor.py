"""Runs an executor on a Ray cluster. The only module that imports Ray."""

import contextlib
import dataclasses
import importlib.util
import itertools
import logging
import os
import pathlib
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from consingan_jax.errors import InputError
from consingan_jax.executors import AHEAD

POLL_SECONDS = 5.0  # to wait for a result before yielding None
RETRIES = 10  # of an item whose process or machine died


@dataclasses.dataclass(frozen=True)
class Ray:
    """An `executors.Executor` on a Ray cluster, which repeats the items of machines that died.

    All machines must share a file system, with equal paths of runs and images.

    Attributes:
        address: address of the cluster, "HOST:PORT" or "auto"; by default RAY_ADDRESS, a cluster
            that runs on this machine, or a new one on this machine alone.
        cpus: number of CPU cores per item.
        gpus: number of GPUs per item; may be a fraction.
    """

    address: str = ""
    cpus: float = 2
    gpus: float = 0
    is_local: ClassVar[bool] = False

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Yields (item, `function(item)`) as they are done; see `executors.Executor`.

        Raises:
            InputError: Ray is not installed, the cluster cannot be reached, or this machine alone
                is too small for an item.
        """
        items = iter(items)
        if (first := next(items, None)) is None:  # joining a cluster takes seconds
            return
        with self._joined() as ray:
            directory = os.getcwd()  # which relative paths refer to

            def call(item: Any) -> Any:  # pickled once, with all that `function` holds
                os.chdir(directory)
                return function(item)

            options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": RETRIES}
            remote = ray.remote(**options)(call)
            pending: dict[Any, Any] = {}
            for item in itertools.chain([first], items):
                pending[remote.options(name=f"consingan {item}").remote(item)] = item
                while len(pending) >= AHEAD * self._num_workers(ray):
                    yield from _done(ray, pending)
            while pending:
                yield from _done(ray, pending)

    def _num_workers(self, ray: Any) -> float:
        """Returns how many items the cluster, which may grow, runs at a time now."""
        total, shares = ray.cluster_resources(), {"CPU": self.cpus, "GPU": self.gpus}
        fitting = (total.get(kind, 0) / share for kind, share in shares.items() if share)
        return max(1, min(fitting, default=1))

    @contextlib.contextmanager
    def _joined(self) -> Iterator[Any]:
        """Yields the module `ray`, connected with the cluster."""
        if importlib.util.find_spec("ray") is None:
            raise InputError("engine=ray needs ray: python -m pip install ray (the extra ray)")
        address = self.address or os.environ.get("RAY_ADDRESS", "")
        _check_reachable(address)
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # by default Ray tries 15 minutes
        import ray

        options: dict[str, Any] = {"address": address} if address else {"include_dashboard": False}
        options |= {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            ray.init(**options, runtime_env={"env_vars": self._environment()})
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise _unreachable(address, reason) from None
        try:
            self._check_room(ray.nodes())
            yield ray
        finally:
            ray.shutdown()

    def _environment(self) -> dict[str, str]:
        """Returns environment variables of the workers: this package, and their share of a GPU."""
        package = str(pathlib.Path(__file__).parents[1])
        path = filter(None, [package, os.environ.get("PYTHONPATH")])
        variables = {"PYTHONPATH": os.pathsep.join(path)}
        if self.gpus == 0:
            variables["JAX_PLATFORMS"] = "cpu"
        elif self.gpus < 1:  # JAX alone would reserve three quarters of the GPU
            variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.75 * self.gpus:g}"
        return variables

    def _check_room(self, nodes: Sequence[dict]) -> None:
        """Raises an InputError if items would wait forever; warns if a cluster may have to grow."""
        for node in nodes:
            has = node["Resources"] if node["Alive"] else {}
            if has.get("CPU", 0) >= self.cpus and has.get("GPU", 0) >= self.gpus:
                return
        fault = f"no machine has {self.cpus:g} CPUs and {self.gpus:g} GPUs"
        if not (self.address or os.environ.get("RAY_ADDRESS")):
            raise InputError(f"engine=ray: {fault}: give --cpus and --gpus that this machine has")
        warnings.warn(f"{fault}: the runs wait until the cluster has one", stacklevel=2)


def _check_reachable(address: str) -> None:
    """Raises an InputError if nothing listens at "HOST:PORT"."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdigit()) or "://" in address:
        return  # auto, or the address of a Ray client
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from None


def _unreachable(address: str, reason: str) -> InputError:
    return InputError(f"engine=ray: no cluster at {address or 'this machine'}: {reason}")


def _done(ray: Any, pending: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yields finished items with their results, or one item with None after `POLL_SECONDS`."""
    done, _ = ray.wait(list(pending), timeout=POLL_SECONDS)
    for reference in done:
        item = pending.pop(reference)
        try:
            yield item, ray.get(reference)
        except ray.exceptions.RayError as error:
            yield item, InputError(f"engine=ray: {_last_line(error)}")
    if not done:
        yield next(iter(pending.values())), None


def _last_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
