"""The compiled convolutions of kernels/, if they are installed."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from consingan_jax import kernels, numerics
from consingan_jax.errors import StoppedError
from consingan_jax.generation import export
from consingan_jax.nn import conv
from consingan_jax.training import trainer

pytestmark = pytest.mark.skipif(not kernels.version(), reason="consingan_kernels is not installed")

# Images, sizes, channels in and out, border: one patch, whole patches, and all kinds of rests.
CASES = [
    (1, 3, 3, 16, 16, 0),
    (1, 6, 6, 16, 32, 0),
    (3, 8, 8, 32, 16, 1),
    (2, 13, 9, 64, 64, 1),
    (1, 7, 22, 48, 80, 2),
    (2, 61, 45, 64, 64, 0),
]


def _arrays(case, dtype=np.float32):
    n, height, width, channels, features, border = case
    rng = np.random.default_rng(sum(case))
    shape = (n, height - 2 + 2 * border, width - 2 + 2 * border, features)
    shapes = ((n, height, width, channels), (3, 3, channels, features), shape)
    return [rng.normal(size=one).astype(dtype) for one in shapes]


def _difference(found, expected):
    """Returns the largest difference, in units of the root mean square."""
    return np.abs(np.asarray(found) - expected).max() / np.sqrt(np.square(expected).mean())


@pytest.mark.parametrize("case", CASES)
def test_convolution_and_kernel_gradient(case):
    x, kernel, g = _arrays(case)
    border = case[-1]
    made = conv.conv3x3(jnp.asarray(x), jnp.asarray(kernel), border)
    gradient = conv.kernel_gradient(jnp.asarray(x), jnp.asarray(g), border)
    with jax.enable_x64(True):
        wide = [jnp.asarray(each, jnp.float64) for each in (x, kernel, g)]
        expected = conv._conv_native(*wide[:2], border)
        expected_gradient = conv._kernel_gradient_native(wide[0], wide[2], border)
    assert _difference(made, np.asarray(expected)) < 2e-5
    assert _difference(gradient, np.asarray(expected_gradient)) < 2e-5


def test_they_are_used_where_channels_are_whole_vectors():
    assert kernels.find("convolution", 64, 64)
    assert kernels.find("kernel_gradient", 64, 3) is None

    def program():
        return jax.jit(lambda x, k: conv.conv3x3(x, k, 1)).lower(*_arrays(CASES[3])[:2]).as_text()

    assert "consingan_convolution" in program()
    with kernels.disabled():
        assert kernels.version() == ""
        assert "consingan_convolution" not in program()
    assert "consingan_convolution" in program()


def test_derivatives_of_derivatives():
    x, kernel, _ = _arrays((2, 12, 11, 16, 16, 1))

    def penalty(kernel):
        gradient = jax.grad(lambda x: jnp.square(conv.conv3x3(x, kernel, 1)).sum())(x)
        return jnp.square(gradient).sum()

    found = jax.grad(penalty)(kernel)
    with kernels.disabled():
        expected = jax.grad(penalty)(kernel)
    assert _difference(found, np.asarray(expected)) < 2e-5


def test_several_models_at_once():
    x, kernel, g = _arrays(CASES[3])
    several = [jnp.stack([each, each[..., ::-1]]) for each in (x, kernel, g)]
    made = jax.vmap(lambda x, k: conv.conv3x3(x, k, 1))(*several[:2])
    gradient = jax.vmap(lambda x, g: conv.kernel_gradient(x, g, 1))(several[0], several[2])
    for k in (0, 1):
        x, kernel, g = (each[k] for each in several)
        np.testing.assert_array_equal(made[k], conv.conv3x3(x, kernel, 1))
        np.testing.assert_array_equal(gradient[k], conv.kernel_gradient(x, g, 1))


_DIGEST = """
import hashlib, os, sys
os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[: int(sys.argv[1])]))
import numpy as np
from consingan_jax.nn import conv
rng = np.random.default_rng(0)
x, g = rng.normal(size=(2, 2, 90, 70, 64)).astype(np.float32)
k = rng.normal(size=(3, 3, 64, 64)).astype(np.float32)
made = conv.conv3x3(x, k, 1), conv.kernel_gradient(x, g, 1)
print(hashlib.sha256(b"".join(np.asarray(each).tobytes() for each in made)).hexdigest())
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one core"
)
def test_results_do_not_depend_on_the_number_of_threads():
    command = [sys.executable, "-c", _DIGEST]
    one, two, again = (
        subprocess.run([*command, count], capture_output=True, text=True, check=True).stdout
        for count in ("1", "2", "2")
    )
    assert len(one) == 65
    assert one == two == again


TINY = {"num_layers": 1, "num_stages": 2, "min_size": 12, "max_size": 20, "num_filters": 16}
TINY |= {"num_iters": 3, "log_every": 1, "sample_every": 3}


@pytest.fixture(scope="module")
def model(picture, tmp_path_factory):
    """A model that was trained with the kernels."""
    return trainer.train(picture, tmp_path_factory.mktemp("kernels") / "run", **TINY)


def test_an_exported_program_needs_only_jax(model):
    pytest.importorskip("flatbuffers")
    program = jax.export.deserialize(export.sampler(model))
    assert "consingan_convolution" not in program.mlir_module()
    made = program.call(np.uint32(3))
    np.testing.assert_allclose(made, model.sample(3)[0], atol=2e-5)


def test_a_run_that_continues_without_them_says_so(model, picture, tmp_path, capsys):
    def stop(now):
        return now.stage == 1 and not now.compiling

    with pytest.raises(StoppedError):
        trainer.train(picture, tmp_path / "run", watcher=stop, **TINY)
    capsys.readouterr()
    with kernels.disabled():
        trainer.train(picture, tmp_path / "run", **TINY)
    out, err = capsys.readouterr()
    assert "so far, and without them from now on" in out + err


def test_settings_of_the_caller_do_not_matter():
    x, kernel, _ = _arrays(CASES[3])
    with jax.enable_x64(True):
        made = numerics.independent(lambda: conv.conv3x3(x, kernel, 1))()
    np.testing.assert_array_equal(made, conv.conv3x3(x, kernel, 1))
