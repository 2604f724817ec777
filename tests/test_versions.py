import subprocess
import sys

import pytest

from consingan_jax import versions


def test_what_is_here_is_supported():
    assert versions.check("Python", sys.version_info[:3], versions.OLDEST_PYTHON) is None
    assert versions.check("jax", (0, 10, 0), versions.OLDEST_JAX) is None


def test_an_old_one_is_named_with_the_oldest_that_works():
    with pytest.raises(
        ImportError, match=r"needs Python 3\.11 or newer, and this is Python 3\.10\.13"
    ):
        versions.check("Python", (3, 10, 13), versions.OLDEST_PYTHON)
    with pytest.raises(
        ImportError, match=r"^consingan_jax needs jax 0\.10 or newer.* jax 0\.9\.2$"
    ):
        versions.check("jax", (0, 9, 2), versions.OLDEST_JAX)


def test_an_old_jax_is_one_line_at_the_import():
    program = "import jax; jax.__version_info__ = (0, 9, 2); import consingan_jax"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "ImportError: consingan_jax needs jax 0.10 or newer, and this is jax 0.9.2"
    )
