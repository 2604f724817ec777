"""Parses command-line flags, and reports every user error as one line with an exit code."""

import contextlib
import dataclasses
import logging as standard_logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args, get_type_hints

from absl import flags as absl_flags
from absl import logging
from ml_collections import config_dict, config_flags

from consingan_jax import config
from consingan_jax.cli import signals
from consingan_jax.config import Config
from consingan_jax.errors import NO_ROOM, InputError, is_out_of_memory

Flags = absl_flags.FlagValues
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of the program.

    Attributes:
        usage: what it does, with examples.
        define: adds the command's flags, given the arguments that they will be parsed from.
        main: does the work, given the parsed flags and the arguments that are no flags.
    """

    usage: str
    define: Callable[[Flags, Sequence[str]], None]
    main: Callable[[Flags, Sequence[str]], None]

    def run(self, name: str, arguments: Sequence[str]) -> None:
        """Parses the arguments and works; ends the process where that fails.

        Args:
            name: of the command, as the user called it.
            arguments: what follows the name.
        """
        # Orbax reports every file that it writes, and every failure a second time.
        logging.set_verbosity(logging.FATAL)
        standard_logging.getLogger("asyncio").setLevel(standard_logging.CRITICAL)
        for stream in (sys.stdout, sys.stderr):  # a path may be no text
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="surrogateescape")
        warnings.formatwarning = lambda message, *_, **__: f"{name}: warning: {message}\n"
        try:
            flags = Flags()
            others = self._parse(flags, name, arguments)
            if flags.help:
                print(f"{self.usage.strip()}\n\nFlags [defaults]:\n{_described(flags)}")
            else:
                self.main(flags, others)
        except InputError as error:
            _stop(name, error, BAD_INPUT)
        except OSError as error:
            code = FAILED if error.errno in NO_ROOM else BAD_INPUT
            if code == FAILED and not error.filename:
                _stop(
                    name, f"no room: {error.strerror}; make some, then give the command again", code
                )
            _stop(name, f"{error.filename}: {error.strerror}" if error.filename else error, code)
        except FloatingPointError as error:
            _stop(name, error, FAILED)
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                _stop(name, "out of memory: give a smaller size", FAILED)
            if "Unable to initialize backend" not in str(error):
                raise
            asked = os.environ.get("JAX_PLATFORMS", "")  # the platform that the user asks for
            _stop(name, f"JAX_PLATFORMS={asked}: not here; give JAX_PLATFORMS=cpu", BAD_INPUT)
        except KeyboardInterrupt:
            _stop(name, "interrupted", INTERRUPTED)

    def as_process(self, name: str, arguments: Sequence[str]) -> None:
        """Does what `run` does, as all that the process is for: where it fails, it ends at once."""
        sys.unraisablehook = lambda _: None  # what Orbax leaves when it fails complains of itself
        threading.excepthook = _of_thread
        sys.stdout, sys.stderr = map(_Unbroken, (sys.stdout, sys.stderr))
        try:
            self.run(name, arguments)
        except SystemExit as stop:
            if isinstance(stop.code, int) and stop.code:
                signals.leave(stop.code)
            raise

    def _parse(self, flags: Flags, name: str, arguments: Sequence[str]) -> list[str]:
        """Returns the arguments that are no flags."""
        absl_flags.DEFINE_bool("help", False, "Show this.", short_name="h", flag_values=flags)
        absl_flags.DEFINE_string(
            "compilation_cache",
            "~/.cache/consingan_jax",
            "Directory of compiled programs, or off.",
            flag_values=flags,
        )
        try:
            self.define(flags, arguments)
            others = flags([name, *arguments])[1:]
            for one in map(flags.__getitem__, flags):  # no shell expands what follows --flag=
                if isinstance(one.value, str):
                    one.value = os.path.expanduser(one.value)
            return others
        except InputError:
            raise
        except absl_flags.Error as error:
            raise InputError(_last_line(error)) from None
        except Exception as error:  # the user's configuration file is run while flags are parsed
            kind = type(error).__name__
            raise InputError(f"--config: {kind}: {_last_line(error)}") from None


class _Unbroken:
    """A stream to a pipe that is silent once nobody reads it, as after `| head`.

    What writes to it goes on.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._silenced():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._silenced():
            self._stream.flush()

    @contextlib.contextmanager
    def _silenced(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def check_used(flags: Flags, used: Iterable[str], where: str) -> None:
    """Raises an InputError if a flag was given that has no effect.

    Args:
        flags: as parsed.
        used: names of those that have one.
        where: in words, with what they have one.
    """
    names = {*used, "compilation_cache"}
    for name in flags:
        flag = flags[name]
        if flag.present and name not in names and flag.name not in names:
            raise InputError(f"--{name} has no effect {where}: leave it out")


def config_file(task: str, **changes: Any) -> Callable[[str], config_dict.ConfigDict]:
    """Returns the function `get_config` of a configuration file: `--config=FILE.py[:VARIANT]`.

    Args:
        task: a row of the table of tasks.
        changes: fields that differ from the task's.
    """

    def get_config(variant: str = "") -> config_dict.ConfigDict:
        """Returns the configuration of the task, or a variant of it."""
        return as_config_dict(Config.create(task, variant, **changes))

    return get_config


def as_config_dict(config: Config) -> config_dict.ConfigDict:
    """Returns a configuration as the flag `--config` holds it."""
    fields = {
        # What has several types is left to `Config` to check.
        name: config_dict.FieldReference(value, field_type=object if get_args(kind) else None)
        for (name, value), kind in zip(
            config.to_dict().items(), get_type_hints(Config).values(), strict=True
        )
    }
    return config_dict.ConfigDict(fields)


def define_config(
    flags: Flags, arguments: Sequence[str], default: config_dict.ConfigDict | None
) -> None:
    """Adds `--config=FILE.py` and `--config.FIELD=VALUE`.

    Args:
        flags: to add it to.
        arguments: from which it will be parsed.
        default: what the fields change where no file is given.

    Raises:
        InputError: a field does not exist.
    """
    known = {field.name: field.default for field in dataclasses.fields(Config)}
    for argument in arguments:
        match = re.match(r"--?(no)?config\.([^=]*)", argument)
        if match and match[2] not in known:
            raise InputError(config.unknown(match[2]))
    before = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
    options: dict[str, Any] = {"flag_values": flags, "sys_argv": ["", *before]}
    if default is None:
        config_flags.DEFINE_config_file("config", **options)
    else:
        config_flags.DEFINE_config_dict("config", default, **options)


def _described(flags: Flags) -> str:
    """Returns a line for every flag of a command."""
    lines = []
    for name in sorted(flags):
        flag, is_alias = flags[name], name != flags[name].name
        if is_alias or name in ("config", "help") or "." in name:  # the usage speaks of these
            continue
        default = "" if flag.default in (None, False, "", []) else f" [{flag.default}]"
        value = "" if flag.boolean else "=..."
        lines.append(f"  --{name}{value}".ljust(26) + f"{flag.help}{default}")
    return "\n".join(lines)


def _last_line(error: BaseException) -> str:
    """Returns what an error says, without the traceback that ml_collections puts before it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return last.removeprefix("ValueError: ").removeprefix("consingan_jax.errors.InputError: ")


def _of_thread(fault: threading.ExceptHookArgs) -> None:
    """Reports what ended a thread; of a full disk the command itself speaks."""
    if not isinstance(fault.exc_value, OSError) or fault.exc_value.errno not in NO_ROOM:
        threading.__excepthook__(fault)


def _stop(name: str, message: object, code: int) -> None:
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(code)
