"""Groups runs with equal pyramid shapes, to train each group in one program."""

import collections
from collections.abc import Hashable, Iterator, Sequence

import jax

from consingan_jax import device, numerics
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.training import compiler
from consingan_jax.training.iteration import Iteration
from consingan_jax.training.iterations import iteration_of
from consingan_jax.training.placement import ALONE, placement_for

MAX_RUNS = 16  # of one device in a group, if the user gives no number
MEMORY_FRACTION = 0.8  # of a device that such a group may fill


@numerics.independent
def group_runs(
    configs: Sequence[Config], stack: int, devices: Sequence[jax.Device] | None
) -> Iterator[list[int]]:
    """Yields groups of runs that train together, as indices into `configs`.

    Args:
        configs: configurations that differ in image and seed only.
        stack: maximum number of runs in a group; 0 means as many as fit the devices, one per
            device on a CPU.
        devices: the devices of each group; None if they are those of other machines, unknown here.

    Raises:
        InputError: a group of `stack` runs cannot fit the memory.
    """
    if not stack and (devices is None or (_is_cpu(devices) and len(devices) == 1)):
        stack = 1
    if stack == 1:  # without loading the images
        yield from ([i] for i in range(len(configs)))
        return
    # The top stage's step compares equal exactly if one compiled program can serve both runs.
    alike: dict[Hashable, list[int]] = collections.defaultdict(list)
    for i, config in enumerate(configs):
        alike[_top_step(config) or i].append(i)
    for step, indices in alike.items():
        size = min(len(indices), stack or len(indices))
        if isinstance(step, Iteration) and devices is not None and size > 1:
            if stack:
                _check_memory(step, size, devices)
            else:
                size = _num_fitting(step, devices)
        for first in range(0, len(indices), size):
            yield indices[first : first + size]


def _top_step(config: Config) -> Iteration | None:
    """Returns the training step of the last stage; None if the image cannot be read."""
    try:
        inputs = load_inputs(config)
    except (InputError, OSError):
        return None  # the run fails with this error when it is trained
    return iteration_of(inputs.config, inputs.arch, inputs.sizes)


def _num_fitting(step: Iteration, devices: Sequence[jax.Device]) -> int:
    if _is_cpu(devices):
        return len(devices)
    limit, needed = device.memory_limit(), compiler.memory(step, ALONE)
    each = MAX_RUNS if limit is None else min(MAX_RUNS, int(MEMORY_FRACTION * limit / needed))
    return max(1, each) * len(devices)


def _check_memory(step: Iteration, size: int, devices: Sequence[jax.Device]) -> None:
    limit = device.memory_limit()
    if limit is None:
        return
    placement = placement_for(size, 1, devices)
    needed = compiler.memory(step, placement)
    if _is_cpu(devices):  # they share one memory
        needed *= placement.num_devices
    if needed > limit:
        height, width = step.sizes[-1]
        raise InputError(
            f"stack={size}: {size} models of {height}x{width} px need {needed / 2**30:.1f} GiB, "
            f"but only {limit / 2**30:.1f} GiB are available: give "
            f"{max(1, int(size * limit / needed))} or less"
        )


def _is_cpu(devices: Sequence[jax.Device]) -> bool:
    return devices[0].platform == "cpu"
