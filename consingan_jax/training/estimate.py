"""Estimates the operations of an iteration, and the memory and parameters of a stage."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from consingan_jax.config import Config
from consingan_jax.nn.layers import Architecture
from consingan_jax.nn.receptive_field import Crop
from consingan_jax.nn.resize import Size
from consingan_jax.training import compiler
from consingan_jax.training.iterations import iteration_of


def operations(config: Config, arch: Any, sizes: Sequence[Size]) -> int:
    """Returns the floating point operations of one iteration of stage `len(sizes) - 1`.

    Only the convolutions are counted.
    """
    return _COUNTS[config.method](iteration_of(config, arch, sizes))


def _of_stages(program: Any) -> int:
    config, arch, sizes = program.config, program.generator.arch, program.sizes
    view, frozen = program.any_view(), program.num_frozen
    work = [_stage(arch, view, k) for k in range(len(sizes))]
    height, width = program.window
    windows = program.num_windows * height * width
    # A critic step makes ten passes over an image: real and fake forward and back to inputs and
    # parameters (6), the mixed image forward and back to itself (2), and twice through the second
    # derivatives of the penalty (2). The generator's loss adds two: forward, and back to the image.
    critic_passes = 10 * config.stage(program.stage).d_steps + 2
    critic = critic_passes * windows * _critic_per_pixel(arch)
    # Training stages: forward, and back to inputs and parameters, for the images of z and of z*.
    tail = windows * _per_pixel(arch.num_filters, arch.channels)
    trained = 6 * (sum(work[frozen:]) + tail)
    # Frozen stages: forward only, and for z alone where the features of z* are kept.
    are_kept = not frozen or view.is_whole(frozen - 1)
    return critic + trained + (1 if are_kept else 2) * sum(work[:frozen])


def _of_scales(program: Any) -> int:
    own = program.config.stage(program.stage)
    *frozen, trained = (
        height * width * _scale_per_pixel(program.generator.arch.of_scale(i))
        for i, (height, width) in enumerate(program.sizes)
    )
    height, width = program.sizes[-1]
    critic = height * width * _critic_per_pixel(program.critic.arch)
    # The critic's passes are those above. The generator makes a fake in each critic step, on other
    # images from below; then goes back through the last one, and forward and back through the
    # reconstruction, in each of its own steps.
    passes = own.d_steps + 5 * own.g_steps
    return (10 * own.d_steps + 2) * critic + passes * trained + own.d_steps * sum(frozen)


_COUNTS: dict[str, Callable[[Any], int]] = {"consingan": _of_stages, "singan": _of_scales}


def memory(config: Config, arch: Any, sizes: Sequence[Size]) -> int:
    """Returns the bytes that the compiled training loop of stage `len(sizes) - 1` needs."""
    return compiler.memory(iteration_of(config, arch, sizes))


def num_params(config: Config, arch: Any, sizes: Sequence[Size]) -> tuple[int, int]:
    """Returns the numbers of parameters of the generator and of the last stage's critic."""
    program = iteration_of(config, arch, sizes)
    state, _ = compiler.shapes(program)
    critic = sum(leaf.size for leaf in jax.tree.leaves(state.critic))
    return program.generator.num_params(state.generator), critic


def _per_pixel(channels: int, features: int) -> int:
    """Returns the operations of a 3x3 convolution for one pixel: multiplications and additions."""
    return 2 * 9 * channels * features


def _stage(arch: Architecture, view: Crop, k: int) -> int:
    """Returns the operations of one forward pass through stage k of a view's windows."""
    rows, columns = view.stage(k)
    filters = arch.num_filters
    layers = arch.num_layers * _per_pixel(filters, filters)
    layers += 0 if k else _per_pixel(arch.channels, filters)
    return len(rows.out.start) * rows.out.length * columns.out.length * layers


def _critic_per_pixel(arch: Architecture) -> int:
    filters = arch.num_filters
    ends = _per_pixel(arch.channels, filters) + _per_pixel(filters, 1)
    return ends + arch.num_layers * _per_pixel(filters, filters)


def _scale_per_pixel(arch: Architecture) -> int:
    filters, channels = arch.num_filters, arch.channels
    ends = _per_pixel(channels, filters) + _per_pixel(filters, channels)
    return ends + arch.num_layers * _per_pixel(filters, filters)
