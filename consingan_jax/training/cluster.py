"""Runs on a Ray cluster. The only file that imports Ray."""

import dataclasses
import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence

from consingan_jax.errors import InputError
from consingan_jax.training.fleet import Outcome, Task
from consingan_jax.training.watch import Watcher

SECONDS = 5.0  # between two looks at what is done
RETRIES = 10  # of a task whose process or machine has died; each goes on from its last checkpoint


@dataclasses.dataclass(frozen=True)
class Ray:
    """Does tasks on a Ray cluster, which retries what dies; a directory that all machines share
    holds the runs.

    Attributes:
        address: of the cluster, "HOST:PORT", or "auto" for the one that this machine is part of;
            empty: RAY_ADDRESS, or a cluster of this machine alone.
        cpus: cores that each run takes.
        gpus: GPUs that each run takes, or a part of one.
    """

    address: str = ""
    cpus: float = 2
    gpus: float = 0

    def __call__(
        self, tasks: Sequence[Task], watcher: Watcher
    ) -> Iterator[tuple[Task, Outcome | None]]:
        """Yields tasks with their outcomes as they are done, and one with None now and then.

        Raises:
            InputError: Ray is not installed, the cluster cannot be reached, or none of its machines
                has what a run takes.
        """
        del watcher  # of this process alone
        if importlib.util.find_spec("ray") is None:
            raise InputError("engine=ray needs ray: python -m pip install ray (the extra ray)")
        import ray

        self._join()
        try:
            self._check_room(ray.nodes())
            remote = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES)(_work)
            open_tasks = {remote.remote(task): task for task in tasks}
            while open_tasks:
                done, _ = ray.wait(list(open_tasks), timeout=SECONDS)
                for reference in done:
                    task = open_tasks.pop(reference)
                    yield task, _outcome(reference)
                if not done:
                    yield next(iter(open_tasks.values())), None
        finally:
            ray.shutdown()

    def _join(self) -> None:
        import ray

        address = self.address or os.environ.get("RAY_ADDRESS") or None
        where = {"address": address} if address else {"include_dashboard": False}
        try:
            # The tasks find what this process finds, wherever it was begun.
            environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(_own_path())}}
            ray.init(
                **where, runtime_env=environment, logging_level=logging.ERROR, log_to_driver=False
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"engine=ray: no cluster at {address or 'this machine'}: {reason}"
            ) from None

    def _check_room(self, nodes: Sequence[dict]) -> None:
        """Raises an InputError if a run would wait for ever."""
        for node in nodes:
            has = node["Resources"] if node["Alive"] else {}
            if has.get("CPU", 0) >= self.cpus and has.get("GPU", 0) >= self.gpus:
                return
        raise InputError(
            f"engine=ray: no machine of the cluster has {self.cpus:g} CPUs and {self.gpus:g} GPUs: "
            "give --cpus and --gpus that one has"
        )


def _own_path() -> list[str]:
    import consingan_jax

    (package,) = consingan_jax.__path__
    return [os.path.dirname(package), *filter(None, [os.environ.get("PYTHONPATH")])]


def _work(task: Task) -> Outcome:
    return task.work()


def _outcome(reference) -> Outcome:
    """Returns what came of a task; a fault of the program is what it failed of."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return Outcome(f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}", {})
