import dataclasses

import pytest

from consingan_jax.config import Config
from consingan_jax.data import pyramid
from consingan_jax.generation.architecture import architecture
from consingan_jax.nn.layers import Architecture
from consingan_jax.training import estimate


def test_operations_of_the_papers_top_stage():
    """As many as 126.7 convolutions of F to F features at the top size."""
    config = Config()
    sizes = pyramid.level_sizes(config, (188, 250))
    one = 2 * 9 * 64 * 64 * 188 * 250
    assert estimate.operations(config, Architecture(), sizes) / one == pytest.approx(
        126.7, abs=0.05
    )


def test_parameter_counts():
    config = Config()
    sizes = pyramid.level_sizes(config, (188, 250))
    assert estimate.num_params(config, Architecture(), sizes) == (668_227, 113_153)


def test_memory_grows_with_the_stage(tiny_config):
    config = Config.create(**tiny_config)
    arch = architecture(config, channels=3)
    sizes = [(14, 19), (28, 38)]
    small = estimate.memory(config, arch, sizes[:1])
    assert 0 < small < estimate.memory(config, arch, sizes)


def test_remat_needs_less_memory(tiny_config):
    config = Config.create(**{**tiny_config, "num_filters": 12, "num_layers": 2})
    arch = architecture(config, channels=3)
    sizes = [(32, 32), (48, 48), (64, 64)]
    kept = estimate.memory(config, arch, sizes)
    assert estimate.memory(dataclasses.replace(config, remat=True), arch, sizes) < 0.9 * kept
