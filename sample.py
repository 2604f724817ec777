"""Makes new images from a trained model, or from the last checkpoint of a run.

    python sample.py --ckpt=RUN_OR_MODEL_DIR --num_samples=8 --width=2x --height=300

Image j depends on seed + j alone; the directory also gets a grid of the first ones.
"""

import itertools
import pathlib

from absl import flags

from consingan_jax import checkpoint, cli, device, image, model

_CKPT = flags.DEFINE_string("ckpt", None, "Directory of a run or of a model.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 8, "How many images.", lower_bound=1)
_WIDTH = flags.DEFINE_string("width", None, "Pixels (600) or a factor (2x) [the model's own].")
_HEIGHT = flags.DEFINE_string("height", None, "Pixels (400) or a factor (1.5x) [the model's own].")
_SEED = flags.DEFINE_integer("seed", 0, "Of the first image; image j has seed + j.", lower_bound=0)
_START_STAGE = flags.DEFINE_integer(
    "start_stage", 0, "Stages below it keep the training image's layout.", lower_bound=0
)
_RECONSTRUCT = flags.DEFINE_bool("reconstruct", False, "Write the reconstruction instead.")
_OUT = flags.DEFINE_string("out", None, "Directory of the images [RUN/generated/HEIGHTxWIDTH].")

GRID = 24  # at most so many samples in the grid, besides the training image


def out_directory(ckpt: str, name: str) -> pathlib.Path:
    """Returns the directory of the images, made if it is not there."""
    path = pathlib.Path(ckpt).resolve()
    if checkpoint.exists(path):  # a model or a checkpoint inside a run
        path = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    out = pathlib.Path(_OUT.value) if _OUT.value else path / "generated" / name
    out.mkdir(parents=True, exist_ok=True)
    return out


def main(_):
    """Writes the images."""
    ckpt = cli.required(_CKPT.value, "ckpt", "runs/scene-unconditional")
    device.use_compilation_cache(cli.COMPILATION_CACHE.value)
    loaded = model.load(ckpt)
    print(f"{device.describe()}\n{loaded.describe()}")
    if _RECONSTRUCT.value:
        out = out_directory(ckpt, "reconstruction")
        image.save(out / "reconstruction.png", loaded.reconstruct()[0])
        print(f"{out}/reconstruction.png: RMSE {loaded.reconstruction_rmse():.4f} on [-1, 1]")
        return
    images = loaded.samples(
        _SEED.value,
        _NUM_SAMPLES.value,
        width=_WIDTH.value,
        height=_HEIGHT.value,
        start_stage=_START_STAGE.value,
    )
    first = next(images)
    size = f"{first.shape[0]}x{first.shape[1]}"
    kept = f"-from_stage_{_START_STAGE.value}" if _START_STAGE.value else ""
    out = out_directory(ckpt, size + kept)
    tiles = [loaded.real[0]]
    for seed, picture in enumerate(itertools.chain([first], images), _SEED.value):
        image.save(out / f"seed_{seed}.png", picture)
        tiles += [picture] if len(tiles) <= GRID else []
    image.save(out / "grid.png", image.grid(tiles))
    print(f"{_NUM_SAMPLES.value} images of {size} px (height x width): {out}/grid.png")


if __name__ == "__main__":
    cli.run(main)
