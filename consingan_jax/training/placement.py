"""Places runs and windows on devices.

Windows need their gradients summed, and runs need nothing of each other. Both are divided by
`jax.shard_map`: XLA's own partitioner would gather the grouped convolutions that several models
become on every device (openxla/xla issue 47945).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from consingan_jax.training.step import WINDOWS, StageStep

RUNS = "runs"  # the mesh axis over which runs are divided
Arguments = tuple[Any, ...]
"""State, data, key and number of iterations of a run, as `StageStep.run` takes them."""


class Placement(Protocol):
    """How the loop of a stage lies on devices."""

    def loop(self, program: StageStep) -> Callable:
        """Returns `program.run` for what `place` returns."""

    def shapes(self, one: Arguments) -> Arguments:
        """Returns the shapes of what the loop takes, from those of one run's arguments."""

    def place(self, runs: Sequence[Arguments]) -> Arguments:
        """Returns the arguments of all runs, but for the count, as the loop takes them."""

    def counts(self, counts: Sequence[int]) -> Any:
        """Returns the number of iterations of every run as the loop takes them."""

    def numbers(self, metrics: dict[str, np.ndarray], run: int) -> dict[str, float]:
        """Returns the losses of one run, from those of all on the host."""

    def of(self, placed: Any, run: int) -> Any:
        """Returns what belongs to one run, on the device where its pictures are made."""


class _OneRun:
    """What the layouts of one run have in common."""

    def counts(self, counts: Sequence[int]) -> Any:
        """See `Placement`."""
        return np.int32(counts[0])

    def numbers(self, metrics: dict[str, np.ndarray], run: int) -> dict[str, float]:
        """See `Placement`."""
        del run
        return {name: float(value) for name, value in metrics.items()}


@dataclasses.dataclass(frozen=True)
class Alone(_OneRun):
    """One run on one device."""

    def loop(self, program: StageStep) -> Callable:
        """See `Placement`."""
        return program.run

    def shapes(self, one: Arguments) -> Arguments:
        """See `Placement`."""
        return one

    def place(self, runs: Sequence[Arguments]) -> Arguments:
        """See `Placement`."""
        (only,) = runs
        return only

    def of(self, placed: Any, run: int) -> Any:
        """See `Placement`."""
        del run
        return placed


@dataclasses.dataclass(frozen=True)
class Windows(_OneRun):
    """One run, the windows of an iteration divided over devices; all else is on each of them."""

    devices: tuple[jax.Device, ...]

    def loop(self, program: StageStep) -> Callable:
        """See `Placement`."""
        run = program.divided(len(self.devices)).run
        everywhere = PartitionSpec()
        return jax.shard_map(
            run, mesh=self._mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False
        )

    def shapes(self, one: Arguments) -> Arguments:
        """See `Placement`."""
        return _lying(one, self._sharding)

    def place(self, runs: Sequence[Arguments]) -> Arguments:
        """See `Placement`."""
        (only,) = runs
        if jax.process_count() > 1:  # they may have rounded differently
            return jax.tree.map(self._from_first, only)
        return jax.device_put(only, self._sharding)

    def _from_first(self, x: jax.Array) -> jax.Array:
        """Returns what the first process has, on all devices of all processes."""
        # Other hosts may have rounded differently; replicated state must be bit-identical, or the
        # replicas drift apart, since only gradients are averaged.
        if _is_key(x):
            return _as_data(self._from_first, x)
        same = np.asarray(multihost_utils.broadcast_one_to_all(np.asarray(x)))
        return jax.make_array_from_callback(same.shape, self._sharding, lambda index: same[index])

    def of(self, placed: Any, run: int) -> Any:
        """See `Placement`."""
        del run
        return jax.tree.map(lambda x: x.addressable_data(0), placed)

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (WINDOWS,))

    @property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec())


