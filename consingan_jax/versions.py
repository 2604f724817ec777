"""Checks the versions of Python and JAX at import."""

import sys

OLDEST_PYTHON = (3, 11)
OLDEST_JAX = (0, 10)


def check(name, found, oldest):
    """Raises an ImportError where the version of something, a tuple of numbers, is too old."""
    if tuple(found) < oldest:
        here, least = (".".join(map(str, version)) for version in (found, oldest))
        raise ImportError(f"consingan_jax needs {name} {least} or newer, and this is {name} {here}")


check("Python", sys.version_info[:3], OLDEST_PYTHON)  # which may be too old to import jax

import jax  # noqa: E402

check("jax", jax.__version_info__, OLDEST_JAX)
