"""`consingan sample`: generates images, animations and composites from a trained model."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

from absl import flags as absl_flags

from consingan_jax import device
from consingan_jax.cli import executor_flags, resolve_run
from consingan_jax.cli.flags import Command, Flags, check_used
from consingan_jax.errors import InputError
from consingan_jax.executors import Executor, LocalExecutor
from consingan_jax.files import missing
from consingan_jax.generation import restore
from consingan_jax.generation.output import Artifact, Output
from consingan_jax.tiled import render

USAGE = """Makes pictures from a trained model, or from the last checkpoint of a run.

  consingan sample [RUN] --num_samples=8 --width=2x --height=300   new images
  consingan sample RUN --animate [--out=FILE.gif|.webp|.png|.mp4]  animations
  consingan sample RUN --naive=FILE [--mask=FILE|auto|none]        a composite, harmonized
  consingan sample RUN --reconstruct                               the training image
  consingan sample RUN --width=32768 --height=32768 --out=big.zarr|.tif   one of any size

Image j depends on seed + j alone. Without a RUN the last one in runs/ is taken. Files go to
RUN/generated unless --out says otherwise."""


# What each of its actions reads, besides the run and --out.
_SIZE, _WALK = (
    ("width", "height", "start_stage", "start_scale"),
    ("alpha", "beta", "frames", "loop"),
)
_READS = {
    "naive": ("naive", "mask", "full_size", "seed"),
    "reconstruct": ("reconstruct",),
    "animate": ("animate", "seed", "fps", *_WALK, *_SIZE),
    "": ("num_samples", "seed", *_SIZE),
}
_MASKS = (None, "auto", "none")  # what --mask can be besides a file


def _define(flags: Flags, _: Sequence[str]) -> None:
    a, to = absl_flags, cast(dict[str, Any], {"flag_values": flags})
    least = {**to, "lower_bound": 0}
    a.DEFINE_string("ckpt", None, "RUN, as a flag: directory of a run or of a model.", **to)
    a.DEFINE_integer("num_samples", None, "How many images [8].", lower_bound=1, **to)
    a.DEFINE_string("width", None, "Pixels (600) or a factor (2x) [the model's own].", **to)
    a.DEFINE_string("height", None, "Pixels (400) or a factor (1.5x) [the model's own].", **to)
    a.DEFINE_integer("seed", 0, "Of the first image; image j has seed + j.", **least)
    a.DEFINE_integer("start_stage", None, "Stages below it keep the image's layout.", **least)
    a.DEFINE_alias("start_scale", "start_stage", **to)
    a.DEFINE_bool("reconstruct", False, "Write the reconstruction instead.", **to)
    a.DEFINE_string("out", "", "Directory; for one animation or picture, a file.", **to)
    a.DEFINE_multi_string("naive", [], "Composite to apply the model to", **to)
    a.DEFINE_string("mask", None, "File, auto or none [NAME_mask.EXT beside it].", **to)
    a.DEFINE_bool("full_size", False, "Also at the composite's own resolution.", **to)
    a.DEFINE_bool("animate", False, "Write animations instead.", **to)
    a.DEFINE_float("alpha", 0.1, "How strongly an animation is drawn to the image.", **to)
    a.DEFINE_float("beta", None, "How smooth it is [0.9; without --out a set].", **to)
    a.DEFINE_integer("frames", 100, "How many frames.", **to)
    a.DEFINE_float("fps", 10.0, "Frames per second.", **to)
    a.DEFINE_bool("loop", False, "Let the animation close on itself without a jump.", **to)
    executor_flags.define(to)


def _main(flags: Flags, others: Sequence[str]) -> None:
    ckpt = resolve_run.resolve_run(flags.ckpt, others)
    _check(flags)
    for path in [*flags.naive, *([flags.mask] if flags.mask not in _MASKS else [])]:
        if not pathlib.Path(path).exists():  # said before the model is loaded
            raise InputError(f"image {path}: {missing(path)}")
    if (flags.naive or flags.reconstruct) and render.is_file(flags.out):
        raise InputError(f"out={flags.out}: --naive and --reconstruct need a directory")
    device.divide_cpu(flags.devices)
    device.use_compilation_cache(flags.compilation_cache)
    model = restore.load(ckpt)
    print(f"{device.describe()}\n{model.describe()}")
    if model.task.composite_input and not (flags.naive or flags.reconstruct or flags.animate):
        print(
            f"samples are not what {model.config.task} is for: {model.task.sample_hint} applies it"
        )
    made = ""
    for made in _made(Output(model, flags.out, ckpt), flags):
        print(made, flush=True)
    if isinstance(made, Artifact):
        print(f"picture: {made.file}")
    if (page := pathlib.Path(ckpt) / "report.html").exists():
        print(f"report:  {page}")


def _check(flags: Flags) -> None:
    """Raises an InputError for flags that contradict each other or do nothing."""
    actions = [name for name in _READS if name and flags[name].value]
    if len(actions) > 1:
        raise InputError("--animate, --naive and --reconstruct: give one of them")
    if (flags.mask or flags.full_size) and not flags.naive:
        raise InputError("--mask and --full_size belong to a composite: give --naive=FILE")
    if not flags.animate and any(flags[name].present for name in ("fps", *_WALK)):
        raise InputError("--alpha, --beta, --frames, --fps and --loop: give --animate too")
    action = actions[0] if actions else ""
    where = f"with --{action}" if action else "on samples"
    reads = set(_READS[action])
    if render.is_large(flags.out):  # which is made tile by tile
        reads |= set(executor_flags.FLAGS)
    if flags.animate and render.is_large(flags.out):
        reads, where = reads - {"fps"}, f"on {flags.out}, which holds frames and no speed"
    check_used(flags, {*reads, "ckpt", "out"}, where)


def _made(output: Output, flags: Flags) -> Iterator[str]:
    """Returns what makes the files asked for, a line for each thing done."""
    seed, size = flags.seed, {"width": flags.width, "height": flags.height}
    if flags.naive:
        return output.composites(flags.naive, mask=flags.mask, seed=seed, full_size=flags.full_size)
    if flags.reconstruct:
        return output.reconstruction()
    start_stage = flags.start_stage or 0
    if not flags.animate:
        asked = {"seed": seed, "start_stage": start_stage, **size}
        if not render.is_file(flags.out):
            return output.samples(num_samples=flags.num_samples or 8, **asked)
        render.check_alone(flags.num_samples)
        if render.is_large(flags.out):
            return render.sample(output.model, flags.out, executor=_executor(flags), **asked)
        return output.sample(flags.out, **asked)
    walk = {"frames": flags.frames, "alpha": flags.alpha, "loop": flags.loop, **size}
    if not flags.out:
        return output.animations(
            fps=flags.fps, seed=seed, beta=flags.beta, start_stage=flags.start_stage, **walk
        )
    walk["beta"] = 0.9 if flags.beta is None else flags.beta
    walk["start_stage"] = start_stage
    if render.is_large(flags.out):
        return render.animation(
            output.model, flags.out, seed=seed, executor=_executor(flags), **walk
        )
    return output.animation(flags.out, fps=flags.fps, seed=seed, **walk)


def _executor(flags: Flags) -> Executor:
    """Returns the executor of the tiles of a picture."""
    cluster = executor_flags.executor_of(flags)
    return cluster or LocalExecutor(device.select_devices(flags.devices))


COMMAND = Command(USAGE, _define, _main)