@dataclasses.dataclass(frozen=True)
class Runs:
    """Several runs, evenly divided over devices; an empty place holds a copy that stands still.

    Attributes:
        number: of runs.
        devices: on which they train.
    """

    number: int
    devices: tuple[jax.Device, ...]

    @property
    def each(self) -> int:
        """How many a device trains."""
        return -(-self.number // len(self.devices))

    def loop(self, program: StageStep) -> Callable:
        """See `Placement`."""
        run, own = _single(program.run), PartitionSpec(RUNS)
        if self.each > 1:
            run = _several(program.run, self.devices[0].platform)
        return jax.shard_map(run, mesh=self._mesh, in_specs=own, out_specs=own, check_vma=False)

    def shapes(self, one: Arguments) -> Arguments:
        """See `Placement`."""
        return _lying(one, self._sharding, self.each * len(self.devices))

    def place(self, runs: Sequence[Arguments]) -> Arguments:
        """See `Placement`."""
        full = [*runs, *[runs[-1]] * self._empty]
        return jax.tree.map(self._stacked, *full)

    def _stacked(self, *leaves: jax.Array) -> jax.Array:
        """Returns arrays of all runs as one, each where its run is: no device sees all of it."""
        # Through the host: a stack on one device would need its memory for all runs at once.
        if _is_key(leaves[0]):
            return _as_data(self._stacked, *leaves)
        return jax.device_put(np.stack([np.asarray(leaf) for leaf in leaves]), self._sharding)

    def counts(self, counts: Sequence[int]) -> Any:
        """See `Placement`."""
        return jax.device_put(np.array([*counts, *[0] * self._empty], np.int32), self._sharding)

    def numbers(self, metrics: dict[str, np.ndarray], run: int) -> dict[str, float]:
        """See `Placement`."""
        return {name: float(values[run]) for name, values in metrics.items()}

    def of(self, placed: Any, run: int) -> Any:
        """See `Placement`."""
        device, place = divmod(run, self.each)

        def one(stacked):
            shards = {shard.index[0].start or 0: shard.data for shard in stacked.addressable_shards}
            return jnp.asarray(np.asarray(shards[device * self.each])[place])

        return jax.tree.map(one, placed)

    @property
    def _empty(self) -> int:
        return self.each * len(self.devices) - self.number

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (RUNS,))

    @property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec(RUNS))


ALONE = Alone()


def placement_for(num_runs: int, num_windows: int, devices: Sequence[jax.Device]) -> Placement:
    """Returns the placement of some runs, or of one with so many windows, on the devices.

    Runs take as few devices as have none with more than its share; windows take as many as divide
    them evenly.
    """
    if num_runs > 1:
        each = -(-num_runs // len(devices))
        return Runs(num_runs, tuple(devices[: -(-num_runs // each)]))
    most = max(n for n in range(1, len(devices) + 1) if num_windows % n == 0)
    return Windows(tuple(devices[:most])) if most > 1 else Alone()


def _several(run: Callable, platform: str) -> Callable:
    """Returns `run` for several runs of one device.

    A GPU does them together. A CPU does them one after the other: it has no idle arithmetic to
    fill, and mapped matrix products make it copy their operands first (docs/scaling.md).
    """
    if platform != "cpu":
        return jax.vmap(run)
    return lambda *runs: jax.lax.map(lambda one: run(*one), runs)


def _single(run: Callable) -> Callable:
    """Returns `run` for a device with one run: the plain arithmetic, not that of a stack of one."""

    def only(*runs):
        result = run(*jax.tree.map(lambda x: x[0], runs))
        return jax.tree.map(lambda x: x[None], result)

    return only


def _is_key(x: jax.Array) -> bool:
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _as_data(place: Callable[..., jax.Array], *keys: jax.Array) -> jax.Array:
    """Returns random keys placed by a function that knows plain arrays alone."""
    data = place(*map(jax.random.key_data, keys))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(keys[0]))


def _lying(one: Arguments, sharding: NamedSharding, *leading: int) -> Arguments:
    """Returns shapes with further leading dimensions and a place."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((*leading, *x.shape), x.dtype, sharding=sharding), one
    )
