"""Reads the form of the Train tab: its configuration, and the name of the run."""

import ast
from collections.abc import Iterator
from typing import Any

from consingan_jax.config import PATHS, Config
from consingan_jax.errors import InputError
from consingan_jax.runs.directory import default_name

PAPER = "paper"  # the preset without changes
MOST_SETTINGS = 40  # letters of other settings that are in the name of a run


def config(image: str, task: str, preset: str, settings: str) -> Config:
    """Returns the configuration: of the task, changed by the preset and by each setting.

    Raises:
        InputError: a field does not exist or cannot have its value.
    """
    return Config.create(task, _variant(preset), image=image, **dict(fields(settings)))


def run_name(config: Config, preset: str, settings: str) -> str:
    """Returns the name of the run: as `default_name`, and the settings if they are short."""
    name = default_name(config, config.slug, _variant(preset))
    changed = "-".join(f"{field}_{value}" for field, value in fields(settings))
    return f"{name}-{changed}" if 0 < len(changed) <= MOST_SETTINGS else name


def fields(settings: str) -> Iterator[tuple[str, Any]]:
    """Yields the name and the value of each line `name=value`."""
    for line in filter(str.strip, settings.splitlines()):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise InputError(f"setting {line!r}: give name=value, a line for each")
        if name == "task" or name in PATHS:  # visitors shall not read this machine's files
            raise InputError(f"setting {name}: the studio takes no files or tasks here; delete it")
        try:
            yield name, ast.literal_eval(value)
        except (ValueError, SyntaxError):
            yield name, value


def _variant(preset: str) -> str:
    return "" if preset == PAPER else preset
