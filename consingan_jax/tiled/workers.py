"""Distributes tiles over devices, a thread each."""

import collections
import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from consingan_jax import numerics

Make = Callable[[int, int], np.ndarray]
"""From (top, left) of a window to its numbers, `[h, w, C]` or `[T, h, w, C]`."""
Place = tuple[int, int]
MapTiles = Callable[[Make, Iterable[Place]], Iterator[np.ndarray]]
"""Yields what a function makes of each of some places, in their order; a few ahead at most."""

AHEAD = 2  # tiles of each worker that may wait to be written


def map_here(make: Make, places: Iterable[Place]) -> Iterator[np.ndarray]:
    """Makes one after the other in this thread; see `MapTiles`."""
    return itertools.starmap(make, places)


def over(devices: Sequence[jax.Device]) -> MapTiles:
    """Returns what lets each device make its share."""
    if len(devices) == 1:
        return map_here

    def map_tiles(make: Make, places: Iterable[Place]) -> Iterator[np.ndarray]:
        def on(device: jax.Device, place: Place) -> np.ndarray:
            with jax.default_device(device), numerics.own_settings():
                return np.asarray(make(*place))

        with contextlib.ExitStack() as stack:
            threads = [
                stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)) for _ in devices
            ]
            workers = itertools.cycle(zip(threads, devices, strict=True))
            begun: collections.deque[concurrent.futures.Future] = collections.deque()
            for place in places:
                thread, device = next(workers)
                begun.append(thread.submit(on, device, place))
                if len(begun) == AHEAD * len(devices):
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()

    return map_tiles
