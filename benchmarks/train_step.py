"""Seconds of a training iteration: ours, the variant `fast`, the published way in PyTorch.

    python -m benchmarks.train_step [--stages=0,5] [--seconds=20] [--only=ours] [--other=PYTHON]

Measured only where `--only` names them: `native`, ours with XLA's convolutions in the place of
Winograd's; `default_options`, ours without the compiler options of `numerics.jit`;
`default_malloc`, ours with glibc's own settings of malloc, which the baseline always has;
`no_kernels` and `fast_no_kernels`, without the package consingan_kernels (kernels/); and `singan`,
the scale of SinGAN with the same number. `--other` is the interpreter of another environment, say
with another jax, to measure beside this one.

Side by side: each runs in a fresh process of its own, and they take turns, so that a machine whose
speed drifts treats them alike; the figure is the median over the turns. Memory is the peak of that
process. Nothing is read from a compilation cache. Needs PyTorch for the baseline: python -m pip
install torch.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags

from consingan_jax import device, kernels, numerics
from consingan_jax.config import Config
from consingan_jax.generation.architecture import architecture
from consingan_jax.nn import conv, winograd
from consingan_jax.nn.resize import Size
from consingan_jax.runs.inputs import PYRAMIDS
from consingan_jax.training import compiler, estimate
from consingan_jax.training.iteration import Iteration
from consingan_jax.training.iterations import iteration_of

_STAGES = flags.DEFINE_list("stages", ["0", "1", "2", "3", "4", "5"], "Which stages.")
_SECONDS = flags.DEFINE_float("seconds", 20.0, "Time for each of them at every stage.")
_HEIGHT = flags.DEFINE_integer("height", 188, "Of the training image.")
_WIDTH = flags.DEFINE_integer("width", 250, "Of the training image.")
_NAMES = (
    *("ours", "fast", "baseline", "native", "default_options", "default_malloc"),
    *("no_kernels", "fast_no_kernels", "singan"),
)
_ONLY = flags.DEFINE_multi_enum(
    "only", list(_NAMES[:3]), _NAMES, "Measure one of them; repeatable."
)
_OTHER = flags.DEFINE_string("other", "", "An interpreter to measure beside this one.")
_SERVE = flags.DEFINE_enum("serve", None, _NAMES, "For the measured processes.")

# A setting with its default value: where malloc is configured, our own settings are not made.
GLIBC_DEFAULT = {"GLIBC_TUNABLES": "glibc.malloc.arena_test=8"}
TURNS = 5
LEAST = 3  # iterations of a turn


class Ours:
    """Our compiled loop."""

    def __init__(self, program: Iteration):
        state, self.data = jax.jit(lambda: compiler.placeholders(program))()
        start = time.perf_counter()
        self.run = compiler.compile_loop(program)
        self.compile_seconds = time.perf_counter() - start
        self.state = state

    def iterations(self, count: int) -> None:
        """Makes some iterations."""
        key = numerics.key(0)
        self.state, _ = self.run(self.state, self.data, key, np.int32(count))
        jax.block_until_ready(self.state)


class Published:
    """The baseline, from the same start; its noise is drawn in every iteration, as ours is."""

    def __init__(self, program: Iteration):
        import torch

        from benchmarks import torch_baseline

        state, data = jax.jit(lambda: compiler.placeholders(program))()
        self.torch = torch
        self.baseline = torch_baseline.Baseline(
            program.config,
            program.sizes,
            state.generator,
            state.critic,
            data.real,
            data.fixed.given,
            data.noise_amps,
        )

    def iterations(self, count: int) -> None:
        """Makes some iterations."""
        for _ in range(count):
            z = [self.torch.randn_like(one) for one in self.baseline.z_star]
            self.baseline.iterate(z, self.torch.rand(3).tolist())


class DefaultMalloc(Ours):
    """Our loop where glibc keeps its own settings of malloc."""


class NoKernels(Ours):
    """Our loop without the package consingan_kernels."""

    def __init__(self, program: Iteration):
        kernels.disable()
        super().__init__(program)


class Native(Ours):
    """Our loop with convolutions of the platform, but for the gradients of kernels."""

    def __init__(self, program: Iteration):
        kernels.disable()
        winograd.convolution = conv._conv_native
        super().__init__(program)


class DefaultOptions(Ours):
    """Our loop compiled with XLA's own options."""

    def __init__(self, program: Iteration):
        numerics.CPU_OPTIONS.clear()
        super().__init__(program)


