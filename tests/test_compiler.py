import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.generation.architecture import architecture
from consingan_jax.training import compiler
from consingan_jax.training.step import StageStep

SIZES = ((12, 16), (15, 20))


def _program(tiny_config, num_stages=2, **changes):
    config = Config.create(**{**tiny_config, **changes})
    return StageStep(config, architecture(config, channels=3), SIZES[:num_stages])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("task", ["generation", "retarget"])
def test_a_gpu_gets_a_whole_iteration(tiny_config, dtype, task):
    """Lowered for CUDA without one: convolutions of the platform, in full float32 where asked."""
    program = _program(tiny_config, dtype=dtype, task=task, num_filters=8, num_layers=3)
    key = jax.eval_shape(lambda: numerics.key(0))
    count = jax.ShapeDtypeStruct((), jnp.int32)
    traced = jax.jit(program.run).trace(*compiler.shapes(program), key, count)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(convolutions) > 30
    short = {"float32": "f32", "bfloat16": "bf16"}[dtype]
    assert all(f"x{short}>" in line.rpartition("->")[2] for line in convolutions)
    assert all("precision HIGHEST" in line for line in convolutions)


def test_several_models_are_trained_by_one_mapped_iteration(tiny_config, key):
    program = _program(tiny_config, num_stages=1)
    state, data = compiler.placeholders(program)
    view = program.any_view()
    draws = [program.draw(jax.random.fold_in(key, i), data, view) for i in range(2)]
    z, mixes = jax.tree.map(lambda *both: jnp.stack(both), *draws)
    iterate = functools.partial(program.iterate, view=view)
    both = jax.jit(jax.vmap(iterate, (None, None, 0, 0)))(state, data, z, mixes)
    one = jax.jit(iterate)
    for i, draw in enumerate(draws):
        alone, mapped = one(state, data, *draw), jax.tree.map(lambda x, i=i: x[i], both)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), alone, mapped)


def test_the_thread_compiles_under_the_callers_settings(tiny_config, monkeypatch):
    seen = []

    def note(*_):
        now = jax.config
        seen.append((now.jax_default_device, now.jax_default_matmul_precision, now.jax_enable_x64))

    monkeypatch.setattr(compiler, "compile_loop", note)
    device = jax.devices()[0]
    with jax.default_device(device), jax.default_matmul_precision("highest"), jax.enable_x64(True):
        thread = compiler.Compiler([device])
        thread.begin(_program(tiny_config), 1).result()
        thread.close()
    assert seen == [(device, "highest", False)]


TWO_DEVICES = """
import sys
import jax, numpy as np
import consingan_jax

config = {"num_stages": 1, "min_size": 14, "max_size": 20, "num_filters": 4, "num_layers": 1,
          "num_iters": 2, "image": sys.argv[1]}
for device in jax.devices():
    with jax.default_device(device):
        model = consingan_jax.train(config, f"{sys.argv[2]}/{device.id}")
        print("devices:", *{leaf.device.id for leaf in jax.tree.leaves(model.params)})
"""


def test_two_trainings_on_two_devices_of_a_process(picture, tmp_path, monkeypatch):
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    monkeypatch.setenv("XLA_FLAGS", flags)
    command = [sys.executable, "-c", TWO_DEVICES, str(picture), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stdout.splitlines() if line.startswith("devices:")]
    assert said == ["devices: 0", "devices: 1"]
