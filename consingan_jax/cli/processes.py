"""Flags of multi-process training (`jax.distributed`), and joining the other processes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
from absl import flags as absl_flags

from consingan_jax import subprocess_io
from consingan_jax.errors import DivergedError, InputError, StoppedError

JOIN_SECONDS = 120  # for which a process waits for the others
SILENT_SECONDS = 20  # without a heartbeat, after which a process counts as dead
_FLAGS = ("coordinator", "num_processes", "process_id")


def define(to: dict[str, Any]) -> None:
    """Adds the flags."""
    absl_flags.DEFINE_string(
        "coordinator", "", "HOST:PORT of process 0, or auto, to train one run with several.", **to
    )
    absl_flags.DEFINE_integer("num_processes", None, "How many there are.", lower_bound=1, **to)
    absl_flags.DEFINE_integer("process_id", None, "Which this one is.", lower_bound=0, **to)


def check(flags: absl_flags.FlagValues) -> None:
    """Raises an InputError unless the flags say who this process is, or none of them is given."""
    given = [name for name in _FLAGS if flags[name].present]
    if given and "devices" in flags and flags["devices"].present:
        raise InputError("--devices has no effect with --coordinator: all devices train")
    if given and not flags.coordinator:
        raise InputError(f"--{given[0]}: give --coordinator=HOST:PORT too")
    if not given or flags.coordinator == "auto":
        return
    host, _, port = flags.coordinator.rpartition(":")
    if not (host and port.isdigit()):
        raise InputError(f"--coordinator={flags.coordinator}: give HOST:PORT of process 0, or auto")
    for name in _FLAGS[1:]:
        if not flags[name].present:
            raise InputError(f"--{name} is missing: give it, or --coordinator=auto below SLURM")
    if flags.process_id >= flags.num_processes:
        raise InputError(
            f"--process_id={flags.process_id}: with --num_processes={flags.num_processes} give 0 "
            f"to {flags.num_processes - 1}"
        )


@contextlib.contextmanager
def joined(flags: absl_flags.FlagValues) -> Iterator[None]:
    """Joins the other processes for the block, if the flags name some.

    Where one of them dies, the JAX runtime aborts the others with its own message.

    Raises:
        InputError: the others cannot be reached.
    """
    if not flags.coordinator:
        yield
        return
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM to itself
    try:
        jax.distributed.initialize(
            None if flags.coordinator == "auto" else flags.coordinator,
            flags.num_processes,
            flags.process_id,
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=SILENT_SECONDS,
            shutdown_timeout_seconds=SILENT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--coordinator={flags.coordinator}: {reason}") from None
    print(
        f"process {jax.process_index()} of {jax.process_count()}; if one dies, all end soon with "
        "an error of the JAX runtime: start all of them again, and the run continues from its last "
        "checkpoint",
        flush=True,
    )
    try:
        yield
    except (StoppedError, InputError, DivergedError):  # mostly in all of them alike
        subprocess_io.close()
        jax.distributed.shutdown()
        raise
    subprocess_io.close()
    jax.distributed.shutdown()
