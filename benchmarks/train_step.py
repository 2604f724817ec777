"""Seconds of a training iteration, ours and the published way in PyTorch, side by side.

    python -m benchmarks.train_step [--stages=0,5] [--seconds=20] [--only=ours]

Both take turns in one process, so that a machine whose speed drifts treats them alike; the figure
is the median over turns. Memory is the peak of a fresh process each, of one stage. Needs PyTorch
for the baseline: python -m pip install torch.
"""

import json
import resource
import statistics
import subprocess
import sys
import time

import jax
import numpy as np
from absl import app, flags

from configs import default
from consingan_jax import config as config_lib
from consingan_jax import device, estimate, step

_STAGES = flags.DEFINE_list("stages", ["0", "1", "2", "3", "4", "5"], "Which stages.")
_SECONDS = flags.DEFINE_float("seconds", 20.0, "Time for each of the two at every stage.")
_HEIGHT = flags.DEFINE_integer("height", 188, "Of the training image.")
_WIDTH = flags.DEFINE_integer("width", 250, "Of the training image.")
_ONLY = flags.DEFINE_enum("only", None, ["ours", "baseline"], "Measure one of the two.")
_MEMORY = flags.DEFINE_bool("memory", True, "Measure peak memory in fresh processes.")
_PEAK = flags.DEFINE_bool("peak", False, "For that: make two iterations, print the peak memory.")

TURNS = 5


class Ours:
    """Our compiled loop."""

    def __init__(self, program: step.StageProgram):
        state, self.data = jax.jit(program.placeholders)()
        start = time.perf_counter()
        self.run = program.compile(state, self.data)
        self.compile_seconds = time.perf_counter() - start
        self.state = state

    def iterations(self, count: int) -> None:
        """Makes some iterations."""
        key = jax.random.key(0)
        self.state, _ = self.run(self.state, self.data, key, np.int32(count))
        jax.block_until_ready(self.state)


class Published:
    """The baseline, from the same start; its noise is drawn in every iteration, as ours is."""

    def __init__(self, program: step.StageProgram):
        import torch

        from benchmarks import torch_baseline

        state, data = jax.jit(program.placeholders)()
        self.torch = torch
        self.baseline = torch_baseline.Baseline(
            dict(program.config),
            program.sizes,
            state.generator,
            state.critic,
            data.real,
            data.z_star,
            data.noise_amps,
        )

    def iterations(self, count: int) -> None:
        """Makes some iterations."""
        for _ in range(count):
            z = [self.torch.randn_like(one) for one in self.baseline.z_star]
            self.baseline.iterate(z, self.torch.rand(3).tolist())


KINDS = {"ours": Ours, "baseline": Published}


def measure(kinds: dict, seconds: float) -> dict[str, float]:
    """Returns the median seconds of an iteration of each, taking turns."""
    counts, times = {}, {name: [] for name in kinds}
    for name, one in kinds.items():
        one.iterations(1)
        start = time.perf_counter()
        one.iterations(1)
        counts[name] = max(1, int(seconds / TURNS / (time.perf_counter() - start)))
    for _ in range(TURNS):
        for name, one in kinds.items():
            start = time.perf_counter()
            one.iterations(counts[name])
            times[name].append((time.perf_counter() - start) / counts[name])
    return {name: statistics.median(values) for name, values in times.items()}


def peak_memory(name: str, stage: int) -> int:
    """Returns the peak resident bytes of a fresh process that trains one stage."""
    size = [f"--height={_HEIGHT.value}", f"--width={_WIDTH.value}"]
    command = [sys.executable, "-m", "benchmarks.train_step", f"--stages={stage}", "--peak"]
    result = subprocess.run(
        [*command, f"--only={name}", *size], capture_output=True, text=True, check=True
    )
    return int(result.stdout)


def main(_):
    """Prints the table."""
    config = default.get_config().to_dict()
    sizes = config_lib.level_sizes(config, (_HEIGHT.value, _WIDTH.value))
    arch = config_lib.architecture(config, channels=3)
    names = [_ONLY.value] if _ONLY.value else list(KINDS)
    if _PEAK.value:
        program = step.StageProgram(config, arch, sizes[: int(_STAGES.value[0]) + 1])
        KINDS[names[0]](program).iterations(2)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    rate = device.matmul_flops()
    print(f"{device.describe()}; a large matmul makes {rate / 1e9:.0f} GFLOP/s")
    for stage in map(int, _STAGES.value):
        program = step.StageProgram(config, arch, sizes[: stage + 1])
        kinds = {name: KINDS[name](program) for name in names}
        row = {"stage": stage, "size": "{}x{}".format(*sizes[stage])}
        seconds = measure(kinds, _SECONDS.value)
        row |= {f"{name}_s": round(value, 4) for name, value in seconds.items()}
        if len(names) == 2:
            row["ratio"] = round(seconds["baseline"] / seconds["ours"], 2)
        if "ours" in kinds:
            operations = estimate.operations(config, arch, sizes[: stage + 1])
            row["share_of_matmul"] = round(operations / seconds["ours"] / rate, 2)
            row["compile_s"] = round(kinds["ours"].compile_seconds, 1)
        if _MEMORY.value:
            row |= {f"{name}_MiB": peak_memory(name, stage) >> 20 for name in names}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    app.run(main)
