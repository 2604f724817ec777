"""Places runs and windows on a mesh of devices.

The mesh has two axes. Runs are divided over one of them and exchange nothing. The windows of an
iteration are divided over the other; along it everything else is replicated and gradients are
averaged. Both use `jax.shard_map`, because XLA's own partitioner would gather the grouped
convolutions of several models on every device (openxla/xla issue 47945).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from consingan_jax.training.iteration import WINDOWS, Iteration

RUNS = "runs"  # the mesh axis over which runs are divided
Arguments = tuple[Any, ...]
"""The arguments of `Iteration.run`: state, constants, key and number of iterations."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """The placement of some runs and their windows on a mesh of devices.

    One run on one device is passed to the loop as it is. Otherwise the runs are stacked along a
    leading axis. The last one is repeated to fill the mesh; its copies make no iterations.

    Attributes:
        num_runs: number of runs that train together.
        devices: `[runs][windows]`, the mesh; empty for one run on the default device.
    """

    num_runs: int = 1
    devices: tuple[tuple[jax.Device, ...], ...] = ((),)

    @property
    def num_devices(self) -> int:
        """Number of devices of the mesh."""
        return max(1, len(self.devices) * len(self.devices[0]))

    @property
    def runs_per_device(self) -> int:
        """Number of runs that each device trains."""
        return -(-self.num_runs // len(self.devices))

    def loop(self, program: Iteration) -> Callable:
        """Returns `program.run` for the results of `place` and `counts`."""
        if self._is_trivial:
            return program.run
        num_windows = len(self.devices[0])
        run = program.divided(num_windows).run if num_windows > 1 else program.run
        if self.runs_per_device > 1:
            run = _several(run, self.devices[0][0].platform)
        else:
            run = _single(run)
        spec = PartitionSpec(RUNS)
        return jax.shard_map(run, mesh=self._mesh, in_specs=spec, out_specs=spec, check_vma=False)

    def shapes(self, one: Arguments) -> Arguments:
        """Returns the shapes of the loop's arguments, given those of one run."""
        if self._is_trivial:
            return one
        size, sharding = self._stack_size, self._sharding
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((size, *x.shape), x.dtype, sharding=sharding), one
        )

    def place(self, runs: Sequence[Arguments]) -> Arguments:
        """Returns the loop's arguments, except the counts, given those of each run."""
        if self._is_trivial:
            return runs[0]
        return jax.tree.map(self._stacked, *runs, *[runs[-1]] * (self._stack_size - len(runs)))

    def counts(self, counts: Sequence[int]) -> Any:
        """Returns the loop's last argument: the number of iterations of every run."""
        if self._is_trivial:
            return np.int32(counts[0])
        return self._put(np.array([*counts, *[0] * (self._stack_size - len(counts))], np.int32))

    def metrics_of(self, metrics: dict[str, np.ndarray], run: int) -> dict[str, float]:
        """Returns the metrics of one run, given those of all on the host."""
        return {name: float(x if self._is_trivial else x[run]) for name, x in metrics.items()}

    def of(self, placed: Any, run: int) -> Any:
        """Returns one run's part of a placed tree, on the default device."""
        if self._is_trivial:
            return placed
        device, place = divmod(run, self.runs_per_device)

        # From the shard itself: indexing the stack would be a computation on all its devices, in
        # which other processes would have to take part.
        def one(stacked: jax.Array) -> jax.Array:
            shards = {shard.index[0].start or 0: shard.data for shard in stacked.addressable_shards}
            return jnp.asarray(np.asarray(shards[device * self.runs_per_device])[place])

        return jax.tree.map(one, placed)

    def _stacked(self, *leaves: jax.Array) -> jax.Array:
        if jax.dtypes.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
            data = self._stacked(*map(jax.random.key_data, leaves))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaves[0]))
        # Stacked on the host, since one device may not have the memory for all runs.
        stacked = np.stack([np.asarray(leaf) for leaf in leaves])
        if jax.process_count() > 1:
            # Hosts may have rounded differently. Replicas must start bit-identical, or they drift
            # apart, since only gradients are averaged.
            stacked = np.asarray(multihost_utils.broadcast_one_to_all(stacked))
        return self._put(stacked)

    def _put(self, array: np.ndarray) -> jax.Array:
        # `device_put` would make all processes compare the array.
        return jax.make_array_from_callback(array.shape, self._sharding, lambda index: array[index])

    @property
    def _is_trivial(self) -> bool:
        return self.num_runs == self.num_devices == 1

    @property
    def _stack_size(self) -> int:
        return self.runs_per_device * len(self.devices)

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (RUNS, WINDOWS))

    @property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec(RUNS))


ALONE = Placement()


def placement_for(num_runs: int, num_windows: int, devices: Sequence[jax.Device]) -> Placement:
    """Returns the placement of some runs, or of one run with `num_windows`, on the devices.

    Several runs get the fewest devices that keep the most runs on one device as few as possible.
    One run gets the most devices that divide its windows evenly.
    """
    if num_runs > 1:
        most_runs = -(-num_runs // len(devices))
        num_devices = -(-num_runs // most_runs)
        return Placement(num_runs, tuple((device,) for device in devices[:num_devices]))
    num_devices = max(n for n in range(1, len(devices) + 1) if num_windows % n == 0)
    return Placement(1, (tuple(devices[:num_devices]),)) if num_devices > 1 else ALONE


def _several(run: Callable, platform: str) -> Callable:
    """Returns `run` for the stacked runs of one device."""
    # A GPU does them together. A CPU does them in turn: one run already fills its cores, and for
    # batched matrix products XLA copies the operands first (docs/scaling.md).
    if platform != "cpu":
        return jax.vmap(run)
    return lambda *runs: jax.lax.map(lambda one: run(*one), runs)


def _single(run: Callable) -> Callable:
    """Returns `run` for a stack of one run."""

    # Not by `vmap`, which would compile batched operations instead of the plain ones.
    def only(*runs: Any) -> Any:
        result = run(*jax.tree.map(lambda x: x[0], runs))
        return jax.tree.map(lambda x: x[None], result)

    return only
