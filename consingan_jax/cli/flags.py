"""How the scripts speak: bad input is one line and exit code 2, never a traceback."""

import sys
from collections.abc import Callable, Sequence

import jax
from absl import app, flags, logging

COMPILATION_CACHE = flags.DEFINE_string(
    "compilation_cache",
    "~/.cache/consingan_jax",
    "Directory of compiled programs, shared by all runs; off: compile anew each time.",
)
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def run(main: Callable[[Sequence[str]], None], *, positional: bool = False) -> None:
    """Parses the flags and calls `main` with what is left of the command line.

    Args:
        main: the script.
        positional: whether it takes arguments that are no flags.
    """
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file it writes
    try:
        app.run(_guarded(main, positional), flags_parser=_parse)
    except KeyboardInterrupt:
        _stop("interrupted", INTERRUPTED)


def required(value: str | None, flag: str, example: str) -> str:
    """Returns the value of a flag that must be given."""
    if not value:
        raise ValueError(f"--{flag} is missing: give it, for example --{flag}={example}")
    return value


def _guarded(main, positional):
    def guarded(argv):
        try:
            if len(argv) > 1 and not positional:
                raise ValueError(f"unknown argument {argv[1]!r}: flags look like --name=value")
            main(argv)
        except ValueError as error:
            _stop(error, BAD_INPUT)
        except OSError as error:
            _stop(f"{error.filename}: {error.strerror}" if error.filename else error, BAD_INPUT)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            _stop("out of memory: give a smaller size", FAILED)
        except FloatingPointError as error:
            _stop(error, FAILED)

    return guarded


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(list(argv))
    except flags.Error as error:
        _stop(_last_line(error), BAD_INPUT)
    except (AttributeError, KeyError) as error:
        if "get_config" in str(error):
            _stop("--config: the file has no function get_config", BAD_INPUT)
        field = str(error).strip("\"' ")
        _stop(f"config.{field}: no such field; configs/default.py has them all", BAD_INPUT)
    except (OSError, TypeError, SyntaxError, ImportError) as error:
        _stop(f"--config: {_last_line(error)}", BAD_INPUT)
    raise AssertionError("not reached")


def _last_line(error: BaseException) -> str:
    """Returns what an error says, without the traceback that ml_collections puts before it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ValueError: ") if lines else type(error).__name__


def _stop(message: object, code: int) -> None:
    name = sys.argv[0].rpartition("/")[2]
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(code)
