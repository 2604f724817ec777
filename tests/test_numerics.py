import ast
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import consingan_jax
from consingan_jax import numerics


def _square_lengths(x):
    """The program of jax issue 39103: wrong in jaxlib 0.10.2, for 32,769 rows and more."""
    return jax.vmap(lambda row: jnp.square(jnp.eye(3) @ row).sum())(x)


def _sums_of_products(a, scale):
    """A product with a broadcast number, summed: wrong in jaxlib 0.10.2 and 0.12.0."""
    return (a @ jnp.broadcast_to(scale, (8, 64, 64))).sum(-1)


def test_square_lengths():
    x = np.zeros((32_769, 3), np.float32)
    x[:, 0] = np.arange(len(x))
    np.testing.assert_array_equal(numerics.jit(_square_lengths)(x), np.square(x[:, 0]))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_sums_of_products(shape):
    a = np.random.default_rng(0).standard_normal((8, 64, 64)).astype(np.float32)
    expected = 64 * 0.7 * a.astype(np.float64).sum(-1)
    scale = np.full(shape, 0.7, np.float32)
    for _ in range(3):  # wrong numbers differed from call to call
        found = numerics.jit(_sums_of_products)(a, scale)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_every_program_is_compiled_with_these_options():
    """Nothing else of the package compiles: an export is lowered only, for another process."""
    package = pathlib.Path(consingan_jax.__file__).parent
    compiling = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("jit", "pjit", "pmap")
        if isinstance(node.value, ast.Name) and node.value.id == "jax"
    }
    assert compiling == {"numerics.py", "generation/export.py"}


def test_only_options_that_the_jaxlib_knows_are_given(monkeypatch):
    monkeypatch.setitem(numerics.CPU_OPTIONS, "xla_of_another_version", "x")
    monkeypatch.setitem(numerics.CPU_OPTIONS, "xla_cpu_experimental_ynn_fusion_type", "NO_TYPE")
    options = numerics.compiler_options("cpu", little_memory=True)
    assert not {"xla_of_another_version", "xla_cpu_experimental_ynn_fusion_type"} & set(options)
    assert options["xla_cpu_scheduler_type"] == "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"
    assert numerics.compiler_options("cuda", little_memory=True) == {}


def test_a_program_becomes_part_of_another():
    double = numerics.jit(lambda x: 2 * x)
    assert numerics.jit(lambda x: double(x) + 1)(3.0) == 7
    assert jax.grad(double)(3.0) == 2
    assert double.lower(3.0).compile()(3.0) == 6
