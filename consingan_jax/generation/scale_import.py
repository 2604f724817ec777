"""Imports trained models of the published SinGAN program."""

import re
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from consingan_jax.nn.layers import Params
from consingan_jax.nn.scale_network import Statistics

_RUNNING = {"running_mean": "mean", "running_var": "variance"}
_NORM = {"weight": "scale", "bias": "bias"}
_CONV = {"weight": "kernel", "bias": "bias"}


def read_network(data: Mapping[str, np.ndarray], prefix: str = "") -> tuple[Params, Statistics]:
    """Returns the parameters and running statistics of one network of one scale.

    Args:
        data: the arrays under `prefix`, by the names of the published program; kernels are
            `[3, 3, I, O]` already.
        prefix: the start of their names.
    """
    params: Params = {}
    statistics: Statistics = {}
    for name, value in data.items():
        if not name.startswith(prefix) or name.endswith("num_batches_tracked"):
            continue
        block, *modules, leaf = name.removeprefix(prefix).removeprefix("body.").split(".")
        # Its blocks are counted from 1, and its tail is a list of layers in the generator alone.
        block = re.sub(r"block(\d+)", lambda match: f"block{int(match[1]) - 1}", block)
        array = jnp.asarray(value)
        if block == "tail":
            params.setdefault("tail", {})[_CONV[leaf]] = array
        elif leaf in _RUNNING:
            statistics.setdefault(block, {})[_RUNNING[leaf]] = array
        else:
            names = _NORM if modules[-1] == "norm" else _CONV
            params.setdefault(block, {}).setdefault(modules[-1], {})[names[leaf]] = array
    return params, statistics
