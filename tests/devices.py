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
import os
import sys
import time

from absl import app, flags

_DEVICES = flags.DEFINE_integer("devices", 8, "Into how many the CPU is divided.")
_NUM_ITERS = flags.DEFINE_integer("num_iters", 20, "Iterations to compare after.")
_MAX_SIZE = flags.DEFINE_integer("max_size", 100, "Of the pyramid, in pixels.")
_BEFORE = flags.DEFINE_integer(
    "before", 200, "Iterations of each stage below: a network that knows nothing is chaotic."
)
_NUM_LAYERS = flags.DEFINE_integer("num_layers", 3, "Convolutions in a stage.")
_NUM_FILTERS = flags.DEFINE_integer("num_filters", 32, "Features of every hidden layer.")


def main(_) -> None:
    """Trains and compares."""
    forced = f"--xla_force_host_platform_device_count={_DEVICES.value}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {forced}"
    import jax
    import numpy as np

    from consingan_jax.config import Config
    from consingan_jax.training import compiler
    from consingan_jax.training.job import prepare
    from consingan_jax.training.layout import ALONE, Runs, Windows
    from consingan_jax.training.stage import Stages
    from tests.collectives import collectives

    devices, failed = tuple(jax.devices()), False
    assert len(devices) == _DEVICES.value, devices

    def stage(seed, window):
        config = Config.create(
            image="examples/scene.png",
            seed=seed,
            num_stages=3,
            min_size=40,
            max_size=_MAX_SIZE.value,
            num_layers=_NUM_LAYERS.value,
            num_filters=_NUM_FILTERS.value,
            window=(0, 0, window),
            windows=len(devices),
        )
        stages = Stages(prepare(config))
        below = begun(stages.grown(begun(stages.first())))
        return stages.grown(below)

    compiled = functools.cache(compiler.compile_loop)  # all seeds have the same programs

    def begun(stage):
        state = copied(stage.state)
        state, _ = compiled(stage.program)(state, stage.data, stage.key, np.int32(_BEFORE.value))
        return stage.after(_BEFORE.value, lambda: state)

    def copied(tree):
        """Returns arrays for a loop, which takes over the memory of its state."""
        return jax.tree.map(lambda x: x.copy(), tree)

    def train(layout, of):
        """Returns what every run has become, and prints what that took."""
        loop = compiled(of[0].program, layout)
        found = collectives(loop.as_text())
        state, data, key = layout.place([(s.state, s.data, s.key) for s in of])
        state = copied(state)
        counts = [_NUM_ITERS.value] * len(of)
        start = time.perf_counter()
        state, metrics = jax.block_until_ready(loop(state, data, key, layout.counts(counts)))
        seconds = (time.perf_counter() - start) / _NUM_ITERS.value
        metrics = jax.device_get(metrics)
        print(f"{seconds:8.3f} s an iteration; collectives: {found or 'none'}", flush=True)
        runs = [
            (jax.device_get(layout.of(state, i)), layout.numbers(metrics, i))
            for i in range(len(of))
        ]
        return runs, found

    def compare(before, one, other):
        """Prints how far two results lie apart; returns whether that is too far."""

        def change(a, b, start):
            return np.linalg.norm(a - b) / max(np.linalg.norm(b - start), 1e-12)

        parts = [(s.generator, s.critic) for s in (other[0], one[0], before)]
        worst = max(jax.tree.leaves(jax.tree.map(change, *parts)))
        error = abs(one[1]["reconstruction_rmse"] - other[1]["reconstruction_rmse"])
        print(
            f"         apart: {worst:.2%} of a tensor's change, {error:.1e} in the reconstruction"
        )
        return worst > 0.02 or error > 2e-3

    windows = stage(0, 0.5)
    before = jax.device_get(windows.state)
    print(f"{len(devices)} windows of {windows.program.window} in {windows.program.sizes[-1]} px")
    print("on one device")
    (first,), _ = train(ALONE, [windows])
    for number in sorted({2, len(devices)}):
        print(f"on {number} devices")
        (result,), found = train(Windows(devices[:number]), [windows])
        failed |= compare(before, first, result) or set(found) != {"all-reduce"}
    seeds = [stage(seed, 0) for seed in range(len(devices))]
    print(f"{len(devices)} seeds of {seeds[0].program.sizes[-1]} px, the first of them alone")
    (alone,), _ = train(ALONE, seeds[:1])
    for number in sorted({1, len(devices)}):
        print(f"all of them, {len(devices) // number} on each of {number}")
        results, found = train(Runs(len(seeds), devices[:number]), seeds)
        failed |= compare(jax.device_get(seeds[0].state), alone, results[0]) or bool(found)
    sys.exit(failed)


if __name__ == "__main__":
    app.run(main)
