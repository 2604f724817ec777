"""What a configuration must satisfy, and what follows from it."""

from collections.abc import Mapping
from typing import Any

from consingan_jax import tasks
from consingan_jax.data import pyramid
from consingan_jax.nn import generator as networks
from consingan_jax.nn import layers

MAY_CHANGE_ON_RESUME = ("log_every", "sample_every", "checkpoint_minutes", "remat")
# What a fine-tuned model takes over from the one it starts from, besides the parameters.
OF_THE_MODEL = (
    *("image", "channels", "background", "num_stages", "min_size", "max_size", "pyramid_rule"),
    *("num_filters", "num_layers", "activation", "negative_slope", "batch_norm", "noise_amp"),
)

_MINIMUM = {
    "num_stages": 1,
    "min_size": 1,
    "max_size": 1,
    "num_filters": 1,
    "num_layers": 1,
    "num_iters": 1,
    "train_depth": 1,
    "d_steps": 1,
    "g_steps": 1,
    "log_every": 1,
    "sample_every": 1,
    "seed": 0,
    "negative_slope": 0,
    "gp_weight": 0,
    "rec_weight": 0,
    "noise_amp": 0,
    "lr_scale": 0,
    "lr_decay": 0,
    "beta1": 0,
}
_ABOVE_ZERO = ("lr_generator", "lr_critic", "checkpoint_minutes")
_CHOICES: dict[str, list[Any]] = {
    "activation": list(layers.ACTIVATIONS),
    "dtype": list(layers.DTYPES),
    "channels": [0, 1, 3],
    "pyramid_rule": ["task", *pyramid.RULES],
}


def check(config: Mapping[str, Any]) -> None:
    """Raises a ValueError that names the first field with a value that cannot work."""
    for field, choices in {**_CHOICES, "task": list(tasks.TASKS)}.items():
        if config[field] not in choices:
            known = ", ".join(map(str, choices))
            raise ValueError(f"config.{field}={config[field]!r}: give one of {known}")
    for field, least in _MINIMUM.items():
        if not config[field] >= least:  # also catches nan
            raise ValueError(f"config.{field}={config[field]}: give {least} or more")
    for field in _ABOVE_ZERO:
        if not config[field] > 0:
            raise ValueError(f"config.{field}={config[field]}: give a value above 0")
    if config["naive"] and tasks.TASKS[config["task"]].composite_input is None:
        raise ValueError(
            f"config.naive={config['naive']}: the task {config['task']} takes no composite; "
            f"{tasks.names(takes_composite=True)} do"
        )
    if config["fine_tune"] and not config["naive"]:
        raise ValueError("config.naive is missing: the composite to fine-tune on")
    if config["beta1"] >= 1:
        raise ValueError(f"config.beta1={config['beta1']}: give a value below 1")
    if config["seed"] >= 2**32:
        raise ValueError(f"config.seed={config['seed']}: give a value below 2**32")


def architecture(config: Mapping[str, Any], *, channels: int) -> layers.Architecture:
    """Returns the architecture that `config` asks for, for images of `channels` channels."""
    return layers.Architecture(
        channels=channels,
        num_filters=config["num_filters"],
        num_layers=config["num_layers"],
        activation=config["activation"],
        negative_slope=config["negative_slope"],
        batch_norm=config["batch_norm"],
        border_growing=tasks.TASKS[config["task"]].border_growing,
        dtype=config["dtype"],
    )


def pyramid_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keyword arguments of the functions in `pyramid` that `config` asks for."""
    rule = config["pyramid_rule"]
    return {
        "num_stages": config["num_stages"],
        "min_size": config["min_size"],
        "max_size": config["max_size"],
        "rule": tasks.TASKS[config["task"]].pyramid_rule if rule == "task" else rule,
    }


def level_sizes(config: Mapping[str, Any], image_size: networks.Size) -> list[networks.Size]:
    """Returns the size of every level of an image.

    Raises:
        ValueError: `min_size` is larger than the top level's short side, or a level would be
            smaller than the patch that the critic looks at.
    """
    sizes = pyramid.sizes(image_size, **pyramid_arguments(config))
    if config["num_stages"] > 1 and config["min_size"] > min(sizes[-1]):
        raise ValueError(
            f"config.min_size={config['min_size']} is larger than the short side of the top level, "
            f"{min(sizes[-1])} px: give {min(sizes[-1])} or less"
        )
    patch = networks.patch_size(config["num_layers"])
    for level, (height, width) in enumerate(sizes):
        if min(height, width) < patch:
            raise ValueError(
                f"level {level} of the pyramid would be {height}x{width} px, but the critic looks "
                f"at patches of {patch}x{patch}: give a larger min_size (now "
                f"{config['min_size']}), a larger max_size (now {config['max_size']}), a larger "
                "image or fewer num_layers"
            )
    return sizes


def fine_tuned(config: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the configuration of a fine-tuning: of the model what `source` says, else `config`.

    Raises:
        ValueError: `source` is the configuration of another task.
    """
    if source["task"] != config["task"]:
        raise ValueError(
            f"config.fine_tune={config['fine_tune']} is a run of the task {source['task']}, not "
            f"{config['task']}: give configs/{source['task']}.py or another run"
        )
    # A source of an earlier version may lack a field.
    return {**config, **{field: source.get(field, config[field]) for field in OF_THE_MODEL}}


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Returns the first field that keeps a run of `old` from going on as `new`, or None.

    The image is not compared by its name here: see `workdir.Workdir.check`.
    """
    watched = () if new["fine_tune"] else ("naive",)
    fields = sorted({*old, *new} - {"image", *MAY_CHANGE_ON_RESUME, *watched})
    return next((field for field in fields if old.get(field) != new.get(field)), None)
