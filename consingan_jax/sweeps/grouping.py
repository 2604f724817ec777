"""Groups runs with equal pyramid shapes, to train them in one program."""

import collections
from collections.abc import Hashable, Iterator, Sequence

import jax

from consingan_jax import device, numerics
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.training import compiler
from consingan_jax.training.placement import ALONE, placement_for
from consingan_jax.training.step import StageStep

MOST = 16  # runs of one device that are put together unasked
SHARE = 0.8  # of its memory that they may take then


@numerics.independent
def formed(
    configs: Sequence[Config], stack: int, there: Sequence[jax.Device] | None
) -> Iterator[list[int]]:
    """Yields the runs that train together, by their places in `configs`.

    Args:
        configs: of the runs, alike but for image and seed.
        stack: how many at most; 0: as many as the devices hold, on a CPU one each.
        there: the devices; None where they are those of other machines, and nobody can say.

    Raises:
        InputError: so many cannot fit.
    """
    if not stack and (there is None or (_is_cpu(there) and len(there) == 1)):
        stack = 1
    if stack == 1:
        yield from ([place] for place in range(len(configs)))
        return
    alike: dict[Hashable, list[int]] = collections.defaultdict(list)
    for place, config in enumerate(configs):
        alike[_top(config) or place].append(place)
    for program, places in alike.items():
        size = min(len(places), stack or len(places))
        if isinstance(program, StageStep) and there is not None and size > 1:
            if stack:
                _check(program, size, there)
            else:
                size = _fitting(program, there)
        for first in range(0, len(places), size):
            yield places[first : first + size]


def _top(config: Config) -> StageStep | None:
    """Returns the arithmetic of a run's last stage; None if its image cannot be read."""
    try:
        inputs = load_inputs(config)
    except (InputError, OSError):
        return None
    return StageStep(inputs.config, inputs.arch, inputs.sizes)


def _fitting(program: StageStep, there: Sequence[jax.Device]) -> int:
    """Returns how many runs the devices hold."""
    if _is_cpu(there):
        return len(there)
    limit, needed = device.memory_limit(), compiler.memory(program, ALONE)
    each = MOST if limit is None else min(MOST, int(SHARE * limit / needed))
    return max(1, each) * len(there)


def _check(program: StageStep, size: int, there: Sequence[jax.Device]) -> None:
    """Raises an InputError if so many runs cannot fit."""
    limit = device.memory_limit()
    if limit is None:
        return
    placement = placement_for(size, 1, there)
    needed = compiler.memory(program, placement)
    if _is_cpu(there):  # whose devices share it
        needed *= placement.num_devices
    if needed > limit:
        height, width = program.sizes[-1]
        raise InputError(
            f"stack={size}: models of {height}x{width} px need {needed / 2**30:.1f} GiB together "
            f"and {limit / 2**30:.1f} GiB are there: give {max(1, int(size * limit / needed))} or "
            "less"
        )


def _is_cpu(there: Sequence[jax.Device]) -> bool:
    return there[0].platform == "cpu"
