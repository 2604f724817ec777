"""`consingan sample`: generates images, animations and composites from a trained model."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

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
  consingan sample RUN --paint=FILE [--start_stage=1]              a painting, made real
  consingan sample RUN --fill [--full_size]                        what config.exclude left out
  consingan sample RUN --scale=4 [--faithful]                      the training image, enlarged
  consingan sample RUN --reconstruct                               the training image
  consingan sample RUN --width=32768 --height=32768 --out=big.zarr|.tif   one of any size

Image j depends on seed + j alone. Without a RUN the last one in runs/ is taken. Files go to
RUN/generated unless --out says otherwise."""

# The flags that each action reads, besides the run and --out.
_SIZE = ("width", "height", "start_stage", "start_scale", "tile")
_WALK = ("alpha", "beta", "frames", "loop")
_READS = {
    "naive": ("naive", "mask", "full_size", "seed"),
    "paint": ("paint", "colours", "num_samples", "seed", "start_stage", "start_scale"),
    "reconstruct": ("reconstruct",),
    "scale": ("scale", "faithful", "seed"),
    "fill": ("fill", "full_size", "num_samples", "seed", "start_stage", "start_scale"),
    "animate": ("animate", "seed", "fps", *_WALK, *_SIZE),
    "": ("num_samples", "seed", *_SIZE),
}


def _define(flags: Flags, _: Sequence[str]) -> None:
    a, to = absl_flags, dict[str, Any](flag_values=flags)
    least = {**to, "lower_bound": 0}
    a.DEFINE_string("ckpt", None, "RUN, as a flag: directory of a run or of a model.", **to)
    a.DEFINE_integer("num_samples", None, "How many images [8].", lower_bound=1, **to)
    a.DEFINE_string("width", None, "Pixels (600) or a factor (2x) [the model's own].", **to)
    a.DEFINE_string("height", None, "Pixels (400) or a factor (1.5x) [the model's own].", **to)
    a.DEFINE_integer("seed", 0, "Seed of the first image; image j has seed + j.", **least)
    a.DEFINE_integer("start_stage", None, "Stages below it keep the layout.", **least)
    a.DEFINE_alias("start_scale", "start_stage", **to)
    a.DEFINE_string("tile", None, "horizontal, vertical or both: repeats without a seam.", **to)
    a.DEFINE_bool("reconstruct", False, "Write the reconstruction instead.", **to)
    a.DEFINE_string("out", "", "Directory; for one animation or picture, a file.", **to)
    a.DEFINE_multi_string("naive", [], "Composite to apply the model to", **to)
    a.DEFINE_string("mask", None, "File, auto or none [NAME_mask.EXT beside it].", **to)
    a.DEFINE_string("paint", None, "Painting that enters at --start_stage [each].", **to)
    a.DEFINE_integer("colours", 0, "Of the image, that a painting is reduced to; 0: all.", **least)
    a.DEFINE_bool("full_size", False, "At the picture's own resolution.", **to)
    a.DEFINE_bool("fill", False, "Fill the part that config.exclude left out.", **to)
    a.DEFINE_float("scale", None, "Enlarge the training image by this factor.", **to)
    a.DEFINE_bool("faithful", False, "So that it shrinks to the training image again.", **to)
    a.DEFINE_bool("animate", False, "Write animations instead.", **to)
    a.DEFINE_float("alpha", 0.1, "How strongly an animation is drawn to the image.", **to)
    a.DEFINE_float("beta", None, "How smooth it is [0.9; without --out a set].", **to)
    a.DEFINE_integer("frames", 100, "How many frames.", **to)
    a.DEFINE_float("fps", 10.0, "Frames per second.", **to)
    a.DEFINE_bool("loop", False, "Let the animation close on itself without a jump.", **to)
    executor_flags.define(to)


def _main(flags: Flags, arguments: Sequence[str]) -> None:
    ckpt = resolve_run.run_or_last(flags.ckpt, arguments)
    _check(flags)
    device.divide_cpu(flags.devices)
    device.use_compilation_cache(flags.compilation_cache)
    model = restore.load(ckpt)
    print(f"{device.describe()}\n{model.describe()}")
    task = model.task
    if (task.composite_input or task.can_enlarge) and not _actions(flags):
        print(f"samples are not what {model.config.task} is for: {task.sample_hint} applies it")
    last = ""
    for last in _outputs(Output(model, flags.out, ckpt), flags):
        print(last, flush=True)
    if isinstance(last, Artifact):
        print(f"picture: {last.file}")
    if (page := pathlib.Path(ckpt) / "report.html").exists():
        print(f"report:  {page}")


def _actions(flags: Flags) -> list[str]:
    """Returns the actions asked for; none of them means samples."""
    return [n for n in _READS if n and flags[n].present and flags[n].value is not False]


