"""One command for each kind of bad input, and what lies where they look.

In the arguments RUN is a finished run, HARMONY one of harmonization, EDITING one of editing, and
FILES a folder that `prepare` fills. Commands are given at the root of the repository.
"""

import contextlib
import importlib
import io
import pathlib
import shutil
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from consingan_jax import __main__ as program
from consingan_jax.images import display, formats

UNCONDITIONAL = "--config=configs/unconditional.py"
SMALL = [f"--config.{field}" for field in ("max_size=60", "num_stages=2", "num_iters=1")]

# A command, its arguments, and a part of the line that it prints.
CASES: list[tuple[str, list[str], str]] = [
    # what to train on
    ("train", [], "an image is missing: give its file"),
    ("train", ["no.png"], "no.png: no such file"),
    ("train", ["examples/scen.png"], "no such file; there is examples/scene.png"),
    ("train", ["tests"], "images tests: no image is there; give a folder of images"),
    ("train", ["no/*.png"], "no/*.png: no image is there"),
    ("train", ["FILES/two.png", "FILES/two_mask.gif", "FILES/two.gif"], "one name: rename"),
    ("train", ["examples/scene.png", "--seeds=0"], "--seeds=0"),
    ("train", ["examples/scene.png", "--stack=2"], "--stack has no effect on one image"),
    ("train", ["examples", "--stack=-1"], "--stack=-1"),
    ("train", ["examples", "--cpus=1"], "--cpus has no effect without --engine=ray"),
    ("train", ["examples/scene.png", "--coordinator=head"], "give HOST:PORT of process 0"),
    ("train", ["examples/scene.png", "--process_id=1"], "give --coordinator=HOST:PORT too"),
    ("train", ["examples", "--coordinator=auto"], "no effect on a sweep"),
    ("train", ["examples", "--workdir=docs"], "docs exists and is not a sweep"),
    ("train", ["FILES/words.png"], "is of no known image format"),
    ("train", ["FILES/huge.png"], "100000x100000 px, more than 100 megapixels: shrink it"),
    ("train", ["FILES/tiny.png"], "of the top level, 12 px: give --config.num_stages=1"),
    ("train", ["FILES/strip.png"], "would both be 250x25 px: give --config.min_size=16"),
    ("train", ["FILES/line.png"], "give --config.max_size=1650 --config.min_size=11"),
    ("train", ["FILES/objects.npy"], "cannot be read"),
    ("train", ["FILES/flat.npy", "--config.value_range=data"], "every value is 0.5: give an image"),
    ("train", ["FILES/five.npy", "--config.channels=3"], "has 5: give that, or 0"),
    ("train", ["examples/scene.png", "--config.value_range=9,1"], "two numbers LOW,HIGH"),
    ("train", ["examples/scene.png", "--config.mask=FILES/tiny.png"], "a mask of the same size"),
    ("train", ["examples/scene.png", "--config.mask=examples/scene.png"], "is coloured"),
    ("train", ["examples/scene.png", "--config.exclude=FILES/tiny.png"], "a mask of the same size"),
    (
        "train",
        ["examples/scene.png", "--config.exclude=FILES/black.png"],
        "white what is to be left",
    ),
    ("train", ["examples/scene.png", "--config.exclude=no.png"], "exclude: mask no.png: no such"),
    ("train", ["examples/scene.png", "--config.exclude=FILES/white.png"], "black what is to be"),
    ("train", ["examples/scene.png", "--config.exclude=FILES/most.png"], "too few to learn from"),
    (
        "train",
        ["examples/scene.png", "--task=editing", "--config.exclude=a.png"],
        "the whole image",
    ),
    ("train", ["examples/scene.png", "--config.background=greenish"], "is no colour"),
    ("train", ["a.png", "b.png"], "image a.png: no such file"),
    ("train", ["a.png", "--config.image=b.png"], "image a.png and --config.image: give one"),
    # how
    ("train", ["--config=configs/nothing.py"], "configs/nothing.py: no such file"),
    ("train", ["--config=setup.cfg"], "--config"),
    ("train", ["--config=train.py"], "--config: AttributeError"),
    ("train", [UNCONDITIONAL + ":slow"], "has no variant 'slow': give quick, fast or none"),
    ("train", ["photo.jpg", "--fast", "--task=editing"], "task editing has no variant"),
    ("train", ["photo.jpg", "--fast", "--quick"], "--quick and --fast: give one of them"),
    ("train", [UNCONDITIONAL, "--quick"], "unconditional.py and --quick: give one of them"),
    ("train", [UNCONDITIONAL, "--config.num_iter=1"], "no such field; did you mean num_iters?"),
    ("train", [UNCONDITIONAL, "--config.num_iters=1.5"], "config.num_iters=1.5: give a whole"),
    ("train", [UNCONDITIONAL, "--config.num_stages=1.5"], "config.num_stages=1.5"),
    ("train", [UNCONDITIONAL, "--config.num_iters=1,2,3,4,5,6,7"], "at most one for each"),
    ("train", [UNCONDITIONAL, "--config.on_divergence=wait"], "give one of stop, retry"),
    ("train", [UNCONDITIONAL, "--config.window=8"], "the critic looks at patches of 11x11 px"),
    ("train", ["a.png", "--task=editing", "--config.window=99"], "needs whole levels"),
    ("train", ["a.png", "--config.naive=b.png"], "takes no composite; harmonization and editing"),
    ("train", [UNCONDITIONAL, "--nothing"], "Unknown command line flag 'nothing'"),
    ("train", ["--task=paint", "a.png"], "config.task='paint': give one of generation"),
    ("train", ["--", "--config"], "image --config: no such file"),
    ("train", ["--fields", "--dry_run"], "has no effect with --fields: leave it out"),
    # where
    ("train", ["examples/scene.png", *SMALL, "--workdir=docs"], "docs exists and is not a run"),
    ("train", ["examples/scene.png", *SMALL, "--workdir=README.md"], "README.md is a file"),
    ("train", ["examples/scene.png", *SMALL, "--workdir=RUN"], "belongs to a run with config."),
    ("train", ["RUN"], "is a run, not an image: --workdir=RUN resumes it"),
    ("train", ["--workdir=FILES/damaged"], "run.json is damaged: delete the directory"),
    (
        "train",
        ["--task=editing", "--config.fine_tune=docs", "--config.naive=a.png"],
        "is not a run",
    ),
    # what to make
    ("sample", [], "a run is missing: give its directory"),
    ("sample", ["a", "b"], "unknown argument 'b'"),
    ("sample", ["--ckpt=no/such"], "no/such: no such directory"),
    ("sample", ["tests"], "tests is neither a run nor a model"),
    ("sample", ["FILES/newer"], "reads formats up to 2: install the version that wrote it"),
    ("sample", ["--ckpt=tests", "--num_samples=0"], "num_samples"),
    ("sample", ["RUN", "--width=wide"], "width=wide: give pixels such as 600 or a factor"),
    ("sample", ["RUN", "--width=40000"], "a file .zarr or .tif may be larger"),
    ("sample", ["RUN", "--start_stage=9"], "this model has the stages 0 to 2"),
    ("sample", ["RUN", "--seed=4294967295", "--num_samples=2"], "give one from 0 to 4294967294"),
    ("sample", ["RUN", "--naive=examples/scen.png"], "file; there is examples/scene.png"),
    ("sample", ["RUN", "--naive=examples/scene.png"], "for generation: composites need"),
    ("sample", ["RUN", "--animate", "--frames=-3"], "frames=-3: give 1 or more"),
    ("sample", ["RUN", "--animate", "--loop", "--beta=1"], "a loop needs less than 1"),
    ("sample", ["RUN", "--animate", "--fps=500", "--out=a.gif"], "fps=500.0: give a value from"),
    (
        "sample",
        ["RUN", "--animate", "--naive=a.png"],
        "--naive and --animate exclude each other: use one",
    ),
    ("sample", ["RUN", "--mask=m.png"], "--mask belongs to a composite: add --naive=FILE"),
    ("sample", ["RUN", "--full_size"], "belongs to a composite or a hole: add --naive=FILE or"),
    (
        "sample",
        ["RUN", "--fill"],
        "has learned its whole image: train one with config.exclude=MASK",
    ),
    ("sample", ["RUN", "--fill", "--width=2x"], "--width has no effect with --fill: leave it out"),
    ("sample", ["RUN", "--fill", "--out=a.png"], "--fill writes into a directory, not into"),
    ("sample", ["RUN", "--scale=4"], "trained for generation: enlarging needs the task"),
    ("sample", ["RUN", "--faithful"], "--faithful belongs to an enlarged image: add --scale=4"),
    ("sample", ["RUN", "--scale=4", "--fill"], "--scale and --fill exclude each other"),
    ("sample", ["RUN", "--scale=4", "--width=2x"], "--width has no effect with --scale: leave it"),
    ("sample", ["RUN", "--scale=4", "--out=a.png"], "--scale writes into a directory, not into"),
    ("sample", ["RUN", "--scale=big"], "--scale=big"),
    ("sample", ["RUN", "--paint=examples/scen.png"], "file; there is examples/scene.png"),
    ("sample", ["RUN", "--paint=examples/scene.png"], "and the task generation: paintings need"),
    ("sample", ["EDITING", "--paint=FILES/words.png"], "is of no known image format"),
    ("sample", ["EDITING", "--paint=FILES/five.npy"], "five.npy has 5: give that, or 0"),
    ("sample", ["EDITING", "--paint=FILES/empty.png"], "is of no known image format"),
    (
        "sample",
        ["EDITING", "--paint=examples/scene.png", "--start_stage=2"],
        "start_stage=2: paintings enter this model at stages 0 to 1",
    ),
    ("sample", ["EDITING", "--paint=examples/scene.png", "--colours=1"], "colours=1: give 2 to 64"),
    ("sample", ["EDITING", "--colours=5"], "--colours has no effect on samples: leave it out"),
    ("sample", ["EDITING", "--paint=a.png", "--width=2x"], "--width has no effect with --paint"),
    ("sample", ["EDITING", "--paint=examples/scene.png", "--out=a.png"], "--paint writes into a"),
    ("sample", ["RUN", "--tile=left"], "tile=left: give horizontal, vertical, both or leave it"),
    ("sample", ["RUN", "--tile=both", "--start_stage=1"], "whose edges do not match: give start"),
    ("sample", ["RUN", "--tile=both", "--animate"], "or a model of the task animation"),
    ("sample", ["HARMONY", "--tile=both"], "trained for harmonization and knows the edges"),
    ("sample", ["RUN", "--loop"], "--fps and --loop need --animate: add it"),
    ("sample", ["RUN", "--nofull_size", "--beta=0.5"], "--fps and --loop need --animate: add it"),
    ("sample", ["RUN", "--reconstruct", "--width=2x"], "--width has no effect with --reconstruct"),
    ("sample", ["RUN", "--naive=a.png", "--start_scale=1"], "has no effect with --naive: leave"),
    ("sample", ["RUN", "--animate", "--num_samples=3"], "--num_samples has no effect with"),
    ("sample", ["RUN", "--full_size=false"], "--full_size has no effect on samples: leave it out"),
    (
        "sample",
        ["RUN", "--out=one.jpg"],
        "out=one.jpg: one image goes into .png, .npy, .zarr or .tif",
    ),
    ("sample", ["RUN", "--width=3000000", "--out=big.zarr"], "give a size from 1 to 2000000 px"),
    ("sample", ["RUN", "--num_samples=2", "--out=big.zarr"], "one file holds one sample"),
    ("sample", ["RUN", "--devices=2"], "--devices has no effect on samples"),
    ("sample", ["RUN", "--out=big.zarr", "--cpus=1"], "no effect without --engine=ray"),
    ("sample", ["HARMONY", "--out=big.zarr"], "cannot make windows or very large images"),
    ("sample", ["HARMONY", "--animate"], "animations need one of generation and animation"),
    (
        "sample",
        ["HARMONY", "--naive=FILES/two.png"],
        "two_mask.gif and two_mask.webp: give --mask=FILE",
    ),
    ("sample", ["HARMONY", "--naive=FILES/good.png", "--mask=FILES/black.png"], "is all black"),
    ("sample", ["HARMONY", "--naive=FILES/good.png", "--mask=FILES/holes.png"], "transparent"),
    ("sample", ["HARMONY", "--naive=FILES/good.png", "--mask=FILES/line.png"], "same aspect ratio"),
    # what to measure
    ("evaluate", ["--real=a", "--samples=b", "--seed=3"], "--seed has no effect on folders"),
    ("evaluate", [], "a run is missing: give its directory"),
    ("evaluate", ["--real=tests"], "give a run, or --real= and --samples=FOLDER, or --compare A B"),
    ("evaluate", ["--samples=tests"], "--real is missing"),
    ("evaluate", ["--compare=tests"], "give two or more runs or folders"),
    ("evaluate", ["--ckpt=tests", "docs"], "unknown argument 'docs'"),
    ("evaluate", ["--compare=tests", "tests"], "give two or more runs or folders"),
    ("evaluate", ["--real=tests", "RUN"], "--real=tests needs --samples=FOLDER or --compare"),
    ("evaluate", ["no/such"], "no/such"),
    ("evaluate", ["--real=tests", "--samples=docs"], "real tests holds no image files"),
    ("evaluate", ["tests", "--inception=no.pth"], "inception no.pth: no such file"),
    ("evaluate", ["--real=FILES/good.png", "--samples=FILES/none"], "holds no image files"),
    # the rest
    ("report", ["docs"], "docs is not a run"),
    ("export", ["RUN"], "--out is missing: give the directory to make"),
    ("export", ["RUN", "--out=docs"], "--out=docs exists already: use another"),
    ("import", [], "give one directory: that of a run of the published program"),
    ("import", ["docs"], "docs/parameters.txt: No such file or directory"),
    ("studio", ["docs"], "docs is neither a run nor a model"),
]


