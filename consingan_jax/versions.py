"""Checks the versions of Python and JAX when it is imported."""

import sys

OLDEST_PYTHON = (3, 11)
OLDEST_JAX = (0, 10)


def check(name: str, found: tuple, oldest: tuple) -> None:
    """Raises an ImportError if a version is too old."""
    if tuple(found) < oldest:
        here, least = (".".join(map(str, version)) for version in (found, oldest))
        raise ImportError(f"consingan_jax needs {name} {least} or newer, and this is {name} {here}")


check("Python", sys.version_info[:3], OLDEST_PYTHON)  # before an old one fails to import jax

import jax  # noqa: E402

check("jax", jax.__version_info__, OLDEST_JAX)
