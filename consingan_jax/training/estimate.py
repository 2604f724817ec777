"""What a run will cost: operations of an iteration, memory of a stage."""

from collections.abc import Sequence
from typing import Any

import jax

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.nn.critic import Critic
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture
from consingan_jax.nn.resize import Size
from consingan_jax.training import compiler, optimizer
from consingan_jax.training.step import StageProgram


def operations(config: Config, arch: Architecture, sizes: Sequence[Size]) -> int:
    """Returns the floating point operations of one iteration of stage `len(sizes) - 1`.

    Only the convolutions count. A critic step takes ten passes: the real and the fake image
    forward and back to input and parameters, the mixed image forward, back to the input, and
    twice through the second derivatives. The generator step takes two more, the image pair three
    through every training stage, forward and twice back, and one image one pass through the
    frozen ones.
    """
    frozen = optimizer.num_frozen(len(sizes) - 1, config.train_depth)
    below = sum(_stage(arch, sizes, k) for k in range(frozen))
    training = sum(_stage(arch, sizes, k) for k in range(frozen, len(sizes)))
    training += _conv(sizes[-1], arch.num_filters, arch.channels)
    critic_passes = 10 * config.d_steps + 2
    return critic_passes * _critic(arch, sizes[-1]) + 6 * training + below


def memory(config: Config, arch: Architecture, sizes: Sequence[Size]) -> int:
    """Returns the bytes that the compiled training loop of stage `len(sizes) - 1` needs."""
    analysis = compiler.compile_loop(StageProgram(config, arch, sizes)).memory_analysis()
    assert analysis is not None, "every backend of XLA has this analysis"
    return analysis.argument_size_in_bytes + analysis.temp_size_in_bytes


def num_params(arch: Architecture, num_stages: int) -> tuple[int, int]:
    """Returns how many parameters generator and critic have."""
    key = numerics.key(0)
    generator = jax.eval_shape(lambda: Generator(arch).init(key, num_stages))
    critic = jax.eval_shape(lambda: Critic(arch).init(key))
    return _size(generator), _size(critic)


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _conv(size: Size, channels: int, features: int) -> int:
    return 2 * 9 * channels * features * size[0] * size[1]


def _stage(arch: Architecture, sizes: Sequence[Size], k: int) -> int:
    filters = arch.num_filters
    head = _conv(sizes[0], arch.channels, filters) if k == 0 else 0
    return head + arch.num_layers * _conv(sizes[k], filters, filters)


def _critic(arch: Architecture, size: Size) -> int:
    filters = arch.num_filters
    per_pixel = _conv((1, 1), arch.channels, filters) + _conv((1, 1), filters, 1)
    per_pixel += arch.num_layers * _conv((1, 1), filters, filters)
    return per_pixel * size[0] * size[1]
