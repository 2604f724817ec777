"""The versions of Python and jax that this package runs on; importing it checks those at hand."""

import sys

OLDEST_PYTHON = (3, 11)
OLDEST_JAX = (0, 10)


def check(python, jax):
    """Raises an ImportError unless these versions, as tuples of numbers, are supported."""
    for name, found, oldest in (("Python", python, OLDEST_PYTHON), ("jax", jax, OLDEST_JAX)):
        if found and tuple(found) < oldest:
            here, least = (".".join(map(str, version)) for version in (found, oldest))
            raise ImportError(
                f"consingan_jax needs {name} {least} or newer, and this is {name} {here}"
            )


check(sys.version_info[:3], ())  # before jax, which an old Python may not be able to import

import jax  # noqa: E402

check((), jax.__version_info__)
