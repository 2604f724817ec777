"""Runs Orbax calls in a subprocess, because Orbax synchronises across all JAX processes.

It does so even if told that only one process is active (orbax-checkpoint 0.12), and a call from
one process would wait for the others forever.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])


def alone(function: _Function) -> _Function:
    """Runs a function in a subprocess if this process trains together with others.

    Arrays among the arguments are sent as numpy arrays.
    """

    @functools.wraps(function)
    def outer(*args: Any) -> Any:
        if not jax.distributed.is_initialized():
            return function(*args)
        return _worker().submit(outer, *jax.tree.map(_on_host, args)).result()

    return cast(_Function, outer)


def close() -> None:
    """Ends the subprocess, if there is one."""
    if _worker.cache_info().currsize:
        _worker().shutdown()
        _worker.cache_clear()


@functools.cache
def _worker() -> concurrent.futures.Executor:
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(1, context, initializer=_begin_worker)


def _begin_worker() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.SIG_IGN)  # it writes the checkpoint of an interrupted training
    jax.config.update("jax_platforms", "cpu")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _on_host(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf
