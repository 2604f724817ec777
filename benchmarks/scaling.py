"""Images per hour of stacks of models, and iterations of many windows, on several devices.

    python -m benchmarks.scaling [--max_size=64] [--turn=4] [--published]

A stack of 1, 2, 4, 8, 16 models of one image at --max_size, on 1, 2, 4, 8 devices into which the
CPU is divided, each in a process of its own: seconds of an iteration at stages 1, 3 and 5, which
stand for two each, and from them images per hour for 2000 iterations a stage without compilation,
pictures and checkpoints. The line "4, mapped" is such a stack as a GPU trains it, by `jax.vmap`, on
the CPU; the first line is measured once more after it. --published adds the published program, as
benchmarks/torch_baseline.py has it (the extra `torch`). Then seconds of an iteration at the last
stage of a pyramid of twice that size, in 1, 2, 4, 8 windows of half its sides, and the collectives
of the compiled text. Close what else runs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import jax
from absl import app, flags

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.generation.architecture import architecture
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.training import compiler, placement
from consingan_jax.training.step import StageStep
from tests.collectives import collectives

_MAX_SIZE = flags.DEFINE_integer("max_size", 64, "Of the pyramid, in pixels.")
_TURN = flags.DEFINE_float("turn", 4.0, "Seconds of each measurement, about.")
_PUBLISHED = flags.DEFINE_bool("published", False, "Measure the published program too.")
_MEASURE = flags.DEFINE_string("measure", "", "For the measured processes: what, as JSON.")

STACKS = [(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (2, 2), (4, 2), (8, 2), (16, 2), (8, 4), (8, 8)]
WINDOWS = [(1, 1), (2, 1), (4, 1), (8, 1), (2, 2), (4, 2), (8, 2), (8, 4), (8, 8)]
MAPPED = 4  # models
STAGES = (1, 3, 5)
ITERATIONS = 2000


class Mapped(placement.Placement):
    """Several runs of one device as a GPU trains them, wherever that is."""

    def loop(self, program: StageStep) -> Callable:
        """See `Placement.loop`."""
        return jax.vmap(program.run)


def served(what: dict) -> dict:
    """Returns a measurement, made in this process."""
    windows, stack = what.get("windows"), what.get("stack", 1)
    changes = {"windows": windows, "window": 0.5} if windows else {}
    size = _MAX_SIZE.value * (2 if windows else 1)
    config = Config.create(image="examples/scene.png", max_size=size, **changes)
    sizes, arch = load_inputs(config).sizes, architecture(config, channels=3)
    answer: dict = {"seconds": [], "collectives": {}}
    for stage in STAGES[-1:] if windows else STAGES:
        program = StageStep(config, arch, sizes[: stage + 1])
        if what.get("published"):
            from benchmarks.train_step import Published

            run = Published(program).iterations
        else:
            where = placement.placement_for(stack, windows or 1, jax.devices())
            if what.get("mapped"):
                where = Mapped(stack, (tuple(jax.devices()),))
            loop = compiler.compile_loop(program, where)
            answer["collectives"] |= collectives(loop.as_text())
            state, data = jax.jit(lambda program=program: compiler.placeholders(program))()
            keys = [jax.random.fold_in(numerics.key(0), run) for run in range(stack)]
            held = [*where.place([(state, data, key) for key in keys])]

            def run(count, held=held, loop=loop, where=where):
                held[0], metrics = loop(*held, where.counts([count] * stack))
                jax.block_until_ready((held[0], metrics))

        run(1)
        start = time.perf_counter()
        run(1)
        count = max(2, int(_TURN.value / (time.perf_counter() - start)))
        start = time.perf_counter()
        run(count)
        answer["seconds"].append((time.perf_counter() - start) / count)
    return answer


def measured(devices: int, **what) -> dict:
    """Returns what a process of so many devices measures."""
    forced = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "benchmarks.scaling", f"--measure={json.dumps(what)}"]
    command += [f"--max_size={_MAX_SIZE.value}", f"--turn={_TURN.value}"]
    environment = {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {forced}"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def main(_) -> None:
    """Prints both tables."""
    if _MEASURE.value:
        print(json.dumps(served(json.loads(_MEASURE.value))))
        return
    print(f"os.cpu_count() {os.cpu_count()}; stacks at {_MAX_SIZE.value} px")
    print(
        "| models | devices | seconds of an iteration of all | images per hour |\n|---|---|---|---|"
    )
    for stack, devices in STACKS:
        _line(stack, devices, measured(devices, stack=stack)["seconds"], stack)
    _line(f"{MAPPED}, mapped", 1, measured(1, stack=MAPPED, mapped=True)["seconds"], MAPPED)
    _line("1, again", 1, measured(1, stack=1)["seconds"], 1)
    if _PUBLISHED.value:
        _line("published, 1", 1, measured(1, published=True)["seconds"], 1)
    print(f"\nwindows of half a side at {2 * _MAX_SIZE.value} px")
    print("| windows | devices | seconds of an iteration | collectives |\n|---|---|---|---|")
    for windows, devices in WINDOWS:
        answer = measured(devices, windows=windows)
        found = ", ".join(f"{n} {name}" for name, n in answer["collectives"].items()) or "none"
        print(f"| {windows} | {devices} | {answer['seconds'][0]:.3f} | {found} |", flush=True)


def _line(name, devices, seconds, number) -> None:
    per_hour = 3600 * number / (ITERATIONS * 2 * sum(seconds))
    words = ", ".join(f"{each:.3f}" for each in seconds)
    print(f"| {name} | {devices} | {words} | {per_hour:.2f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
