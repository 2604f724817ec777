"""The fields of the configuration: type, default, range and help of each, and validation."""

import dataclasses
import functools
import math
import numbers
import os
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from consingan_jax.errors import InputError
from consingan_jax.methods import METHODS
from consingan_jax.tasks import TASKS

_TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((numbers.Integral,), "a whole number"),
    float: ((numbers.Real,), "a finite number"),
    bool: ((bool, np.bool_), "True or False"),
    str: ((str, os.PathLike), "text"),
}


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """Metadata of a field besides its type and default.

    Attributes:
        help: one line.
        least: smallest value.
        above: exclusive lower bound.
        below: exclusive upper bound.
        choices: all values, if they are few.
        may_change: whether a run can be resumed with another value.
        of_model: whether a fine-tuned model takes the value of the model that it starts from.
        is_path: whether it names a file or a directory, in which ~ is expanded.
    """

    help: str
    least: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple = ()
    may_change: bool = False
    of_model: bool = False
    is_path: bool = False

    def range(self) -> str:
        """Describes the values of the field; empty if any value can work."""
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        bounds = {"{} or more": self.least, "above {}": self.above, "below {}": self.below}
        return ", ".join(text.format(x) for text, x in bounds.items() if x is not None)

    def validated(self, name: str, value: Any, kind: Any) -> Any:
        """Converts a value to the type of the field.

        Args:
            name: name of the field.
            value: its value; numpy numbers and paths are accepted too.
            kind: its type, such as `int` or `int | tuple[int, ...]`.

        Raises:
            InputError: the value has another type, or is out of range.
        """
        value = _converted(name, value, kind)
        if self.is_path:
            value = os.path.expanduser(value)
        for one in value if isinstance(value, tuple) else (value,):
            if not self._accepts(one):
                text = repr(value) if isinstance(value, str) else str(value)
                wanted = self.range() if self.above is None else f"a value {self.range()}"
                raise InputError(f"config.{name}={text}: give {wanted}")
        return value

    def _accepts(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        # The comparisons are written so that a NaN is never accepted.
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def field(default: Any, help: str, **spec: Any) -> Any:
    """Returns a dataclass field with the metadata of a `FieldSpec`."""
    return dataclasses.field(default=default, metadata={"about": FieldSpec(help, **spec)})


def _converted(name: str, value: Any, kind: Any) -> Any:
    args = get_args(kind)  # one value, or one for each stage
    if args:
        value = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(_converted(name, one, args[0]) for one in value)
        kind = args[0]
    types, words = _TYPES[kind]
    # Python's bool is an int, but True as a number of stages is a mistake.
    fits = isinstance(value, types) and (kind is bool or not isinstance(value, bool))
    if not fits or (kind is float and not _is_finite(value)):
        also = ", or one for each stage" if args else ""
        raise InputError(f"config.{name}={value!r}: give {words}{also}")
    return os.fspath(value) if kind is str else kind(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer larger than every float
        return False


_model = functools.partial(field, of_model=True)
_changeable = functools.partial(field, may_change=True)


def _staged(default: Any, help: str, **spec: Any) -> Any:
    """Returns a field that can have a value for each stage."""
    help += "; one number, or a list for the last stages, its first for all below"
    return field(default, help, **spec)


@dataclasses.dataclass(frozen=True)
class Fields:
    """The table of all fields; the defaults are the paper's for the task `generation`."""

    task: str = field("generation", "purpose of the model", choices=tuple(TASKS))
    method: str = field("consingan", "how it is built and trained", choices=tuple(METHODS))
    image: str = _model("", "file of the training image", is_path=True)
    images: str = _changeable(
        "", "folder or pattern of training images, one run each", is_path=True
    )
    seed: int = field(0, "seed of all random numbers of the run", least=0, below=2**32)

    # A composite of the training image (harmonization, editing)
    naive: str = field("", "composite to apply the model to at every log step", is_path=True)
    fine_tune: str = field("", "run to start from, on `naive` instead of `image`", is_path=True)

    # The image
    channels: int = _model(0, "1: grey, 3: colour, 0: as in the file", least=0)
    value_range: str = _model(
        "dtype", "values of black and white: dtype: of the type; data: the extremes; or LOW,HIGH"
    )
    mask: str = _model(
        "", "mask of the image, learned as one more channel; with `images` a folder", is_path=True
    )
    exclude: str = _model(
        "", "mask of a part of the image that is not learned, white on black", is_path=True
    )
    max_megapixels: float = _changeable(
        100.0, "largest image that is read, millions of pixels", above=0
    )
    background: str = _model("white", "colour behind transparent pixels")

    # The pyramid
    num_stages: int = _model(
        6, "levels, and stages of the generator; 0 with singan: as many as the image needs", least=0
    )
    min_size: int = _model(25, "short side of the coarsest level, pixels", least=1)
    max_size: int = _model(250, "long side of the finest level, pixels", least=1)
    scale_factor: float = _model(
        0.75, "about the size of a level relative to the next (singan)", above=0, below=1
    )
    resampling: str = _model(
        "bytes",
        "of images between levels (singan); bytes: cut to 8 bits",
        choices=("bytes", "float"),
    )
    pyramid_rule: str = _model(
        "task", "spacing of the sizes; task: that of the task", choices=("task", "new", "geometric")
    )

    # The networks
    num_filters: int = _model(64, "features of every hidden layer", least=1)
    num_layers: int = _model(3, "convolutions in a stage", least=1)
    activation: str = _model(
        "leaky_relu", "activation function", choices=("leaky_relu", "prelu", "elu", "selu")
    )
    negative_slope: float = _model(0.05, "slope of leaky_relu below zero", least=0)
    batch_norm: bool = _model(False, "normalise in the generator")

    # Training
    num_iters: int | tuple[int, ...] = _staged(2000, "iterations of a stage", least=1)
    window: float | tuple[float, ...] = _staged(
        0.0, "train on windows of this many pixels, or of this part of each side; 0: off", least=0
    )
    windows: int = field(1, "windows per iteration", least=1)
    train_depth: int = field(3, "number of newest stages that train together", least=1)
    lr_scale: float = field(
        0.1, "learning rate factor per stage of age; less: more diverse", least=0
    )
    lr_generator: float | tuple[float, ...] = _staged(5e-4, "newest stage's learning rate", above=0)
    lr_critic: float | tuple[float, ...] = _staged(5e-4, "critic's learning rate", above=0)
    lr_decay: float = field(0.1, "factor on both after 80 % of a stage's iterations", least=0)
    ema_decay: float | tuple[float, ...] = _staged(
        0.0,
        "decay an iteration of the mean of the generator's weights that is sampled, and that the "
        "next stage starts from; 0: the last weights",
        least=0,
        below=1,
    )
    beta1: float = field(0.5, "Adam's first-moment decay", least=0, below=1)
    d_steps: int | tuple[int, ...] = _staged(3, "critic steps per iteration", least=1)
    g_steps: int | tuple[int, ...] = _staged(
        3, "generator updates per iteration, on one gradient", least=1
    )
    loss: str = field(
        "wgan-gp",
        "adversarial loss; relativistic: each real patch against the fake one at its place, with "
        "a zero-centred gradient penalty (R3GAN)",
        choices=("wgan-gp", "relativistic"),
    )
    gp_weight: float = field(0.1, "weight of the gradient penalty", least=0)
    gp_every: int = field(
        1, "critic steps for each that has a gradient penalty, of so many times the weight", least=1
    )
    rec_weight: float = field(10.0, "weight of the reconstruction loss", least=0)
    z_star: str = field(
        "redrawn",
        "z* of stage 0 in training (singan); redrawn: anew in every iteration",
        choices=("redrawn", "fixed"),
    )
    noise_amp: float = _model(0.1, "a new stage's noise, relative to its initial error", least=0)
    on_divergence: str = _changeable(
        "stop",
        "on non-finite numbers or a collapse; retry: up to three times from the last checkpoint, "
        "with new noise and half the learning rates",
        choices=("stop", "retry"),
    )

    # Time and memory
    dtype: str = field(
        "float32",
        "type of the convolutions; bfloat16 takes half of a GPU's memory",
        choices=("float32", "bfloat16"),
    )
    remat: bool = _changeable(
        False, "recompute for gradients instead of keeping: slower, less memory"
    )

    # Output
    log_every: int = _changeable(50, "iterations between lines of metrics", least=1)
    sample_every: int = _changeable(500, "iterations between sample grids of a stage", least=1)
    checkpoint_minutes: float = _changeable(5.0, "most work that a killed run can lose", above=0)
