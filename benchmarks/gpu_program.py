"""What an iteration would be on an H100, compiled without one: kernels, convolutions, memory.

    JAX_PLATFORMS=cpu python -m benchmarks.gpu_program [--size=188x250] [--dtype=bfloat16] [--remat]
        [--window=256 --windows=1]

Needs the compiler for NVIDIA GPUs: python -m pip install "jax[cuda13]" (4.4 GB), but neither GPU
nor driver. Nothing is timed and nothing autotuned. "kernels" are the instructions in the compiled
text of an iteration that start one, bodies of loops counted once; "accessed" are the bytes of their
operands and results, likewise.
"""

import importlib.util
import json
import math
import os
import re

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from absl import app, flags
from jax.experimental import topologies

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.data import pyramid
from consingan_jax.generation.architecture import architecture
from consingan_jax.training import compiler
from consingan_jax.training.step import StageStep

_SIZES = flags.DEFINE_multi_string(
    "size", ["188x250", "752x1000", "1024x1024"], "Height and width of the training image."
)
_STAGES = flags.DEFINE_integer("num_stages", 6, "Of the configuration; the last one is compiled.")
_DTYPE = flags.DEFINE_string("dtype", "float32", "Of the configuration.")
_REMAT = flags.DEFINE_bool("remat", False, "Of the configuration.")
_WINDOW = flags.DEFINE_float("window", 0.0, "Of the configuration.")
_WINDOWS = flags.DEFINE_integer("windows", 1, "Of the configuration.")
_TEXT = flags.DEFINE_string("text", None, "File for the compiled text of the last size.")

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84978434048 cuda_compute_capability { major: 9 minor: 0 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

# Instructions that start no kernel: they name, regroup or wait.
FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional"),
    *("call", "after-all", "partition-id", "replica-id", "async-done", "async-update", "copy-done"),
    *("optimization-barrier", "domain", "add-dependency"),
}


def compile_for_gpu(program: StageStep) -> jax.stages.Compiled:
    """Returns the compiled loop of a stage for the H100."""
    topology = topologies.get_topology_desc(
        platform="cuda", topology_name="h100", topology="1x1x1", target_config=H100
    )
    sharding = jax.sharding.SingleDeviceSharding(topology.devices[0])

    def place(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    state, data = compiler.shapes(program)
    key = jax.eval_shape(lambda: numerics.key(0))
    count = jax.ShapeDtypeStruct((), "int32")
    arguments = jax.tree.map(place, (state, data, key, count))
    return jax.jit(program.run, donate_argnums=0).lower(*arguments).compile()


def instructions(text: str) -> dict[str, list[str]]:
    """Returns the lines of the computations that an iteration runs through, by name.

    Those are the bodies of loops; not what is inside a kernel, nor what comes before and after.
    """
    computations: dict[str, list[str]] = {}
    inside: set[str] = set()
    name = ""
    for line in text.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            name = header[2]
            computations[name] = []
            inside |= {name} if header[1] else set()
        elif re.match(r"\s+(?:ROOT )?%?[\w.\-]+ = ", line):
            computations[name].append(line)
            inside |= set(re.findall(r"(?:calls|to_apply)=%?([\w.\-]+)", line))
    return {name: lines for name, lines in computations.items() if name not in inside}


def opcode(line: str) -> str:
    """Returns the operation of an instruction."""
    found = re.search(r" = (?:\(.*?\) |\S+ )([\w\-]+)\(", line)
    return found[1] if found else ""


def num_bytes(shape: str) -> int:
    """Returns the size of a shape as XLA writes it, or of a tuple of them."""
    arrays = re.findall(r"([a-z]+)(\d*)\[([\d,]*)\]", shape)
    bits = {"pred": 8}
    return sum(
        bits.get(kind, int(width or 0)) // 8 * math.prod(int(n) for n in dims.split(",") if n)
        for kind, width, dims in arrays
    )


def accessed(lines: list[str], kernels: list[str]) -> int:
    """Returns the bytes of the operands and results of all kernels among `lines`."""
    shapes = {}
    for line in lines:
        if found := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) [\w\-]+\(", line):
            shapes[found[1]] = num_bytes(found[2])
    total = 0
    for line in kernels:
        result, _, operands = line.partition(f" {opcode(line)}(")
        total += num_bytes(result)
        names = re.findall(r"%?([\w.\-]+)", operands.partition(")")[0])
        total += sum(shapes.get(name, 0) for name in names)
    return total


def main(_):
    """Prints a line per size."""
    if importlib.util.find_spec("jax_cuda13_plugin") is None:
        raise SystemExit(
            "gpu_program needs XLA's compiler for NVIDIA GPUs, not a GPU: "
            'python -m pip install "jax[cuda13]" (4.4 GB, best in an environment of its own)'
        )
    for size in _SIZES.value:
        height, width = map(int, size.split("x"))
        config = Config(
            max_size=max(height, width),
            num_stages=_STAGES.value,
            dtype=_DTYPE.value,
            remat=_REMAT.value,
            window=_WINDOW.value,
            windows=_WINDOWS.value,
        )
        arch = architecture(config, channels=3)
        sizes = pyramid.level_sizes(config, (height, width))
        compiled = compile_for_gpu(StageStep(config, arch, sizes))
        text = compiled.as_text()
        lines = [line for body in instructions(text).values() for line in body]
        kernels = [line for line in lines if opcode(line) not in FREE]
        memory = compiled.memory_analysis()
        counts = {
            "kernels": len(kernels),
            "convolutions": sum("__cudnn$conv" in line for line in kernels),
            "fusions": sum(opcode(line) == "fusion" for line in kernels),
            "copies": sum(opcode(line) in ("copy", "transpose") for line in kernels),
        }
        row = {
            "size": "{}x{}".format(*sizes[-1]),
            **counts,
            "temporaries_MiB": memory.temp_size_in_bytes >> 20,
            "arguments_MiB": memory.argument_size_in_bytes >> 20,
            "accessed_MiB": accessed(lines, kernels) >> 20,
        }
        print(json.dumps(row), flush=True)
        if _TEXT.value:
            with open(_TEXT.value, "w") as file:
                file.write(text)


if __name__ == "__main__":
    app.run(main)
