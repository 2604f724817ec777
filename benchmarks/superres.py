"""Super-resolution: photographs shrunk and enlarged again, compared with the originals.

    python -m pip download --no-deps mmagic
    python -m benchmarks.superres --niqe=mmagic-1.2.0-py2.py3-none-any.whl [--methods=singan]
        [--pictures=../shared/bsd100] [--limit=2] [--workdir=runs/superres] [--config=num_iters=500]

Prints a line of JSON for each picture and way, and the means: RMSE over RGB in grey levels, PSNR of
luma in dB without 4 px at the borders, and NIQE. Without --methods these are the originals, bicubic
interpolation and two kinds of back-projection of it; with them a model of each shrunken picture is
trained besides, in a folder of its own in --workdir, and goes on where it was stopped.
"""

import json
import pathlib
from collections.abc import Iterator

import numpy as np
from absl import app, flags

from benchmarks import curves, niqe
from consingan_jax import device
from consingan_jax.config import Config
from consingan_jax.generation import enlarging
from consingan_jax.generation.model import Model
from consingan_jax.images import display, listing, loading
from consingan_jax.nn import resize
from consingan_jax.training import trainer

_PICTURES = flags.DEFINE_string("pictures", "../shared/bsd100", "Folder of photographs.")
_LIMIT = flags.DEFINE_integer("limit", None, "How many of them [all].", lower_bound=1)
_SCALE = flags.DEFINE_integer("scale", 4, "How much smaller they are made.", lower_bound=2)
_NIQE = flags.DEFINE_string("niqe", None, "The wheel of mmagic.", required=True)
_METHODS = flags.DEFINE_list("methods", [], "What to train: singan, consingan.")
_CONFIG = flags.DEFINE_multi_string("config", [], "NAME=VALUE of a field of the configuration.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/superres", "Directory of the runs.")

BORDER = 4  # pixels that do not count in the PSNR
ROUNDS = 10  # of back-projection


def measures(image: np.ndarray, original: np.ndarray, natural: tuple) -> dict[str, float]:
    """Returns the measures of an image `[H, W, 3]`, rounded to grey levels as in a file."""
    image = as_in_file(image)
    error = (image - original) * 127.5
    inner = (niqe.luma(image) - niqe.luma(original))[BORDER:-BORDER, BORDER:-BORDER]
    noise = np.square(inner).mean()
    return {
        "rmse": float(np.sqrt(np.square(error).mean())),
        "psnr_luma": float(10 * np.log10(255**2 / noise)) if noise else float("nan"),
        "niqe": niqe.niqe(niqe.luma(image), natural),
    }


def as_in_file(image: np.ndarray) -> np.ndarray:
    """Returns the image as it is read from a file of 8 bits."""
    return display.to_uint8(image) / 127.5 - 1


def back_projected(image: np.ndarray, small: np.ndarray) -> np.ndarray:
    """Returns an image after `ROUNDS` of adding what it lacks when shrunk, enlarged bicubically."""
    for _ in range(ROUNDS):
        lacking = small - resize.fit(image, small.shape[:2])
        # `resize.fit` takes images in [-1, 1].
        image = (image + 2 * resize.fit(lacking / 2, image.shape[:2])).clip(-1, 1)
    return image


def ways(name: str, original: np.ndarray, small: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name of each way to enlarge, and what it makes of the shrunken picture."""
    yield "original", original
    bicubic = resize.fit(small, original.shape[:2])
    yield "bicubic", bicubic
    yield "bicubic, ten back-projections", back_projected(bicubic, small)
    yield "bicubic, projected", enlarging.back_projected(bicubic, small)
    for method in _METHODS.value:
        model = trained(name, small, method)
        for faithful in (False, True):
            (made,) = model.enlarge(_SCALE.value, faithful=faithful)
            yield f"{method}, faithful" if faithful else method, made


def trained(name: str, small: np.ndarray, method: str) -> Model:
    """Trains a model of a shrunken picture, or takes the one that is there."""
    out = pathlib.Path(_WORKDIR.value)
    file, changes = out / f"{name}-{_SCALE.value}.png", curves.changes_of(_CONFIG.value)
    out.mkdir(parents=True, exist_ok=True)
    display.save(file, small)
    run = out / "-".join([file.stem, method, *_CONFIG.value])
    return trainer.train(Config.create("superres", method=method, image=file, **changes), run)


def main(_):
    """Prints a line for each picture and way, then one for each way."""
    natural, rows = niqe.load(_NIQE.value), dict[str, list[dict[str, float]]]()
    print(device.describe())
    for path in map(pathlib.Path, listing.images(_PICTURES.value)[: _LIMIT.value]):
        image, scale = as_in_file(loading.load(path)), _SCALE.value
        height, width = (length // scale * scale for length in image.shape[:2])
        original = image[:height, :width]
        small = as_in_file(resize.fit(original, (height // scale, width // scale)))
        for way, made in ways(path.stem, original, small):
            row = measures(made, original, natural)
            rows.setdefault(way, []).append(row)
            report(path.name, way, row)
    for way, found in rows.items():
        report(f"mean of {len(found)}", way, {k: np.mean([r[k] for r in found]) for k in found[0]})


def report(picture: str, way: str, row: dict[str, float]) -> None:
    """Prints a line."""
    figures = {name: round(float(v), 3) for name, v in row.items() if not np.isnan(v)}
    print(json.dumps({"picture": picture, "way": way, **figures}), flush=True)


if __name__ == "__main__":
    app.run(main)
