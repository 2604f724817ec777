"""Throws damaged and absurd input at whatever reads some: only clear errors may come out.

    python -m tests.fuzz [--minutes=5] [--seed=0]

Files of pictures, masks and runs are mutated, configurations and command lines drawn at random.
What is raised must be an `InputError` (or a command's exit code 2), no file may appear outside of
the folder that is worked in, and the memory of the process must stay below a limit. Prints how many
inputs were tried and every crash, and exits with 1 if there was one.
"""

import contextlib
import dataclasses
import functools
import io
import pathlib
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator

import jax
import numpy as np
from absl import app, flags
from PIL import Image

import consingan_jax
from consingan_jax.cli import sample, train
from consingan_jax.config import Config
from consingan_jax.errors import InputError
from consingan_jax.images import display, loading, masks
from consingan_jax.training import trainer
from tests import tiny as small

_MINUTES = flags.DEFINE_float("minutes", 5.0, "How long.")
_SEED = flags.DEFINE_integer("seed", 0, "Of what is drawn.")

BOUND = 6 * 2**30  # bytes of address space beyond what the process has when it begins
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr")
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".gif": "GIF", ".webp": "WEBP"}


@dataclasses.dataclass
class Tally:
    """How often something was tried, and what crashed."""

    tried: int = 0
    refused: int = 0
    crashes: list[str] = dataclasses.field(default_factory=list)

    def hear(self, what: str, work: Callable, *arguments: object) -> None:
        """Does something with bad input; it may be refused, and nothing else."""
        self.tried += 1
        try:
            words = io.StringIO()
            with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
                work(*arguments)
        except InputError:
            self.refused += 1
        except SystemExit as end:
            self.refused += 1
            if end.code not in (0, 1, 2):
                self.crashes.append(f"{what}: exit code {end.code}")
        except Exception:  # that is what is looked for
            self.crashes.append(f"{what}\n{traceback.format_exc(limit=-4)}")


