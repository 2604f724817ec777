"""Dry run: reports the pyramid, cost and memory of a training without running it."""

import functools
import json
from collections.abc import Iterable, Iterator, Sequence

from consingan_jax import device, numerics
from consingan_jax.config import Config
from consingan_jax.data import window_sampling
from consingan_jax.errors import InputError
from consingan_jax.nn.layers import Architecture
from consingan_jax.nn.resize import Size
from consingan_jax.runs.inputs import load_inputs
from consingan_jax.sweeps.sweep import Sweep
from consingan_jax.training import estimate


@numerics.independent
def dry_run(config: Config) -> Iterator[str]:
    """Yields lines on the configuration, pyramid, parameters, operations, time and memory of a run.

    Times a large matmul and, last, compiles the top stage, which takes a while. Writes nothing.

    Raises:
        InputError: the configuration or the image cannot work.
    """
    inputs = load_inputs(config)
    config, sizes, arch = inputs.config, inputs.sizes, inputs.arch
    yield json.dumps(config.to_dict(), indent=2)
    yield from inputs.warnings
    yield "pyramid (height x width):"
    counts = _operations(config, arch, sizes)
    for stage, ((height, width), count) in enumerate(zip(sizes, counts, strict=True)):
        windows = _windows(config, stage, (height, width))
        yield f"  stage {stage}: {height}x{width} px{windows}, {count / 1e9:.1f} GFLOP an iteration"
    generator, critic = estimate.num_params(config, arch, sizes)
    yield f"parameters: generator {generator:,}, critic {critic:,}"
    stages = range(len(sizes))
    trained = stages[-1:] if inputs.source else stages  # a fine-tuning trains the last stage only
    total = _total(config, counts, trained)
    yield f"operations of the whole run: {total / 1e12:,.1f} TFLOP"
    yield f"{_time(total, 'the run takes')}, plus the compilation of {len(trained)} stages once"
    memory = estimate.memory(config, arch, sizes)
    yield f"memory of the last stage, as compiled: {memory / 2**20:,.0f} MiB"
    if warning := memory_warning(config, memory, device.memory_limit()):
        yield warning


@numerics.independent
def of_sweep(sweep: Sweep) -> Iterator[str]:
    """Yields lines on every run of a sweep, and on what all of them cost.

    A run that cannot work is reported instead of raised. Times a large matmul; writes nothing.
    """
    operations = functools.cache(_operations)  # runs of one shape cost the same
    total = 0
    for member in sweep.members:
        if sweep.run(member).is_finished():
            yield f"{member.name}: finished"
            continue
        try:
            inputs = load_inputs(member.config)
        except InputError as error:
            yield f"{member.name}: {error}"
            continue
        levels = " -> ".join(f"{height}x{width}" for height, width in inputs.sizes)
        yield f"{member.name}: {member.config.image}, seed {member.config.seed}: {levels} px"
        yield from (f"  {line}" for line in inputs.warnings)
        counts = operations(inputs.config.of_any_picture(), inputs.arch, tuple(inputs.sizes))
        total += _total(inputs.config, counts, range(len(counts)))
    yield f"{len(sweep.left())} of {len(sweep.members)} runs to train in {sweep.path}"
    if total:
        yield f"operations of all: {total / 1e12:,.1f} TFLOP; {_time(total, 'they take')}"


def _operations(config: Config, arch: Architecture, sizes: Sequence[Size]) -> list[int]:
    """Returns the operations of one iteration of every stage."""
    return [estimate.operations(config, arch, sizes[: k + 1]) for k in range(len(sizes))]


def _total(config: Config, operations: Sequence[int], stages: Iterable[int]) -> int:
    return sum(config.stage(k).num_iters * operations[k] for k in stages)


def _time(operations: float, subject: str) -> str:
    rate = device.matmul_flops()
    minutes = operations / rate / 60
    time = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{max(minutes, 0.1):.1f} minutes"
    return f"a large matmul makes {rate / 1e9:,.0f} GFLOP/s here; at that rate {subject} {time}"


def _windows(config: Config, stage: int, level: Size) -> str:
    """Returns the windows that a stage trains on, in words; empty if it trains on whole levels."""
    window = window_sampling.window_size(config, stage, level)
    return "" if window == level else f" in {config.windows} of {window[0]}x{window[1]} px"


def memory_warning(config: Config, needed: int, limit: int | None) -> str | None:
    """Returns a warning if a stage needs more bytes than `limit`; None if the limit is unknown."""
    if limit is None or needed <= limit:
        return None
    unused = config.method_spec.unused
    mends = [
        *(["--config.window=256"] if config.takes_windows and not config.window else []),
        *([] if config.remat or "remat" in unused else ["--config.remat=True"]),
        "a smaller max_size",
    ]
    return (
        f"warning: this run cannot fit: the last stage needs {needed / 2**30:.1f} GiB, and "
        f"{limit / 2**30:.1f} GiB are available; use {' or '.join(mends)}"
    )
