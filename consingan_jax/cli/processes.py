"""Flags of multi-process training (`jax.distributed`), and who reports why a process ended.

Where a process dies, the JAX runtime of the others aborts from C++ with pages of its own words. So
the command does its work in a child, and the parent turns what is said there into one line.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
from absl import flags as absl_flags

from consingan_jax import subprocess_io
from consingan_jax.cli import signals
from consingan_jax.errors import DivergedError, InputError, StoppedError

JOIN_SECONDS = 120  # for which a process waits for the others
SILENT_SECONDS = 20  # without a sign of life, after which a process counts as dead
_CHILD = "CONSINGAN_JAX_PARENT"  # in the environment of the child: its parent
_FLAGS = ("coordinator", "num_processes", "process_id")
_LOG_LINE = re.compile(rb"[IWEF]\d{4} \d\d:\d\d:\d\d")
_LAST_WORDS = re.compile(rb"coordination_service|Terminating process")
_DEAD = re.compile(r"stopped sending heartbeats\):\s*([\d, \n]+)")


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
    """Works with the other processes, in a child of this one, which never comes back from here."""
    if not flags.coordinator:
        yield
        return
    if _CHILD not in os.environ:
        _watch_child(flags)
    _end_with(int(os.environ[_CHILD]))
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
    try:
        yield
    except (StoppedError, InputError, DivergedError):  # mostly in all of them alike
        subprocess_io.close()
        jax.distributed.shutdown()
        raise
    except Exception as error:
        if "Gloo" not in str(error):
            raise
        time.sleep(2 * SILENT_SECONDS)  # the connection broke: soon the runtime knows whose
        raise
    subprocess_io.close()
    jax.distributed.shutdown()


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        signals.leave(1)

    threading.Thread(target=watch, daemon=True).start()


def _watch_child(flags: absl_flags.FlagValues) -> None:
    """Does the command in a child, and ends as it does, with one line if others have died."""
    child = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, _CHILD: str(os.getpid())},
        stderr=subprocess.PIPE,
    )
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: child.send_signal(number))
    words = _passed_on(child)
    code = child.wait()
    if line := _reason(words, flags, code):
        print(f"consingan train: {line}", file=sys.stderr)
        code = 1
    elif code:
        os.write(2, words.encode())
    signals.leave(code if code >= 0 else 128 - code)


def _passed_on(child: subprocess.Popen) -> str:
    """Passes on what the child says on its standard error; returns what its runtime says there."""
    kept, line, is_kept = b"", b"", False
    for piece in _pieces(child):
        for part in re.findall(rb"[^\n]*\n|[^\n]+$", piece):
            is_new = not line or (not is_kept and bool(_LOG_LINE.match(part)))
            line = b"" if is_new else line
            line += part
            if is_new:
                # The runtime's last words have many lines.
                is_kept = bool(_LAST_WORDS.search(kept) or _LOG_LINE.match(line))
            if is_kept:
                kept += part
            else:
                os.write(2, part)
            line = b"" if part.endswith(b"\n") else line
    return kept.decode(errors="replace")


def _pieces(child: subprocess.Popen) -> Iterator[bytes]:
    """Yields what a child says on its standard error, until it ends: others may hold that open."""
    assert child.stderr is not None
    while True:
        is_over = child.poll() is not None
        while select.select([child.stderr], [], [], 0.0 if is_over else 0.5)[0]:
            piece = os.read(child.stderr.fileno(), 1 << 16)
            if not piece:
                return
            yield piece
        if is_over:
            return


def _reason(words: str, flags: absl_flags.FlagValues, code: int) -> str | None:
    """Returns a line about the process that is missing, None if none is."""
    if code in (0, 1, 2) or "Terminating process because" not in words:
        return None
    goes_on = "start all of them again, and the run goes on from its last checkpoint"
    if "RegisterTask" in words:
        others = "another process"
        if flags.num_processes == 2:
            others = f"process {1 - flags.process_id}"
        elif flags.process_id:
            others = f"process 0 at {flags.coordinator}, or another one,"
        elif flags.num_processes:
            others = f"one of the processes 1 to {flags.num_processes - 1}"
        return f"{others} did not come within {JOIN_SECONDS} s: start all of them"
    if dead := _DEAD.search(words):
        numbers = ", ".join(re.findall(r"\d+", dead[1]))
        return f"process {numbers} gave no sign of life for {SILENT_SECONDS} s: {goes_on}"
    return f"process 0 at {flags.coordinator} is gone: {goes_on}"