def _check(flags: Flags) -> None:
    """Raises an InputError for flags that contradict each other or do nothing, or missing files."""
    actions = _actions(flags)
    if len(actions) > 1:
        names = " and ".join(f"--{name}" for name in actions)
        raise InputError(f"{names} exclude each other: use one of them")
    if flags.mask and not flags.naive:
        raise InputError("--mask belongs to a composite: add --naive=FILE")
    if flags.full_size and not (flags.naive or flags.fill):
        raise InputError("--full_size belongs to a composite or a hole: add --naive=FILE or --fill")
    if flags.faithful and flags.scale is None:
        raise InputError("--faithful belongs to an enlarged image: add --scale=4")
    if not flags.animate and any(flags[name].present for name in ("fps", *_WALK)):
        raise InputError("--alpha, --beta, --frames, --fps and --loop need --animate: add it")
    action = actions[0] if actions else ""
    where, reads = f"with --{action}" if action else "on samples", {*_READS[action]}
    if render.is_large(flags.out):  # large files are written tile by tile, by several workers
        reads |= set(executor_flags.FLAGS)
        if flags.animate:
            reads, where = reads - {"fps"}, f"on {flags.out}, which holds frames and no speed"
    check_used(flags, {*reads, "ckpt", "out"}, where)
    masks = [] if flags.mask in (None, "auto", "none") else [flags.mask]
    paintings = [flags.paint] if flags.paint else []
    for path in [*flags.naive, *paintings, *masks]:  # before the model is loaded: it takes a while
        if not pathlib.Path(path).exists():
            raise InputError(f"image {path}: {missing(path)}")
    if action not in ("", "animate") and render.is_file(flags.out):
        raise InputError(
            f"--out={flags.out}: --{action} writes into a directory, not into one file: use "
            "--out=DIRECTORY"
        )


def _outputs(output: Output, flags: Flags) -> Iterator[str]:
    """Returns the lines on the files asked for, which are written as the lines are taken."""
    if flags.naive:
        asked = {"mask": flags.mask, "seed": flags.seed, "full_size": flags.full_size}
        return output.composites(flags.naive, **asked)
    if flags.paint:
        asked = {"num_samples": flags.num_samples or 1, "start_stage": flags.start_stage}
        asked |= {"seed": flags.seed, "colours": flags.colours}
        return output.paintings(flags.paint, **asked)
    if flags.reconstruct:
        return output.reconstruction()
    if flags.scale is not None:
        asked = {"scale": flags.scale, "seed": flags.seed, "faithful": flags.faithful}
        return output.enlarged(**asked)
    if flags.fill:
        asked = {"num_samples": flags.num_samples or 4, "full_size": flags.full_size}
        return output.fillings(seed=flags.seed, start_stage=flags.start_stage or 0, **asked)
    return _animations(output, flags) if flags.animate else _samples(output, flags)


def _samples(output: Output, flags: Flags) -> Iterator[str]:
    asked = {"seed": flags.seed, "start_stage": flags.start_stage or 0}
    asked |= {"width": flags.width, "height": flags.height, **_tile(flags)}
    if not render.is_file(flags.out):
        return output.samples(num_samples=flags.num_samples or 8, **asked)
    render.check_alone(flags.num_samples)
    if render.is_large(flags.out):
        return render.sample(output.model, flags.out, executor=_executor(flags), **asked)
    return output.sample(flags.out, **asked)


def _animations(output: Output, flags: Flags) -> Iterator[str]:
    names = ("seed", "frames", "alpha", "loop", "width", "height")
    walk: dict[str, Any] = {name: flags[name].value for name in names} | _tile(flags)
    if not flags.out:  # the published set: several values of beta and of the start stage
        chosen = {"beta": flags.beta, "start_stage": flags.start_stage}
        return output.animations(fps=flags.fps, **chosen, **walk)
    walk["beta"] = 0.9 if flags.beta is None else flags.beta
    walk["start_stage"] = flags.start_stage or 0
    if render.is_large(flags.out):
        return render.animation(output.model, flags.out, executor=_executor(flags), **walk)
    return output.animation(flags.out, fps=flags.fps, **walk)


def _tile(flags: Flags) -> dict[str, str]:
    # Not as None: what identifies a large image that is continued must not change.
    return {"tile": flags.tile} if flags.tile is not None else {}


def _executor(flags: Flags) -> Executor:
    """Returns the executor of the tiles of an image: a cluster, else the devices here."""
    cluster = executor_flags.executor_of(flags)
    return cluster or LocalExecutor(device.select_devices(flags.devices))


COMMAND = Command(USAGE, _define, _main)
