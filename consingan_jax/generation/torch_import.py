"""Imports runs of the published PyTorch program: settings, parameters, noise."""

import ast
import importlib.util
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from consingan_jax.config import Config
from consingan_jax.data.noise import ReconstructionNoise
from consingan_jax.errors import InputError
from consingan_jax.generation.architecture import architecture
from consingan_jax.generation.model import Model
from consingan_jax.nn.layers import Params

# The published program's flags, and our fields.
FIELDS = {
    "mode": "task",
    "nfc": "num_filters",
    "num_layer": "num_layers",
    "stages": "num_stages",
    "steps": "num_iters",
    "niter": "num_iters",
    "lr_g": "lr_generator",
    "lr_d": "lr_critic",
    "alpha": "rec_weight",
    "lambda_grad": "gp_weight",
    "gamma": "lr_decay",
    "lrelu_alpha": "negative_slope",
    "Dsteps": "d_steps",
    "Gsteps": "g_steps",
    "nc_im": "channels",
    "train_mode": "task",
    "train_stages": "num_stages",
}
# Flags that do not affect the arithmetic, and those that do not at one value.
IGNORED = {"input_name", "naive_img", "model_dir", "gpu", "not_cuda", "manualSeed", "fine_tune"}
FIXED = {"ker_size": 3, "padd_size": 0, "start_scale": 0}
ACTIVATIONS = {"lrelu": "leaky_relu"}
# Entries of a run's file of settings that are no flags.
_NO_FLAGS = {"device", "noise_amp_init", "timestamp"}


def read_config(recorded: Mapping[str, Any], **known: Any) -> Config:
    """Returns the configuration for flags of the published program; other fields are defaults.

    Fields in `known` take precedence.

    Raises:
        InputError: a flag or its value has no counterpart here.
    """
    config = Config().to_dict()
    for name, value in recorded.items():
        field = FIELDS.get(name, name)
        if name in IGNORED or (name in FIXED and int(value) == FIXED[name]):
            continue
        if field not in config:
            raise InputError(f"the published setting {name!r} has no counterpart here")
        config[field] = type(config[field])(value)
    config["activation"] = ACTIVATIONS.get(config["activation"], config["activation"])
    return Config.restore(config | known)


def read_params(data: Mapping[str, np.ndarray], prefix: str = "") -> Params:
    """Returns the parameters under `prefix` as our tree; kernels are `[3, 3, I, O]` already."""
    tree: dict = {}
    for name, value in data.items():
        if name.startswith(prefix) and "running_" not in name and "num_batches" not in name:
            path = _our_path(name.removeprefix(prefix))
            node = tree
            for part in path[:-1]:
                node = node.setdefault(part, {})
            # PyTorch keeps PReLU's one slope as `[1]`.
            node[path[-1]] = jnp.asarray(value).reshape(() if path[-1] == "slope" else value.shape)
    if "stages" in tree:
        tree["stages"] = [tree["stages"][k] for k in sorted(tree["stages"])]
    return tree


def _our_path(name: str) -> list[Any]:
    """Returns the path in our parameters of one that the published program calls `name`."""
    modules: list[Any]
    *modules, leaf = [part for part in name.split(".") if part]
    if modules[0] == "body":
        is_stage = modules[1].isdigit()
        modules = ["stages", int(modules[1]), *modules[2:]] if is_stage else modules[1:]
    if modules[0] == "tail":
        modules = ["tail"]
    if modules[-1] == "prelu":
        return [*modules[:-1], "slope"]
    weight = "scale" if modules[-1] == "norm" else "kernel"
    return [*modules, weight if leaf == "weight" else leaf]


def load_run(path: pathlib.Path) -> tuple[Model, list[np.ndarray]]:
    """Loads a run directory of the published program.

    Args:
        path: the directory, with `parameters.txt`, `reals.pth` and a folder for each stage.

    Returns:
        The model of the newest stage, and the pyramid's levels `[1, H, W, C]`. The model stores all
        of z*, with which it reconstructs the image as the program does.

    Raises:
        InputError: PyTorch is not installed, or the directory is no such run.
    """
    recorded = _settings(path / "parameters.txt")
    stages = sorted(int(p.parent.name) for p in path.glob("*/netG.pth") if p.parent.name.isdigit())
    if not stages:
        raise InputError(f"{path} has no stage: a folder such as 0 with a netG.pth is missing")
    reals, z_star = (images(path / name) for name in ("reals.pth", "fixed_noise.pth"))
    amps = [float(amp) for amp in tensors(path / "noise_amp.pth")]
    number = stages[-1] + 1
    if min(len(reals), len(z_star), len(amps)) < number:
        raise InputError(f"{path} is incomplete: less noise or fewer pictures than stages")
    config = read_config(recorded, image=str(recorded.get("input_name", "")))
    weights = tensors(path / f"{number - 1}/netG.pth")
    model = Model(
        params=read_params({name: parameter(weight) for name, weight in weights.items()}),
        fixed=ReconstructionNoise([jnp.asarray(z) for z in z_star[:number]], config.seed),
        noise_amps=jnp.asarray(amps[:number], jnp.float32),
        real=reals[number - 1],
        arch=architecture(config, channels=reals[0].shape[-1]),
        sizes=tuple((real.shape[1], real.shape[2]) for real in reals[:number]),
        config=config,
        step=config.stage(number - 1).num_iters,
    )
    return model, reals[:number]


def _settings(path: pathlib.Path) -> dict[str, Any]:
    """Returns the flags of a run from a file with lines `name<tab>-<tab>value`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: give a run of the published program") from None
    pairs = [line.split("\t-\t", 1) for line in lines if "\t-\t" in line]
    if not pairs:
        raise InputError(f"{path} has no settings of the published program")
    return {name: _value(text) for name, text in pairs if name not in _NO_FLAGS}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def tensors(path: pathlib.Path) -> Any:
    """Returns the tensors, lists and dictionaries of a file that PyTorch saved."""
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            f"{path} needs PyTorch to be read: python -m pip install torch (the extra torch)"
        )
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except Exception as error:  # PyTorch does not document what damaged files raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read: {reason}") from None


def parameter(tensor: Any) -> np.ndarray:
    """Returns a parameter, a kernel `[O, I, 3, 3]` as `[3, 3, I, O]`."""
    array = tensor.detach().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def images(path: pathlib.Path) -> list[np.ndarray]:
    """Returns saved tensors `[1, C, H, W]` as `[1, H, W, C]`."""
    return [tensor.detach().numpy().transpose(0, 2, 3, 1) for tensor in tensors(path)]
