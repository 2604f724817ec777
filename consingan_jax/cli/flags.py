"""Parses command-line flags, and reports every user error as one line with an exit code."""

import dataclasses
import logging as standard_logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
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
    """A command of the program."""

    usage: str  # with examples
    define: Callable[[Flags, Sequence[str]], None]  # adds flags; given the arguments, unparsed
    main: Callable[[Flags, Sequence[str]], None]  # given the flags and the positional arguments

    def run(self, name: str, arguments: Sequence[str]) -> None:
        """Parses the arguments, which follow the name, and works; if that fails, exits."""
        # Orbax reports every file that it writes, and every failure a second time; decoders report
        # each damaged field of a file, before the exception that ends in one message.
        logging.set_verbosity(logging.FATAL)
        for library in ("asyncio", "pydicom", "tifffile"):
            standard_logging.getLogger(library).setLevel(standard_logging.CRITICAL)
        for stream in (sys.stdout, sys.stderr):  # a path need not be valid text
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
        except (Exception, KeyboardInterrupt) as error:
            message, code = _failure(error)
            if not code:
                raise
            print(f"{name}: {message}", file=sys.stderr)
            sys.exit(code)

    def as_process(self, name: str, arguments: Sequence[str]) -> None:
        """Does the same as `run` where the command is all that the process is for."""
        sys.unraisablehook = lambda _: None  # of what Orbax leaves behind when it fails
        threading.excepthook = _report_thread
        sys.stdout, sys.stderr = map(_ClosablePipe, (sys.stdout, sys.stderr))
        try:
            self.run(name, arguments)
        except SystemExit as stop:
            # An ordinary exit waits for compilations that still go on in threads.
            if isinstance(stop.code, int) and stop.code:
                signals.leave(stop.code)
            raise

    def _parse(self, flags: Flags, name: str, arguments: Sequence[str]) -> list[str]:
        """Defines and parses the flags; returns the positional arguments."""
        a, to = absl_flags, dict[str, Any](flag_values=flags)
        a.DEFINE_bool("help", False, "Show this.", short_name="h", **to)
        cache = "~/.cache/consingan_jax"
        a.DEFINE_string("compilation_cache", cache, "Directory of compiled programs, or off.", **to)
        try:
            self.define(flags, arguments)
            others = flags([name, *arguments])[1:]
        except InputError:
            raise
        except absl_flags.Error as error:
            raise InputError(_last_line(error)) from None
        except Exception as error:  # the user's configuration file runs while flags are parsed
            kind = type(error).__name__
            raise InputError(f"--config: {kind}: {_last_line(error)}") from None
        for flag in map(flags.__getitem__, flags):  # a shell expands no ~ that follows --flag=
            if isinstance(flag.value, str):
                flag.value = os.path.expanduser(flag.value)
        return others


def _failure(error: BaseException) -> tuple[object, int]:
    """Returns the message and exit code for an error; code 0 for a bug, which is raised instead."""
    match error:
        case KeyboardInterrupt():
            return "interrupted", INTERRUPTED
        case InputError():
            return error, BAD_INPUT
        case FloatingPointError():
            return error, FAILED
        case OSError():
            code = FAILED if error.errno in NO_ROOM else BAD_INPUT
            if error.filename:
                return f"{error.filename}: {error.strerror}", code
            if code == FAILED:
                return f"{error.strerror}: free some space, then run the command again", code
            return error, code
        case MemoryError() | RuntimeError() if is_out_of_memory(error):
            return "out of memory: use a smaller size", FAILED
        case RuntimeError() if "Unable to initialize backend" in str(error):
            asked = os.environ.get("JAX_PLATFORMS", "")
            return f"JAX_PLATFORMS={asked} is not available: use JAX_PLATFORMS=cpu", BAD_INPUT
    return error, 0


def _report_thread(fault: threading.ExceptHookArgs) -> None:
    """Reports an exception of a thread; of a full disk the command itself reports."""
    if not isinstance(fault.exc_value, OSError) or fault.exc_value.errno not in NO_ROOM:
        threading.__excepthook__(fault)


class _ClosablePipe:
    """A stream that discards its text once nobody reads it, as after `| head`."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._unless_closed(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._unless_closed(self._stream.flush)

    def _unless_closed(self, call: Callable[..., Any], *arguments: str) -> None:
        try:
            call(*arguments)
        except BrokenPipeError:
            # What is still in the stream's buffer would raise again at the exit of Python.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def check_used(flags: Flags, used: Iterable[str], where: str) -> None:
    """Raises an InputError if a flag was given that is not `used`, `where` such as "on samples"."""
    names = {*used, "compilation_cache"}
    for name in flags:
        flag = flags[name]
        if flag.present and name not in names and flag.name not in names:  # by its alias, too
            raise InputError(f"--{name} has no effect {where}: leave it out")


def config_file(task: str, **changes: Any) -> Callable[[str], config_dict.ConfigDict]:
    """Returns the function `get_config` of a configuration file, `--config=FILE.py[:VARIANT]`.

    `changes` are fields that differ from those of the task.
    """

    def get_config(variant: str = "") -> config_dict.ConfigDict:
        return as_config_dict(Config.create(task, variant, **changes))

    return get_config


def as_config_dict(config: Config) -> config_dict.ConfigDict:
    """Returns a configuration as the flag `--config` holds it."""
    types = get_type_hints(Config)
    # A field of several types takes any here: ml_collections knows no unions, `Config` checks it.
    fields = {
        name: config_dict.FieldReference(
            value, field_type=object if get_args(types[name]) else None
        )
        for name, value in config.to_dict().items()
    }
    return config_dict.ConfigDict(fields)


def define_config(
    flags: Flags, arguments: Sequence[str], default: config_dict.ConfigDict | None
) -> None:
    """Adds `--config=FILE.py` and `--config.FIELD=VALUE`, to be parsed from the arguments.

    Without a file, the fields change `default`. Raises an InputError if one does not exist.
    """
    known = {field.name for field in dataclasses.fields(Config)}
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
    """Returns a line for every flag that the usage does not describe."""
    lines = []
    for name in sorted(flags):
        flag = flags[name]
        if name != flag.name or name in ("config", "help") or "." in name:
            continue
        default = "" if flag.default in (None, False, "", []) else f" [{flag.default}]"
        value = "" if flag.boolean else "=..."
        lines.append(f"  --{name}{value}".ljust(26) + f"{flag.help}{default}")
    return "\n".join(lines)


def _last_line(error: BaseException) -> str:
    """Returns the message of an error without the traceback that ml_collections puts before it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return last.removeprefix("ValueError: ").removeprefix("consingan_jax.errors.InputError: ")
