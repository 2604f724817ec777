"""Estimates the operations of an iteration and the memory of a stage."""

from collections.abc import Sequence
from typing import Any

import jax

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.nn.critic import Critic
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture
from consingan_jax.nn.receptive_field import Crop
from consingan_jax.nn.resize import Size
from consingan_jax.training import compiler
from consingan_jax.training.step import StageStep


def operations(config: Config, arch: Architecture, sizes: Sequence[Size]) -> int:
    """Returns the floating point operations of one iteration of stage `len(sizes) - 1`.

    Only the convolutions count. A critic step takes ten passes: the real and the fake image
    forward and back to input and parameters, the mixed image forward, back to the input, and
    twice through the second derivatives. The generator step takes two more, the image pair three
    through every training stage, forward and twice back, and one image one pass through the
    frozen ones; two where windows are cut out of these.
    """
    program = StageStep(config, arch, sizes)
    view, frozen = program.any_view(), program.num_frozen
    work = [_stage(arch, view, k) for k in range(len(sizes))]
    height, width = program.window
    windows = program.num_windows * height * width
    tail = windows * _per_pixel(arch.num_filters, arch.channels)
    critic_passes = 10 * config.stage(program.stage).d_steps + 2
    critic = critic_passes * windows * _critic_per_pixel(arch)
    kept = view.is_whole(frozen - 1) if frozen else True  # the features of z* are there then
    return critic + 6 * (sum(work[frozen:]) + tail) + (1 if kept else 2) * sum(work[:frozen])


def memory(config: Config, arch: Architecture, sizes: Sequence[Size]) -> int:
    """Returns the bytes that the compiled training loop of stage `len(sizes) - 1` needs."""
    return compiler.memory(StageStep(config, arch, sizes))


def num_params(arch: Architecture, num_stages: int) -> tuple[int, int]:
    """Returns how many parameters generator and critic have."""
    key = numerics.key(0)
    generator = jax.eval_shape(lambda: Generator(arch).init(key, num_stages))
    critic = jax.eval_shape(lambda: Critic(arch).init(key))
    return _size(generator), _size(critic)


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _per_pixel(channels: int, features: int) -> int:
    """Returns the operations of a convolution for one pixel."""
    return 2 * 9 * channels * features


def _stage(arch: Architecture, view: Crop, k: int) -> int:
    """Returns the operations of a stage for one image, or for the windows that are seen of it."""
    rows, columns = view.stage(k)
    filters = arch.num_filters
    layers = arch.num_layers * _per_pixel(filters, filters)
    layers += 0 if k else _per_pixel(arch.channels, filters)
    return len(rows.out.start) * rows.out.length * columns.out.length * layers


def _critic_per_pixel(arch: Architecture) -> int:
    filters = arch.num_filters
    ends = _per_pixel(arch.channels, filters) + _per_pixel(filters, 1)
    return ends + arch.num_layers * _per_pixel(filters, filters)
