"""Metadata of configuration fields: validation, conversion, descriptions."""

import dataclasses
import math
import numbers
import os
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from consingan_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """What is known of a field besides its type and default.

    Attributes:
        help: one line.
        least: the smallest value.
        above: what the value must exceed.
        below: what it must stay below.
        choices: all that it can be.
        may_change: whether a run can go on with another value.
        of_model: whether a fine-tuned model takes it over from the one that it starts from.
        is_path: whether it names a file or a directory, where ~ means the user's own.
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
        """Returns in words what a value can be, empty where anything can."""
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        words = [
            f"{self.least} or more" if self.least is not None else "",
            f"above {self.above}" if self.above is not None else "",
            f"below {self.below}" if self.below is not None else "",
        ]
        return ", ".join(filter(None, words))

    def wanted(self) -> str:
        """Returns `range` as it follows "give"."""
        return self.range() if self.choices or self.above is None else f"a value {self.range()}"

    def refuses(self, value: Any) -> bool:
        """Returns whether a value is out of the range; a NaN always is."""
        if self.choices:
            return value not in self.choices
        return not (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def field(default: Any, help: str, **known: Any) -> Any:
    """Returns a dataclass's field with what is known of it: the attributes of `FieldSpec`."""
    return dataclasses.field(default=default, metadata={"about": FieldSpec(help, **known)})


_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((numbers.Integral,), "a whole number"),
    float: ((numbers.Real,), "a finite number"),
    bool: ((bool, np.bool_), "True or False"),
    str: ((str, os.PathLike), "text"),
}


def converted(name: str, value: Any, wanted: Any) -> Any:
    """Returns a value as the type of its field; a numpy number or a path is as good as ours."""
    if args := get_args(wanted):  # one number, or one for each stage
        value = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(converted(name, one, args[0]) for one in value)
        wanted = args[0]
    kinds, words = _KINDS[wanted]
    fits = isinstance(value, kinds) and (wanted is bool or not isinstance(value, bool))
    if not fits or (wanted is float and not _is_finite(value)):
        also = ", or one for each stage" if args else ""
        raise InputError(f"config.{name}={value!r}: give {words}{also}")
    return os.fspath(value) if wanted is str else wanted(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floating point numbers
        return False
