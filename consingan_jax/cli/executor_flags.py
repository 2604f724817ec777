"""Defines the flags that select the executor: local devices or a Ray cluster."""

from typing import Any

from absl import flags as absl_flags

from consingan_jax.errors import InputError
from consingan_jax.ray_executor import Ray

FLAGS = ("devices", "engine", "address", "cpus", "gpus")
_OF_RAY = ("address", "cpus", "gpus")


def define(to: dict[str, Any]) -> None:
    """Adds the flags."""
    a, least = absl_flags, {**to, "lower_bound": 0}
    a.DEFINE_integer("devices", 0, "Number of devices; a CPU is divided [all].", **least)
    a.DEFINE_enum("engine", "", ["", "ray"], "Where the work is done [this process].", **to)
    a.DEFINE_string("address", "", "Address of a Ray cluster, HOST:PORT or auto.", **to)
    a.DEFINE_float("cpus", 2.0, "CPU cores per task, with --engine.", **least)
    a.DEFINE_float("gpus", 0.0, "GPUs per task, with --engine.", **least)


def executor_of(flags: absl_flags.FlagValues) -> Ray | None:
    """Returns the selected cluster, or None for this machine.

    Raises:
        InputError: a given flag has no effect.
    """
    if not flags.engine:
        if given := [name for name in _OF_RAY if flags[name].present]:
            raise InputError(f"--{given[0]} has no effect without --engine=ray: leave it out")
        return None
    if flags["devices"].present:
        raise InputError("--devices has no effect with --engine=ray: give --cpus and --gpus")
    return Ray(flags.address, flags.cpus, flags.gpus)
