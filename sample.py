"""Makes pictures from a trained model, or from the last checkpoint of a run.

    python sample.py --ckpt=RUN --num_samples=8 --width=2x --height=300     new images
    python sample.py --ckpt=RUN --animate [--out=FILE.gif|.webp|.png|.mp4]  animations
    python sample.py --ckpt=RUN --naive=FILE [--mask=FILE|auto|none]        a composite, harmonized
    python sample.py --ckpt=RUN --reconstruct                               the training image

Image j depends on seed + j alone. What is written, and where, stands in consingan_jax/output.py.
"""

from typing import Any

from absl import flags

from consingan_jax import device
from consingan_jax.cli import flags as cli
from consingan_jax.cli.output import Output
from consingan_jax.generation import restore

_CKPT = flags.DEFINE_string("ckpt", None, "Directory of a run or of a model.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 8, "How many images.", lower_bound=1)
_WIDTH = flags.DEFINE_string("width", None, "Pixels (600) or a factor (2x) [the model's own].")
_HEIGHT = flags.DEFINE_string("height", None, "Pixels (400) or a factor (1.5x) [the model's own].")
_SEED = flags.DEFINE_integer("seed", 0, "Of the first image; image j has seed + j.", lower_bound=0)
_START_STAGE = flags.DEFINE_integer(
    "start_stage", None, "Stages below it keep the training image's layout.", lower_bound=0
)
flags.DEFINE_alias("start_scale", "start_stage")
_RECONSTRUCT = flags.DEFINE_bool("reconstruct", False, "Write the reconstruction instead.")
_OUT = flags.DEFINE_string("out", "", "Directory [RUN/generated/...]; for one animation, a file.")

_NAIVE = flags.DEFINE_multi_string("naive", [], "Composite to apply the model to; may be repeated.")
_MASK = flags.DEFINE_string("mask", None, "File, auto or none [NAME_mask.EXT beside it].")
_FULL_SIZE = flags.DEFINE_bool("full_size", False, "Also at the composite's own resolution.")

_ANIMATE = flags.DEFINE_bool("animate", False, "Write animations instead.")
_ALPHA = flags.DEFINE_float("alpha", 0.1, "How strongly an animation is drawn to the image.")
_BETA = flags.DEFINE_float("beta", None, "How smooth it is [0.9; without --out the published set].")
_FRAMES = flags.DEFINE_integer("frames", 100, "How many frames.")
_FPS = flags.DEFINE_float("fps", 10.0, "Frames per second.")
_LOOP = flags.DEFINE_bool("loop", False, "Let the animation close on itself without a jump.")


def animations(output: Output, options: dict[str, Any]):
    """Writes one animation, or the published set."""
    options |= {"frames": _FRAMES.value, "fps": _FPS.value, "alpha": _ALPHA.value}
    options |= {"beta": _BETA.value, "start_stage": _START_STAGE.value, "loop": _LOOP.value}
    if not _OUT.value:
        return output.animations(**options)
    default = {"beta": 0.9, "start_stage": 0}
    options |= {name: value for name, value in default.items() if options[name] is None}
    return output.animation(_OUT.value, **options)


def main(_):
    """Writes what was asked for."""
    ckpt = cli.required(_CKPT.value, "ckpt", "runs/scene-unconditional")
    if sum([_ANIMATE.value, bool(_NAIVE.value), _RECONSTRUCT.value]) > 1:
        raise ValueError("--animate, --naive and --reconstruct: give one of them")
    if (_MASK.value or _FULL_SIZE.value) and not _NAIVE.value:
        raise ValueError("--mask and --full_size belong to a composite: give --naive=FILE")
    device.use_compilation_cache(cli.COMPILATION_CACHE.value)
    loaded = restore.load(ckpt)
    print(f"{device.describe()}\n{loaded.describe()}")
    output = Output(loaded, _OUT.value, ckpt)
    size: dict[str, Any] = {"seed": _SEED.value, "width": _WIDTH.value, "height": _HEIGHT.value}
    if _NAIVE.value:
        options: dict[str, Any] = {"seed": _SEED.value, "full_size": _FULL_SIZE.value}
        lines = output.composites(_NAIVE.value, mask=_MASK.value, **options)
    elif _ANIMATE.value:
        lines = animations(output, size)
    elif _RECONSTRUCT.value:
        lines = output.reconstruction()
    else:
        start_stage = _START_STAGE.value or 0
        lines = output.samples(num_samples=_NUM_SAMPLES.value, start_stage=start_stage, **size)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    cli.run(main)
