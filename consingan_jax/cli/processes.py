"""Defines the flags of multi-process training, and joins processes by `jax.distributed`."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
from absl import flags as absl_flags

from consingan_jax import subprocess_io
from consingan_jax.errors import DivergedError, InputError, StoppedError

JOIN_SECONDS = 120  # to wait for the other processes
SILENT_SECONDS = 20  # without a heartbeat until a process counts as dead
_FLAGS = ("coordinator", "num_processes", "process_id")


def define(to: dict[str, Any]) -> None:
    """Adds the flags."""
    absl_flags.DEFINE_string(
        "coordinator", "", "HOST:PORT of process 0, or auto: one run in several processes.", **to
    )
    absl_flags.DEFINE_integer("num_processes", None, "Number of processes.", lower_bound=1, **to)
    absl_flags.DEFINE_integer("process_id", None, "Index of this process.", lower_bound=0, **to)


def check(flags: absl_flags.FlagValues) -> None:
    """Raises an InputError unless the flags are complete, or none of them is given."""
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
    """Joins the other processes within the block, if the flags ask for it.

    If one of them dies, the JAX runtime aborts the others with a message of its own.

    Raises:
        InputError: the other processes cannot be reached.
    """
    if not flags.coordinator:
        yield
        return
    jax.config.update("jax_enable_preemption_service", False)  # it would handle SIGTERM
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
        "an error of the JAX runtime: start all again to resume from the last checkpoint",
        flush=True,
    )
    try:
        yield
    except (
        StoppedError,
        InputError,
        DivergedError,
    ):  # most are raised in all processes alike; others skip the shutdown, which waits for all
        subprocess_io.close()
        jax.distributed.shutdown()
        raise
    subprocess_io.close()
    jax.distributed.shutdown()
