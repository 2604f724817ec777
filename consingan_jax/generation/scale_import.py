"""Imports trained models of the published SinGAN program."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from consingan_jax.config import Config
from consingan_jax.data import scale_pyramid
from consingan_jax.data.noise import ReconstructionNoise
from consingan_jax.errors import InputError
from consingan_jax.generation import torch_import
from consingan_jax.generation.architecture import architecture
from consingan_jax.generation.model import Model
from consingan_jax.nn.layers import Params
from consingan_jax.nn.resize import Size
from consingan_jax.nn.scale_network import Statistics

_RUNNING = {"running_mean": "mean", "running_var": "variance"}
_NORM = {"weight": "scale", "bias": "bias"}
_CONV = {"weight": "kernel", "bias": "bias"}
# The name of a run's folder.
_SETTINGS = re.compile(r"scale_factor=([\d.]+),\s*alpha=([\d.]+)")
_OF_SUPERRES = 100.0  # the alpha that the published program sets for super-resolution


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


def load_run(path: pathlib.Path) -> tuple[Model, list[np.ndarray]]:
    """Loads the folder of a trained model of the published program.

    Args:
        path: the folder, `scale_factor=...,alpha=...`, with `reals.pth`, `Zs.pth`, `NoiseAmp.pth`
            and a folder with `netG.pth` for each scale.

    Returns:
        The model, and the pyramid's levels `[1, H, W, C]`.

    Raises:
        InputError: PyTorch is not installed, or the folder is no such model or not all of it.
    """
    reals, z_star = (torch_import.images(path / name) for name in ("reals.pth", "Zs.pth"))
    amps = [float(amp) for amp in torch_import.tensors(path / "NoiseAmp.pth")]
    for i in range(len(reals)):
        if i >= len(amps) or not (path / f"{i}/netG.pth").is_file():
            raise InputError(f"{path} is incomplete: scale {i} of 0-{len(reals) - 1} is missing")
    networks = [_network(path / f"{i}/netG.pth") for i in range(len(reals))]
    sizes: list[Size] = [(real.shape[1], real.shape[2]) for real in reals]
    config = _config(path, sizes, networks[0][0], z_star[0])
    arch = architecture(config, channels=reals[0].shape[-1], sizes=sizes)
    border = 0 if arch.noise_in_border else arch.border
    height, width = z_star[0].shape[1:3]
    first = z_star[0][:, border : height - border, border : width - border, :1]
    model = Model(
        params={"stages": [{"params": p, "statistics": s} for p, s in networks]},
        fixed=ReconstructionNoise([jnp.asarray(first)], config.seed),
        noise_amps=jnp.asarray(amps[: len(reals)], jnp.float32),
        real=reals[-1],
        arch=arch,
        sizes=tuple(sizes),
        config=config,
        step=config.stage(len(reals) - 1).num_iters,
    )
    return model, reals


def _network(path: pathlib.Path) -> tuple[Params, Statistics]:
    weights = torch_import.tensors(path)
    return read_network({name: torch_import.parameter(w) for name, w in weights.items()})


def _config(path: pathlib.Path, sizes: list[Size], params: Params, z_star: np.ndarray) -> Config:
    """Returns the settings of a run, as far as its files tell them."""
    settings: dict[str, Any] = {"image": path.resolve().parent.name}
    if match := _SETTINGS.search(path.resolve().name):
        settings |= {"scale_factor": float(match[1]), "rec_weight": float(match[2])}
    filters, layers = params["tail"]["kernel"].shape[2], len(params) - 2
    # Only in animations the noise fills the border, so that it is larger than the image; the noise
    # of the others is stored with a border of zeros.
    is_animation = bool(np.any(z_star[:, 0]))
    is_superres = settings.get("rec_weight") == _OF_SUPERRES
    still = "superres" if is_superres else "generation"
    settings |= {"task": "animation" if is_animation else still}
    settings |= {"num_filters": filters, "num_layers": layers, "num_stages": len(sizes)}
    min_size = _min_size(path, sizes, settings.get("scale_factor", 0.75))
    return Config.create(method="singan", max_size=max(sizes[-1]), min_size=min_size, **settings)


def _min_size(path: pathlib.Path, sizes: list[Size], base: float) -> int:
    """Returns the setting that gives these levels, which no file tells."""
    for min_size in range(min(sizes[0]), 0, -1):
        for truncate in (False, True):
            levels = scale_pyramid.plan(
                sizes[-1], min_size=min_size, max_size=max(sizes[-1]), base=base, truncate=truncate
            )
            if levels.sizes == sizes:
                return min_size
    text = ", ".join(f"{height}x{width}" for height, width in sizes)
    raise InputError(f"{path}: no min_size gives the levels {text}: is this SinGAN's reals.pth?")