def prepare(folder: pathlib.Path, run: pathlib.Path) -> None:
    """Fills a folder with what is broken, too large, too small, or not what it seems."""
    rough = np.random.default_rng(0).uniform(-1, 1, (40, 30, 3))
    sizes = {"tiny": (12, 12), "line": (2000, 20), "strip": (600, 60), "good": (30, 40)}
    for name, size in sizes.items():
        display.save(folder / f"{name}.png", np.resize(rough, (*size, 3)))
    display.save(folder / "two.png", rough)
    display.save(folder / "two.gif", rough)
    for suffix in (".gif", ".webp"):
        display.save(folder / f"two_mask{suffix}", rough[..., :1])
    display.save(folder / "black.png", np.full((30, 40, 1), -1.0))
    most = np.full((188, 250, 1), 1.0)
    display.save(folder / "white.png", most)
    most[:20] = -1
    display.save(folder / "most.png", most)
    holes = np.zeros((30, 40, 4), np.uint8)
    holes[:10, :, 3] = 255
    formats.write(folder / "holes.png", holes, alpha=True)
    (folder / "empty.png").touch()
    (folder / "words.png").write_text("no picture\n")
    header = b"IHDR" + struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)
    chunks = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, b"IDAT", b"IEND")
    )
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    np.save(folder / "objects.npy", np.array([{"a": 1}], dtype=object))
    np.save(folder / "flat.npy", np.full((40, 30, 3), 0.5))
    np.save(folder / "five.npy", np.resize(rough, (40, 30, 5)))
    (folder / "none").mkdir()
    (folder / "damaged").mkdir()
    (folder / "damaged/run.json").write_text('{"config": ')
    shutil.copytree(run / "model", folder / "newer")
    about = folder / "newer/_CHECKPOINT_METADATA"
    about.write_text(about.read_text().replace('"format": 2', '"format": 99'))


def answer(name: str, arguments: Sequence[str], places: Mapping[str, pathlib.Path]):
    """Returns what a command prints, what it reports, and its exit code; places by their words."""
    module = importlib.import_module(f"consingan_jax.cli.{program.COMMANDS[name]}")
    given = [_with(argument, places) for argument in [*arguments, "--compilation_cache=off"]]
    sys.modules.pop(
        "config_config", None
    )  # ml_collections loads a file into an earlier one's module
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            module.COMMAND.run(f"consingan {name}", given)
        except SystemExit as end:
            code = end.code
    return out.getvalue(), err.getvalue(), code


def _with(text: str, places: Mapping[str, pathlib.Path]) -> str:
    for word, place in places.items():
        text = text.replace(word, str(place))
    return text


def told(line: str, places: Mapping[str, pathlib.Path]) -> str:
    """Returns a line with the words for places instead of them."""
    for word, place in places.items():
        line = line.replace(str(place), word)
    return line