def pictures(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns files of pictures of all modes and formats."""
    rng, made = np.random.default_rng(0), []
    colour = Image.fromarray(rng.integers(0, 256, (16, 20, 3), np.uint8))
    for mode in MODES:
        for suffix, kind in FORMATS.items():
            file = folder / f"{mode.replace(';', '_')}{suffix}"
            with contextlib.suppress(OSError, ValueError, KeyError):
                picture = colour.convert("I").convert("I;16") if mode == "I;16" else colour
                (picture if mode == "I;16" else colour.convert(mode)).save(file, kind)
                made.append(file)
    for name, dtype in (("u8", np.uint8), ("u16", np.uint16), ("f32", np.float32), ("f64", float)):
        file = folder / f"{name}.npy"
        np.save(file, rng.uniform(0, 255, (16, 20, 3)).astype(dtype))
        made.append(file)
    with contextlib.suppress(ImportError):
        import tifffile

        file = folder / "deep.tif"
        values = rng.integers(0, 65536, (16, 20, 4)).astype(np.uint16)
        tifffile.imwrite(file, values, photometric="rgb")
        made.append(file)
        file = folder / "pages.tif"
        tifffile.imwrite(file, np.moveaxis(values, -1, 0), imagej=True)
        made.append(file)
    with contextlib.suppress(ImportError, AttributeError):  # older ones have no OpenEXR
        import imagecodecs

        deep = rng.integers(0, 65536, (16, 20, 3)).astype(np.uint16)
        for name, data in {
            "deep.png": imagecodecs.png_encode(deep),
            "linear.exr": imagecodecs.exr_encode(deep.astype(np.float32)),
            "linear.hdr": imagecodecs.rgbe_encode(deep.astype(np.float32), header=True),
            "deep.jp2": imagecodecs.jpeg2k_encode(deep, level=0),
        }.items():
            (folder / name).write_bytes(data)
            made.append(folder / name)
    with contextlib.suppress(ImportError):
        small.dicom(folder / "slice.dcm", rng.integers(0, 4096, (16, 20)).astype(np.uint16))
        made.append(folder / "slice.dcm")
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.from_pillow(colour).save(folder / "photo.heic")
        made.append(folder / "photo.heic")
    return [file for file in made if file.stat().st_size]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Returns a file's content, damaged in one of the ways that files are."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        place = rng.randrange(len(data)) if data else 0
        match rng.randrange(6):
            case 0 if data:
                data[place] ^= 1 << rng.randrange(8)
            case 1:
                del data[place:]
            case 2:
                data[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 40)))
            case 3:  # a length or a size
                width = rng.choice((2, 4))
                number = rng.choice((0, 1, 2**15, 2**31 - 1, 2**32 - 1)) % 256**width
                data[place : place + width] = number.to_bytes(width, rng.choice(("big", "little")))
            case 4:
                end = place + rng.randrange(1, 64)
                data[place:place] = data[place:end]
            case _:
                del data[place : place + rng.randrange(1, 64)]
    return bytes(data)


def files(folder: pathlib.Path, rng: random.Random, tally: Tally) -> Iterator[None]:
    """Reads mutated pictures as training images, as masks and as what the studio keeps."""
    seeds = [(file.suffix, file.read_bytes()) for file in pictures(folder)]
    while True:
        suffix, content = rng.choice(seeds)
        file = folder / f"fuzzed{rng.choice((suffix, suffix, '.png', '.tif'))}"
        file.write_bytes(mutated(content, rng))
        channels = rng.choice((0, 0, 1, 2, 3, 4, 5))
        config = Config.create(
            image=str(file), channels=channels, value_range=rng.choice(("dtype", "data", "0,9"))
        )
        tally.hear(f"picture {file.read_bytes()[:60]!r}", loading.read, config)
        tally.hear("picture", loading.load, file)
        fits = rng.choice((lambda shape: True, lambda shape: shape[0] > shape[1]))
        read = functools.partial(masks.read_inside, turn=rng.randrange(0, 10))
        tally.hear("mask", read, file, fits)
        config = dataclasses.replace(config, mask=str(file), image=str(folder / "RGB.png"))
        tally.hear("mask of an image", loading.read, config)
        yield


def runs(
    run: pathlib.Path, folder: pathlib.Path, rng: random.Random, tally: Tally
) -> Iterator[None]:
    """Loads runs with a mutated file."""
    names = [file.relative_to(run) for file in run.rglob("*") if file.is_file()]
    names = [name for name in names if name.parts[0] in ("model", "checkpoints", "run.json")]
    while True:
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        if rng.random() < 0.5:
            shutil.rmtree(copy / "model")
        file = copy / rng.choice(names)
        if file.exists() and file.stat().st_size:
            file.write_bytes(mutated(file.read_bytes(), rng))
        tally.hear(f"run with {file.relative_to(copy)}", consingan_jax.load, copy)
        yield


VALUES = (
    *(0, 1, -1, 3, 2**31, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), True),
    *("", "a", "7", "quick", "\0", "é\ud800", "a" * 5000, "~", "../..", None, [], [1], (2, 0.5)),
    *([[1]], {"a": 1}, b"x", object(), np.int8(3), np.float32(0.1), np.array([1, 2]), {1, 2}),
)


def configurations(rng: random.Random, tally: Tally) -> Iterator[None]:
    """Makes configurations of random values."""
    names = [field.name for field in dataclasses.fields(Config)]
    while True:
        changes = {rng.choice(names): rng.choice(VALUES) for _ in range(rng.randrange(1, 4))}
        tally.hear(f"configuration {changes}", Config.restore, changes)
        yield


def command_lines(run: pathlib.Path, rng: random.Random, tally: Tally) -> Iterator[None]:
    """Gives commands random arguments; what would compute is replaced by nothing."""
    names = [field.name for field in dataclasses.fields(Config)]
    flag_names = "workdir dry_run fields task quick fast config ckpt num_samples width height seed"
    flag_names += " start_stage reconstruct out naive mask full_size animate alpha beta fps loop"
    words = ["", "-", "--", "=", "0", "-1", "2x", "x", "1e9", "nan", "none", str(run), "no.png"]
    words += ["a" * 3000, "é", "--=", "\ud800", "configs/unconditional.py:quick", "setup.cfg"]

    def argument() -> str:
        name = rng.choice([*flag_names.split(), f"config.{rng.choice(names)}", "nothing"])
        return rng.choice((f"--{name}={rng.choice(words)}", f"--{name}", rng.choice(words)))

    while True:
        command = rng.choice((train.COMMAND, sample.COMMAND))
        arguments = [argument() for _ in range(rng.randrange(1, 4))]
        arguments += ["--dry_run"] if command is train.COMMAND and rng.random() < 0.2 else []
        tally.hear(f"arguments {arguments}"[:300], command.run, "consingan", arguments)
        yield


def _replace_work() -> None:
    def nothing(*_, **__):
        raise InputError("would work")

    trainer.train = nothing
    train.dry_run.dry_run = nothing
    sample.restore.load = nothing


def main(_) -> None:
    """Tries until the time is over."""
    warnings.simplefilter("ignore")
    rng, tally = random.Random(_SEED.value), Tally()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        y, x = np.mgrid[0:30, 0:40] / 20 - 1
        display.save(folder / "picture.png", np.stack([y, x, -y], -1))
        tiny = {"num_stages": 2, "min_size": 14, "max_size": 28, "num_filters": 4, "num_layers": 1}
        trainer.train(folder / "picture.png", folder / "run", num_iters=2, **tiny)
        jax.clear_caches()
        size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + BOUND, size + BOUND))
        (folder / "work").mkdir()
        kinds = {
            "pictures": files(folder / "work", rng, tally),
            "runs": runs(folder / "run", folder / "work", rng, tally),
            "configurations": configurations(rng, tally),
            "command lines": command_lines(folder / "run", rng, tally),
        }
        before, counts = set(folder.iterdir()), dict.fromkeys(kinds, 0)
        _replace_work()
        end = time.monotonic() + 60 * _MINUTES.value
        while time.monotonic() < end:
            for name, kind in kinds.items():
                counts[name] -= tally.tried
                for _ in range(1 if name == "runs" else 25):
                    next(kind)
                counts[name] += tally.tried
        strays = set(folder.iterdir()) - before
    for name, count in counts.items():
        print(f"{name:<16}{count:>8} tried")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{tally.tried} inputs, {tally.refused} refused, {len(tally.crashes)} crashes, "
        f"{len(strays)} strange files; {peak:.1f} GiB at the peak"
    )
    for crash in dict.fromkeys(tally.crashes):
        print(f"\n{crash}")
    sys.exit(bool(tally.crashes or strays))


if __name__ == "__main__":
    app.run(main)