KINDS = {
    "ours": Ours,
    "fast": Ours,
    "baseline": Published,
    "native": Native,
    "default_options": DefaultOptions,
    "default_malloc": DefaultMalloc,
    "no_kernels": NoKernels,
    "fast_no_kernels": NoKernels,
    "singan": Ours,
}


class Process:
    """A fresh process that trains one stage one way, and waits between its turns.

    Two in one process would disturb each other: threads that spin, memory that is not given back.
    """

    def __init__(self, name: str, stage: int, size: Size):
        name, _, other = name.partition(" ")
        python = _OTHER.value if other else sys.executable
        command = [python, "-m", "benchmarks.train_step", f"--serve={name}"]
        self.pipe = subprocess.Popen(
            [*command, f"--stages={stage}", f"--height={size[0]}", f"--width={size[1]}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | (GLIBC_DEFAULT if name in ("default_malloc", "baseline") else {}),
        )

    def turn(self, count: int) -> dict[str, float]:
        """Makes some iterations; returns "seconds" of one, "memory" and "compile_seconds"."""
        print(count, file=self.pipe.stdin, flush=True)
        answer = self.pipe.stdout.readline()
        if not answer:
            raise SystemExit("a measured process has failed, see above")
        return json.loads(answer)

    def end(self) -> None:
        """Ends the process."""
        self.pipe.communicate()


def programs(name: str, size: Size) -> list[Iteration]:
    """Returns the iteration of every stage that one of them trains for an image of a size."""
    method = "singan" if name == "singan" else "consingan"
    config = Config.create(variant="fast" if name.startswith("fast") else "", method=method)
    config, levels = PYRAMIDS[method](config, np.zeros((*size, 3), np.float32))
    sizes = [level.shape[1:3] for level in levels]
    arch = architecture(config, channels=3, sizes=sizes)
    return [iteration_of(config, arch, sizes[: stage + 1]) for stage in range(len(sizes))]


def serve(name: str, program: Iteration) -> None:
    """Answers the turns of a `Process`."""
    one = KINDS[name](program)
    for line in sys.stdin:
        start = time.perf_counter()
        one.iterations(int(line))
        seconds = (time.perf_counter() - start) / int(line)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        compile_seconds = getattr(one, "compile_seconds", None)
        answer = {"seconds": seconds, "memory": memory, "compile_seconds": compile_seconds}
        print(json.dumps(answer), flush=True)


def measure(
    names: Sequence[str], stage: int, seconds: float, size: Size
) -> dict[str, dict[str, float]]:
    """Returns the answers of each at one stage, the seconds the median over the turns."""
    processes, counts = {name: Process(name, stage, size) for name in names}, {}
    for name, process in processes.items():
        process.turn(1)
        counts[name] = max(LEAST, int(seconds / TURNS / process.turn(1)["seconds"]))
    answers: dict[str, list] = {name: [] for name in names}
    for _ in range(TURNS):
        for name, process in processes.items():
            answers[name].append(process.turn(counts[name]))
    for process in processes.values():
        process.end()
    medians = {
        name: statistics.median(answer["seconds"] for answer in answers[name]) for name in names
    }
    return {name: {**answers[name][-1], "seconds": medians[name]} for name in names}


def main(_):
    """Prints the table."""
    size = (_HEIGHT.value, _WIDTH.value)
    if _SERVE.value:
        serve(_SERVE.value, programs(_SERVE.value, size)[int(_STAGES.value[0])])
        return
    names = list(_ONLY.value)
    if _OTHER.value:
        names += [f"{name} other" for name in names if name != "baseline"]
    rate = device.matmul_flops()
    print(f"{device.describe()}; a large matmul makes {rate / 1e9:.0f} GFLOP/s")
    for stage in map(int, _STAGES.value):
        program = programs("ours", size)[stage]
        answers = measure(names, stage, _SECONDS.value, size)
        row = {"stage": stage, "size": "{}x{}".format(*program.sizes[-1])}
        row |= {f"{name}_s": round(answer["seconds"], 4) for name, answer in answers.items()}
        for name in answers.keys() - {"baseline"} if "baseline" in answers else ():
            ratio = answers["baseline"]["seconds"] / answers[name]["seconds"]
            row[f"{name}_ratio"] = round(ratio, 2)
        if "ours" in answers:
            arch = program.generator.arch
            operations = estimate.operations(program.config, arch, program.sizes)
            row["share_of_matmul"] = round(operations / answers["ours"]["seconds"] / rate, 2)
            row["compile_s"] = round(answers["ours"]["compile_seconds"], 1)
        row |= {f"{name}_MiB": answer["memory"] >> 20 for name, answer in answers.items()}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    app.run(main)
