"""The validated configuration of a run, and relations between configurations."""

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

from consingan_jax import methods, tasks
from consingan_jax.errors import InputError
from consingan_jax.fields import Fields, FieldSpec


class StageSettings(NamedTuple):
    """The fields that can have one value for each stage, with the values of one stage."""

    num_iters: int
    window: float
    lr_generator: float
    lr_critic: float
    d_steps: int
    g_steps: int
    ema_decay: float


@dataclasses.dataclass(frozen=True)
class Config(Fields):
    """Validated configuration of a run: see `Fields`, and `create` for the defaults of a task.

    Raises:
        InputError: a field has a value that cannot work.
    """

    def __post_init__(self) -> None:
        for name, spec in _FIELDS.items():
            value = spec.validated(name, getattr(self, name), _TYPES[name])
            object.__setattr__(self, name, value)
        if message := next(self._conflicts(), None):
            raise InputError(message)
        self.value_limits  # noqa: B018  (raises)

    def _conflicts(self) -> Iterator[str]:
        """Yields a message for each combination of fields that cannot work."""
        yield from self._method_conflicts()
        composite = self.task_spec.composite_input
        cut = any(self.window) if isinstance(self.window, tuple) else self.window
        if not self.fine_tune:  # the number of stages is that of its source: see `fine_tuned`
            yield from self._stage_conflicts()
        if self.naive and composite is None:
            others = tasks.names(takes_composite=True)
            yield f"config.naive={self.naive}: the task {self.task} takes no composite; {others} do"
        if self.fine_tune and cut:
            yield f"config.window={self.window}: a fine-tuning works on whole levels; give 0"
        if self.batch_norm and cut:
            remedy = "give config.window=0 or config.batch_norm=False"
            yield f"config.window={self.window}: normalisation needs whole levels; {remedy}"
        if self.mask and composite is not None:
            yield f"config.mask={self.mask}: the task {self.task} learns no mask; leave it out"
        if self.exclude and composite is not None:
            yield f"config.exclude={self.exclude}: the task {self.task} learns the whole image"
        if self.exclude and self.loss == "relativistic":
            yield f"config.exclude={self.exclude}: the relativistic loss has none; give wgan-gp"
        if self.fine_tune and not self.naive:
            yield "config.naive is missing: the composite to fine-tune on"

    def _method_conflicts(self) -> Iterator[str]:
        """Yields a message for each field that the method does not have."""
        method = self.method_spec
        if method.tasks and self.task not in method.tasks:
            known = " and ".join(method.tasks)
            yield f"config.task={self.task}: the method {self.method} has the tasks {known}"
        for name in sorted(method.unused):
            value = getattr(self, name)
            if value != getattr(Fields, name):
                yield f"config.{name}={value}: the method {self.method} has none; leave it out"
        if not (self.num_stages or "num_stages" in method.defaults or self.fine_tune):
            yield "config.num_stages=0: give 1 or more"

    def _stage_conflicts(self) -> Iterator[str]:
        if not self.num_stages:  # as many as the image needs, which is not known yet
            return
        for name in StageSettings._fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and not 1 <= len(value) <= self.num_stages:
                wanted = f"one number, or at most one for each of the {self.num_stages} stages"
                yield f"config.{name}={value}: give {wanted}"

    @classmethod
    def create(cls, task: str = "generation", variant: str = "", **changes: Any) -> "Config":
        """Returns the configuration of a task.

        Args:
            task: a key of `tasks.TASKS`.
            variant: a key of the task's variants, such as "quick"; empty: none.
            changes: fields with other values.

        Raises:
            InputError: there is no such task, variant or field, or a value cannot work.
        """
        spec = tasks.TASKS.get(task, tasks.TASKS["generation"])  # validation refuses unknown tasks
        method = methods.METHODS.get(changes.get("method", "consingan"), methods.Method("", ""))
        variants = spec.variants if method.variants is None else method.variants
        if variant and variant not in variants:
            known = ", ".join(variants)
            raise InputError(f"task {task} has no variant {variant!r}: give {known} or none")
        of_task = {**spec.defaults, **method.defaults, **method.task_defaults.get(task, {})}
        settings = {**of_task, **variants.get(variant, {}), **changes}
        return cls.restore({"task": task, **settings})

    @classmethod
    def restore(cls, saved: Mapping[str, Any]) -> "Config":
        """Returns a saved configuration, also of an earlier version.

        Fields that did not exist then get their defaults, which keep the behaviour of that version.

        Raises:
            InputError: a field does not exist, or has a value that cannot work.
        """
        for name in saved:
            if name not in _FIELDS:
                raise InputError(unknown(name))
        return cls(**saved)

    @property
    def value_limits(self) -> tuple[float, float] | None:
        """The numbers LOW and HIGH of `value_range`; None for "dtype" and "data"."""
        if self.value_range in ("dtype", "data"):
            return None
        try:
            low, high = map(float, self.value_range.split(","))
        except ValueError:
            low = high = math.nan
        if not -math.inf < low < high < math.inf:
            wanted = "dtype, data, or two numbers LOW,HIGH"
            raise InputError(f"config.value_range={self.value_range!r}: give {wanted}")
        return low, high

    @property
    def max_pixels(self) -> int:
        """The largest number of pixels of an image."""
        return int(self.max_megapixels * 1e6)

    @property
    def takes_windows(self) -> bool:
        """Whether `window` may be set."""
        return not (self.batch_norm or self.fine_tune or "window" in self.method_spec.unused)

    @property
    def task_spec(self) -> tasks.Task:
        """The row of the task in the table of tasks."""
        return tasks.TASKS[self.task]

    @property
    def method_spec(self) -> methods.Method:
        """The row of the method in the table of methods."""
        return methods.METHODS[self.method]

    @property
    def fixed_input(self) -> str:
        """Kind of z*_0, a key of `data.noise.INPUTS`."""
        return self.method_spec.fixed_input or self.task_spec.fixed_input

    @property
    def slug(self) -> str:
        """Part of the names of its runs."""
        return self.method_spec.tasks.get(self.task, self.task_spec.slug)

    def stage(self, number: int) -> StageSettings:
        """Returns the settings of one stage, counted from 0."""
        from_end = self.num_stages - number
        values = (getattr(self, name) for name in StageSettings._fields)
        return StageSettings(
            *(v[max(0, len(v) - from_end)] if isinstance(v, tuple) else v for v in values)
        )

    def slowed(self, factor: float) -> "Config":
        """Returns the configuration with learning rates multiplied by a factor."""

        def scaled(rate: Any) -> Any:
            return tuple(map(scaled, rate)) if isinstance(rate, tuple) else rate * factor

        names = ("lr_generator", "lr_critic")
        return dataclasses.replace(self, **{name: scaled(getattr(self, name)) for name in names})

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields in JSON types."""
        values = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    def changes(self) -> list[dict[str, str]]:
        """Returns name, value and help of the fields that differ from the task's defaults."""
        default = Config.create(self.task, method=self.method)
        return [
            {"name": name, "value": str(getattr(self, name)), "help": spec.help}
            for name, spec in _FIELDS.items()
            if getattr(self, name) != getattr(default, name) and name not in ("image", "images")
        ]

    def fine_tuned(self, source: "Config") -> "Config":
        """Returns the configuration with the model fields of `source`, to fine-tune its model.

        Raises:
            InputError: `source` has another task, or too few stages for a list of values.
        """
        if source.task != self.task:
            raise InputError(
                f"config.fine_tune={self.fine_tune} is a run of the task {source.task}, not "
                f"{self.task}: give config.task={source.task} or another run"
            )
        taken = {name: getattr(source, name) for name, spec in _FIELDS.items() if spec.of_model}
        tuned = dataclasses.replace(self, **taken)
        if message := next(tuned._stage_conflicts(), None):
            raise InputError(message)
        return tuned

    def of_any_picture(self) -> "Config":
        """Clears image, masks and seed: runs with equal results compute with the same program."""
        hole = "a mask" if self.exclude else ""  # whether there is one decides the program
        return dataclasses.replace(self, image="", images="", mask="", exclude=hole, seed=0)

    def difference(self, other: "Config") -> str | None:
        """Returns the first field whose change prevents a run from being resumed as `other`.

        Images and masks are compared by their contents instead: see `runs.directory`.
        """
        ignored = {"image", "mask", "exclude"} | ({"naive"} if not other.fine_tune else set())
        fixed = sorted({name for name, spec in _FIELDS.items() if not spec.may_change} - ignored)
        return next((n for n in fixed if getattr(self, n) != getattr(other, n)), None)


_FIELDS: dict[str, FieldSpec] = {
    each.name: each.metadata["about"] for each in dataclasses.fields(Config)
}
_TYPES = get_type_hints(Config)
PATHS = frozenset(name for name, spec in _FIELDS.items() if spec.is_path)


def unknown(name: str) -> str:
    """Returns the error message for a field that does not exist."""
    similar = difflib.get_close_matches(name, _FIELDS, n=1)
    hint = f"did you mean {similar[0]}?" if similar else "`consingan train --fields` lists them all"
    return f"config.{name}: no such field; {hint}"


def fields() -> Iterator[tuple[str, str, str, str]]:
    """Yields name, default, range and help of every field."""
    for each in dataclasses.fields(Config):
        spec = _FIELDS[each.name]
        values = "yes or no" if isinstance(each.default, bool) else spec.range()
        default = f'"{each.default}"' if isinstance(each.default, str) else str(each.default)
        yield each.name, default, values, spec.help
