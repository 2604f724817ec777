"""Executes on a Ray cluster. The only module that imports Ray."""

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

POLL_SECONDS = 5.0  # for which a result is awaited before the caller hears that none came
RETRIES = 10  # of an item whose process or machine has died


@dataclasses.dataclass(frozen=True)
class Ray:
    """Executes on a Ray cluster, which repeats elsewhere what a dying machine had in hand.

    All machines see the runs and the images under the same names.

    Attributes:
        address: of the cluster, "HOST:PORT", or "auto" for the one that this machine is part of;
            empty: RAY_ADDRESS, a cluster that runs on this machine, or a new one of it alone.
        cpus: cores that each item takes.
        gpus: GPUs that each item takes, or a part of one.
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
            InputError: Ray is not installed, the cluster cannot be reached, or this machine has not
                what an item takes.
        """
        items = iter(items)
        if (first := next(items, None)) is None:
            return
        with self._joined() as ray:
            directory = os.getcwd()  # paths are relative to where the command was given

            def call(item: Any) -> Any:  # sent once, with all that the function holds
                os.chdir(directory)
                return function(item)

            remote = ray.remote(**self._options())(call)
            begun: dict[Any, Any] = {}
            for item in itertools.chain([first], items):
                begun[remote.options(name=f"consingan {item}").remote(item)] = item
                while len(begun) >= AHEAD * self._num_workers(ray):
                    yield from _done(ray, begun)
            while begun:
                yield from _done(ray, begun)

    def _num_workers(self, ray: Any) -> float:
        """Returns how many items the cluster, as it is now, does at a time."""
        resources = ray.cluster_resources()
        shares = [("CPU", self.cpus), ("GPU", self.gpus)]
        return max(
            1, min((resources.get(kind, 0) / share for kind, share in shares if share), default=1)
        )

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
        package = str(pathlib.Path(__file__).parents[1])
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


def _done(ray: Any, begun: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yields the items that are done, with their results; one without if none is done soon."""
    done, _ = ray.wait(list(begun), timeout=POLL_SECONDS)
    for reference in done:
        item = begun.pop(reference)
        try:
            yield item, ray.get(reference)
        except ray.exceptions.RayError as error:
            yield item, InputError(f"engine=ray: {_words(error)}")
    if not done:
        yield next(iter(begun.values())), None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
