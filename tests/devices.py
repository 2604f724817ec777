"""Whether one image on several devices, and several images at once, come out as they do alone.

    python -m tests.devices [--devices=8] [--num_iters=20]

Divides this machine's CPU into devices. Trains the last stage of the painted scene on as many
windows as there are devices: on one device, on two and on all of them; then so many seeds together,
on one device and on all, and one of them alone. Compares what has changed within the limits of the
recordings (2 % of each tensor's change, 2e-3 in the reconstruction), counts the collectives of the
compiled loops by their names, and prints the seconds of an iteration. Exits with 1 if a limit is
exceeded, or a collective is there that has no business there.
"""

import functools
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags

from consingan_jax.config import Config
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.training import compiler
from consingan_jax.training.placement import ALONE, Placement
from consingan_jax.training.stage import StageFactory, StageState
from tests.collectives import collectives

_DEVICES = flags.DEFINE_integer("devices", 8, "Into how many the CPU is divided.")
_NUM_ITERS = flags.DEFINE_integer("num_iters", 20, "Iterations to compare after.")
_NUM_STAGES = flags.DEFINE_integer("num_stages", 3, "Of which the last is compared.")
_MAX_SIZE = flags.DEFINE_integer("max_size", 100, "Of the pyramid, in pixels.")
_BEFORE = flags.DEFINE_integer(
    "before", 200, "Iterations of each stage below: a network that knows nothing is chaotic."
)
_NUM_LAYERS = flags.DEFINE_integer("num_layers", 3, "Convolutions in a stage.")
_NUM_FILTERS = flags.DEFINE_integer("num_filters", 32, "Features of every hidden layer.")

_compiled = functools.cache(compiler.compile_loop)  # all seeds have the same programs


class Result(NamedTuple):
    """What a run has become: the parameters of both networks, and its reconstruction error."""

    parameters: tuple
    reconstruction: float


def main(_) -> None:
    """Trains and compares."""
    jax.config.update("jax_num_cpu_devices", _DEVICES.value)
    devices = tuple(jax.devices())
    assert len(devices) == _DEVICES.value, devices
    exceeded = [_windows_differ(devices), _seeds_differ(devices)]
    sys.exit(any(exceeded))


def _windows_differ(devices: Sequence[jax.Device]) -> bool:
    """Trains windows on one, two and all devices; returns whether they come out otherwise."""
    stage, differ = _last_stage(seed=0, window=0.5), False
    print(f"{len(devices)} windows of {stage.program.window} in {stage.program.sizes[-1]} px")
    print("on one device")
    (alone,), _ = _trained(ALONE, [stage])
    for number in sorted({2, len(devices)}):
        print(f"on {number} devices")
        (result,), found = _trained(Placement(1, (tuple(devices[:number]),)), [stage])
        differ |= _differ(stage, alone, result) or set(found) != {"all-reduce"}
    return differ


def _seeds_differ(devices: Sequence[jax.Device]) -> bool:
    """Trains seeds together; returns whether the first comes out otherwise than alone."""
    seeds = [_last_stage(seed=seed, window=0) for seed in range(len(devices))]
    differ = False
    print(f"{len(seeds)} seeds of {seeds[0].program.sizes[-1]} px, the first of them alone")
    (alone,), _ = _trained(ALONE, seeds[:1])
    for number in sorted({1, len(devices)}):
        print(f"all of them, {len(devices) // number} on each of {number}")
        results, found = _trained(
            Placement(len(seeds), tuple((device,) for device in devices[:number])), seeds
        )
        differ |= _differ(seeds[0], alone, results[0]) or bool(found)
    return differ


def _last_stage(*, seed: int, window: float) -> StageState:
    """Returns the last stage at its start; those below have been trained a while."""
    below = _NUM_STAGES.value - 1
    config = Config.create(
        image="examples/scene.png",
        seed=seed,
        num_stages=_NUM_STAGES.value,
        min_size=40,
        max_size=_MAX_SIZE.value,
        num_layers=_NUM_LAYERS.value,
        num_filters=_NUM_FILTERS.value,
        window=(*[0.0] * below, window),
        windows=_DEVICES.value,
    )
    stages = StageFactory(load_inputs(config))
    stage = stages.first()
    for _ in range(below):
        stage = stages.grown(_begun(stage))
    return stage


def _begun(stage: StageState) -> StageState:
    loop, count = _compiled(stage.program), _BEFORE.value
    state, _ = loop(_copied(stage.state), stage.data, stage.key, np.int32(count))
    return stage.after(count, lambda: state)


def _copied(tree):
    """Returns arrays for a loop, which takes over the memory of its state."""
    return jax.tree.map(lambda x: x.copy(), tree)


def _trained(placement: Placement, of: Sequence[StageState]) -> tuple[list[Result], dict[str, int]]:
    """Returns what every run has become, and the loop's collectives; prints what that took."""
    loop = _compiled(of[0].program, placement)
    found = collectives(loop.as_text())
    state, data, key = placement.place([(stage.state, stage.data, stage.key) for stage in of])
    state, counts = _copied(state), placement.counts([_NUM_ITERS.value] * len(of))
    start = time.perf_counter()
    state, metrics = jax.block_until_ready(loop(state, data, key, counts))
    seconds = (time.perf_counter() - start) / _NUM_ITERS.value
    print(f"{seconds:8.3f} s an iteration; collectives: {found or 'none'}", flush=True)
    metrics = jax.device_get(metrics)
    results = []
    for i in range(len(of)):
        one = jax.device_get(placement.of(state, i))
        error = placement.metrics_of(metrics, i)["reconstruction_rmse"]
        results.append(Result((one.generator, one.critic), error))
    return results, found


def _differ(before: StageState, one: Result, other: Result) -> bool:
    """Prints how far two results lie apart; returns whether that is too far."""

    def change(a, b, start):
        return np.linalg.norm(a - b) / max(np.linalg.norm(b - start), 1e-12)

    start = jax.device_get((before.state.generator, before.state.critic))
    apart = jax.tree.map(change, other.parameters, one.parameters, start)
    worst = float(np.max(jax.tree.leaves(apart)))  # a NaN stays one
    error = abs(one.reconstruction - other.reconstruction)
    print(f"         apart: {worst:.2%} of a tensor's change, {error:.1e} in the reconstruction")
    return not (worst <= 0.02 and error <= 2e-3)


if __name__ == "__main__":
    app.run(main)
