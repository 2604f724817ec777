"""Prints the compiler flags that the tests run under: those that the installed jaxlib knows."""

import functools
import os
import subprocess
import sys

# Compilation is most of the time that the tests take, and they measure no speed.
WANTED = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",  # gone from jaxlib 0.12
)


def known(flags: tuple[str, ...] = WANTED) -> str:
    """Returns the flags that the installed jaxlib knows, as a value of XLA_FLAGS.

    XLA ends the process at a flag that it does not know, so another process tries them: all
    together, and each alone if that fails.
    """
    if _accepted(" ".join(flags)):
        return " ".join(flags)
    return " ".join(flag for flag in flags if _accepted(flag))


def checked(given: str | None) -> str:
    """Returns the caller's XLA_FLAGS if there are any, else the tests' own.

    Raises:
        SystemExit: the installed jaxlib does not know one of the caller's.
    """
    if given is None:
        return known()
    if "PYTEST_XDIST_WORKER" not in os.environ and not _accepted(given):
        sys.exit(f"XLA_FLAGS={given}: the installed jaxlib does not know all of these; unset it")
    return given


@functools.cache
def _accepted(flags: str) -> bool:
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    program = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(program, env=environment, capture_output=True).returncode == 0


if __name__ == "__main__":
    print(known())
