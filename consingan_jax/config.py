"""The configuration: every field with its type, default, range and help."""

import dataclasses
import difflib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

from consingan_jax import tasks
from consingan_jax.errors import InputError
from consingan_jax.fields import FieldSpec, converted, field

_STAGES = "one number, or a list for the last stages, its first for all below"


class StageSettings(NamedTuple):
    """Of the fields that may have a value for every stage, those of one stage."""

    num_iters: int
    window: float
    lr_generator: float
    lr_critic: float
    d_steps: int
    g_steps: int


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration of a run, checked; the defaults are the paper's for the main task.

    `Config.create` starts from the defaults of a task instead.

    Raises:
        InputError: a field has a value that cannot work.
    """

    task: str = field("generation", "what the model is for", choices=tuple(tasks.TASKS))
    image: str = field("", "file of the one training image", of_model=True, is_path=True)
    images: str = field(
        "", "folder or pattern of training images, a run for each", is_path=True, may_change=True
    )
    seed: int = field(0, "every random draw of the run derives from it", least=0, below=2**32)

    # A composite of the training image (harmonization, editing)
    naive: str = field("", "composite to apply the model to at every log step", is_path=True)
    fine_tune: str = field("", "run to start from, on `naive` instead of `image`", is_path=True)

    # The image
    channels: int = field(0, "1: grey, 3: colour, 0: as the file has it", least=0, of_model=True)
    value_range: str = field(
        "dtype",
        "which numbers are black and white: dtype: all that its type can be; data: its least and "
        "largest; or two numbers, LOW,HIGH",
        of_model=True,
    )
    mask: str = field(
        "",
        "file of a mask of the image, learned with it as one more channel; of a set their folder",
        of_model=True,
        is_path=True,
    )
    max_megapixels: float = field(
        100.0, "largest picture that is read, in millions of pixels", above=0, may_change=True
    )
    background: str = field("white", "colour behind transparent pixels", of_model=True)

    # The pyramid
    num_stages: int = field(6, "levels, and stages of the generator", least=1, of_model=True)
    min_size: int = field(25, "short side of the coarsest level, pixels", least=1, of_model=True)
    max_size: int = field(250, "longest side of the finest level, pixels", least=1, of_model=True)
    pyramid_rule: str = field(
        "task",
        "how sizes are spread over the levels; task: as the task has it",
        choices=("task", "new", "geometric"),
        of_model=True,
    )

    # The networks
    num_filters: int = field(64, "features of every hidden layer", least=1, of_model=True)
    num_layers: int = field(3, "convolutions in a stage", least=1, of_model=True)
    activation: str = field(
        "leaky_relu",
        "what follows a convolution",
        choices=("leaky_relu", "prelu", "elu", "selu"),
        of_model=True,
    )
    negative_slope: float = field(0.05, "slope of leaky_relu below zero", least=0, of_model=True)
    batch_norm: bool = field(False, "normalise in the generator", of_model=True)

    # Training
    num_iters: int | tuple[int, ...] = field(2000, f"iterations of each stage: {_STAGES}", least=1)
    window: float | tuple[float, ...] = field(
        0.0,
        "train on windows of this many pixels, or of this part of each side; 0: on whole levels; "
        f"{_STAGES}",
        least=0,
    )
    windows: int = field(1, "how many windows an iteration takes", least=1)
    train_depth: int = field(3, "how many of the newest stages train at a time", least=1)
    lr_scale: float = field(
        0.1, "learning rate factor per stage of age: less is more diverse", least=0
    )
    lr_generator: float | tuple[float, ...] = field(
        5e-4, f"learning rate of the newest stage: {_STAGES}", above=0
    )
    lr_critic: float | tuple[float, ...] = field(
        5e-4, f"learning rate of the critic: {_STAGES}", above=0
    )
    lr_decay: float = field(0.1, "factor on both after 80 % of a stage's iterations", least=0)
    beta1: float = field(0.5, "Adam's first-moment decay", least=0, below=1)
    d_steps: int | tuple[int, ...] = field(3, f"critic steps per iteration: {_STAGES}", least=1)
    g_steps: int | tuple[int, ...] = field(
        3, f"generator updates per iteration, on one gradient: {_STAGES}", least=1
    )
    gp_weight: float = field(0.1, "weight of the gradient penalty", least=0)
    rec_weight: float = field(10.0, "weight of the reconstruction loss", least=0)
    noise_amp: float = field(
        0.1, "noise of a new stage, relative to its error before training", least=0, of_model=True
    )

    on_divergence: str = field(
        "stop",
        "what to do when numbers are no longer finite; retry: up to three times go on from the "
        "last checkpoint with new noise and half the learning rates",
        choices=("stop", "retry"),
        may_change=True,
    )

    # What it takes
    dtype: str = field(
        "float32",
        "of the convolutions; bfloat16 takes half of a GPU's memory",
        choices=("float32", "bfloat16"),
    )
    remat: bool = field(
        False, "keep less for the gradients and compute it again: slower, smaller", may_change=True
    )

    # What a run leaves behind
    log_every: int = field(50, "iterations between two lines of metrics", least=1, may_change=True)
    sample_every: int = field(
        500, "iterations between two sample grids of a stage", least=1, may_change=True
    )
    checkpoint_minutes: float = field(
        5.0, "most work that a killed run can lose", above=0, may_change=True
    )

    def __post_init__(self) -> None:
        for name, about in _FIELDS.items():
            value = converted(name, getattr(self, name), _TYPES[name])
            value = os.path.expanduser(value) if about.is_path else value
            for one in value if isinstance(value, tuple) else (value,):
                if about.refuses(one):
                    text = repr(value) if isinstance(value, str) else str(value)
                    raise InputError(f"config.{name}={text}: give {about.wanted()}")
            object.__setattr__(self, name, value)
        self._check_together()

    def _check_together(self) -> None:
        # A fine-tuning has as many stages as its source, which `fine_tuned` knows.
        if not self.fine_tune:
            self._check_stages()
        if self.naive and self.task_spec.composite_input is None:
            raise InputError(
                f"config.naive={self.naive}: the task {self.task} takes no composite; "
                f"{tasks.names(takes_composite=True)} do"
            )
        cut = any(self.window) if isinstance(self.window, tuple) else self.window
        if self.fine_tune and cut:
            raise InputError(
                f"config.window={self.window}: a fine-tuning works on whole levels; give 0"
            )
        if self.batch_norm and cut:
            raise InputError(
                f"config.window={self.window}: normalisation takes statistics of whole levels; "
                "give config.window=0 or config.batch_norm=False"
            )
        self.value_limits  # noqa: B018  (raises)
        if self.mask and self.task_spec.composite_input is not None:
            raise InputError(
                f"config.mask={self.mask}: the task {self.task} learns no mask; leave it out"
            )
        if self.fine_tune and not self.naive:
            raise InputError("config.naive is missing: the composite to fine-tune on")

    def _check_stages(self) -> None:
        for name in StageSettings._fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and not 1 <= len(value) <= self.num_stages:
                raise InputError(
                    f"config.{name}={value}: give one number, or at most one for each of the "
                    f"{self.num_stages} stages"
                )

    @classmethod
    def create(cls, task: str = "generation", variant: str = "", **changes: Any) -> "Config":
        """Returns the configuration of a task.

        Args:
            task: a row of the table of tasks.
            variant: a name that the task has for other settings, such as "quick".
            changes: fields that differ.

        Raises:
            InputError: no such task, variant or field, or a value that cannot work.
        """
        row = tasks.TASKS.get(task, tasks.TASKS["generation"])  # an unknown one is refused below
        if variant and variant not in row.variants:
            known = ", ".join(row.variants)
            raise InputError(f"task {task} has no variant {variant!r}: give {known} or none")
        return cls.restore(
            {"task": task, **row.defaults, **row.variants.get(variant, {}), **changes}
        )

    @classmethod
    def restore(cls, saved: Mapping[str, Any]) -> "Config":
        """Returns a configuration that was saved, also by an earlier version.

        A field that did not exist then has its default, with which a run goes on as it began.

        Raises:
            InputError: a field does not exist here, or has a value that cannot work.
        """
        for name in saved:
            if name not in _FIELDS:
                raise InputError(unknown(name))
        return cls(**saved)

    @property
    def value_limits(self) -> tuple[float, float] | None:
        """The two numbers that `value_range` names, None where it names none."""
        if self.value_range in ("dtype", "data"):
            return None
        try:
            low, high = map(float, self.value_range.split(","))
        except ValueError:
            low = high = math.nan
        if not -math.inf < low < high < math.inf:
            raise InputError(
                f"config.value_range={self.value_range!r}: give dtype, data, or two numbers "
                "LOW,HIGH"
            )
        return low, high

    @property
    def max_pixels(self) -> int:
        """The most pixels that a picture may have."""
        return int(self.max_megapixels * 1e6)

    @property
    def takes_windows(self) -> bool:
        """Whether `window` may be set: not with normalisation, nor in a fine-tuning."""
        return not (self.batch_norm or self.fine_tune)

    @property
    def task_spec(self) -> tasks.Task:
        """The row of the table of tasks."""
        return tasks.TASKS[self.task]

    def stage(self, number: int) -> "StageSettings":
        """Returns what the configuration says of one stage, counted from 0."""
        below = self.num_stages - number  # how many places from the end of a list
        values = (getattr(self, name) for name in StageSettings._fields)
        return StageSettings(
            *(v[max(0, len(v) - below)] if isinstance(v, tuple) else v for v in values)
        )

    def slowed(self, factor: float) -> "Config":
        """Returns the configuration with learning rates that are so much smaller."""

        def of(rate: Any) -> Any:
            return tuple(map(of, rate)) if isinstance(rate, tuple) else rate * factor

        names = ("lr_generator", "lr_critic")
        return dataclasses.replace(self, **{name: of(getattr(self, name)) for name in names})

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields, in plain JSON types."""
        values = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    def changes(self) -> list[dict[str, str]]:
        """Returns name, value and help of the fields that differ from the task's defaults."""
        default = Config.create(self.task)
        return [
            {"name": name, "value": str(getattr(self, name)), "help": about.help}
            for name, about in _FIELDS.items()
            if getattr(self, name) != getattr(default, name) and name not in ("image", "images")
        ]

    def fine_tuned(self, source: "Config") -> "Config":
        """Returns the configuration of a fine-tuning: of the model what `source` says.

        Raises:
            InputError: `source` is the configuration of another task.
        """
        if source.task != self.task:
            raise InputError(
                f"config.fine_tune={self.fine_tune} is a run of the task {source.task}, not "
                f"{self.task}: give config.task={source.task} or another run"
            )
        taken = {name: getattr(source, name) for name, about in _FIELDS.items() if about.of_model}
        tuned = dataclasses.replace(self, **taken)
        tuned._check_stages()
        return tuned

    def of_any_picture(self) -> "Config":
        """Returns what runs of one program have in common: all but picture, mask and seed."""
        return dataclasses.replace(self, image="", images="", mask="", seed=0)

    def difference(self, other: "Config") -> str | None:
        """Returns the first field that keeps a run from going on as `other`, or None.

        The image and its mask are not compared by their names here: see `training.workdir`.
        """
        ignored = {"image", "mask"} if other.fine_tune else {"image", "mask", "naive"}
        watched = sorted(
            {name for name, about in _FIELDS.items() if not about.may_change} - ignored
        )
        return next((n for n in watched if getattr(self, n) != getattr(other, n)), None)


_FIELDS: dict[str, FieldSpec] = {
    each.name: each.metadata["about"] for each in dataclasses.fields(Config)
}
_TYPES = get_type_hints(Config)
PATHS = frozenset(name for name, about in _FIELDS.items() if about.is_path)


def unknown(name: str) -> str:
    """Returns the line that refuses a field which does not exist."""
    similar = difflib.get_close_matches(name, _FIELDS, n=1)
    mend = f"did you mean {similar[0]}?" if similar else "`consingan train --fields` lists them all"
    return f"config.{name}: no such field; {mend}"


def fields() -> Iterator[tuple[str, str, str, str]]:
    """Yields name, default, range and help of every field, in words."""
    for each in dataclasses.fields(Config):
        about = _FIELDS[each.name]
        words = "yes or no" if isinstance(each.default, bool) else about.range()
        default = f'"{each.default}"' if isinstance(each.default, str) else str(each.default)
        yield each.name, default, words, about.help
