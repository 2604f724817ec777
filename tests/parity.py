"""Replays recordings of the published program and compares what this one computes.

    python -m tests.parity [--native | --double] FILE ...

Every file is recognised by its content. Prints each quantity's worst error beside its limit and
exits with 1 if any is exceeded. The limits are those of the recordings' own description.

With `--native` convolutions are the platform's own, as they are on a GPU, instead of this
package's. With `--double` they are too, and all arithmetic is in double precision: where a unit's
input is all but zero, float32's rounding decides its side, on every processor in its own way; in
double precision only the recording's rounding is left.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import sys
import zipfile
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import tasks
from consingan_jax.config import Config
from consingan_jax.data import pyramid
from consingan_jax.data.noise import NoiseSource
from consingan_jax.errors import InputError
from consingan_jax.generation.architecture import architecture
from consingan_jax.generation.torch_import import read_config, read_params
from consingan_jax.images import loading
from consingan_jax.nn import conv, layers
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.intervals import span, upsample_to
from consingan_jax.training.state import StageConstants
from consingan_jax.training.step import StageStep
from tests import singan_parity
from tests.checks import Check


def replay(path: str | pathlib.Path) -> list[Check]:
    """Returns the checks of one recording."""
    path = pathlib.Path(path)
    if not zipfile.is_zipfile(path):
        content = _read_json(path)
        return [*(_sweep(content) if isinstance(content, list) else _shapes(content, path))]
    with np.load(path) as file:
        data = {name: _as_precise_as_jax(array) for name, array in file.items()}
    if kind := singan_parity.kind(data):
        return [*kind(data, path)]
    kinds = {
        "in_0": _upsample,
        "key": functools.partial(_pyramid, path=path),
        "out_depth_0": _generator,
        "config": replay_trajectory,
    }
    for key, kind in kinds.items():
        if key in data:
            return [*kind(data)]
    raise InputError(f"{path} is no recording that this program knows: it has {sorted(data)[:5]}")


def _as_precise_as_jax(array: np.ndarray) -> np.ndarray:
    return array.astype(jnp.zeros(()).dtype) if array.dtype == np.float32 else array


def _read_json(path: pathlib.Path) -> list | dict:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is no recording: neither npz nor JSON") from None


def _sweep(cases: list[dict]) -> Iterator[Check]:
    if "factor" in cases[0]:
        yield from singan_parity.pyramid_sizes(cases)
        return
    wrong = sum(not _same_levels(case) for case in cases)
    yield Check(f"cases with other sizes, of {len(cases)}", wrong, 0)


def _same_levels(case: dict) -> bool:
    sizes = pyramid.sizes(
        (case["height"], case["width"]),
        num_stages=case["stages"],
        min_size=case["min_size"],
        max_size=case["max_size"],
        rule=tasks.TASKS[case["mode"]].pyramid_rule,
    )
    return [list(size) for size in sizes] == case["levels"]


def _shapes(shapes: dict, path: pathlib.Path) -> Iterator[Check]:
    for key, expected in shapes.items():
        levels = _levels_of(key, path)
        wrong = sum(list(level.shape[1:3]) != e for level, e in zip(levels, expected, strict=True))
        yield Check(f"{key}: levels of another size", wrong, 0)


def _levels_of(key: str, path: pathlib.Path) -> list[np.ndarray]:
    mode, name, *settings = key.split(":")
    values = {k: int(v) for k, v in (setting.split("=") for setting in settings)}
    file = path.resolve().parent.parent / "images" / name
    with_alpha_ignored = loading.load(file, channels=3, background=None)
    return pyramid.build(
        with_alpha_ignored,
        num_stages=values["stages"],
        min_size=values["min"],
        max_size=values["max"],
        rule=tasks.TASKS[mode].pyramid_rule,
    )


def _pyramid(data: dict, path: pathlib.Path) -> Iterator[Check]:
    levels = _levels_of(str(data["key"]), path)
    for i, level in enumerate(levels):
        error = np.abs(level[0] - data[f"level_{i}"]) * 127.5
        yield Check(f"level {i}, grey levels within 4 px of the edge", error.max(), 10)
        yield Check(f"level {i}, grey levels inside", error[4:-4, 4:-4].max(), 2.5)


def _upsample(data: dict) -> Iterator[Check]:
    for k in range(sum(name.startswith("in_") for name in data)):
        out = data[f"out_{k}"]
        target = [span(length) for length in out.shape[1:3]]
        error = np.abs(upsample_to(jnp.asarray(data[f"in_{k}"]), target) - out)
        yield Check(f"case {k}", float(error.max()), 1e-5)


def _generator(data: dict) -> Iterator[Check]:
    params = read_params(data, "G/")
    config = read_config(
        {name: data[name].item() for name in ("mode", "activation", "batch_norm", "lrelu_alpha")},
        num_filters=params["tail"]["kernel"].shape[2],
        num_layers=len(params["stages"][0]),
    )
    generator = Generator(architecture(config, channels=params["tail"]["kernel"].shape[3]))
    limit = 1e-4 if config.batch_norm else 2e-5
    sizes = [tuple(size) for size in data["shapes"].tolist()]
    if len(sizes[0]) == 4:
        sizes = [size[2:] for size in sizes]

    def error(prefix: str, expected: np.ndarray, depth: int, sizes) -> float:
        z = [jnp.asarray(data[f"{prefix}{i}"]) for i in range(depth + 1)]
        amps = jnp.asarray(data["noise_amp"])
        return float(
            np.abs(generator(params, z, amps, generator.view(sizes[: depth + 1])) - expected).max()
        )

    for depth in range(len(sizes)):
        expected = data[f"out_depth_{depth}"]
        yield Check(f"output of stage {depth}", error("noise_", expected, depth, sizes), limit)
    wide = [(height, 2 * width) for height, width in sizes]
    last = len(sizes) - 1
    yield Check("output 2x as wide", error("wide_noise_", data["wide_out"], last, wide), limit)


def replay_trajectory(data: dict, stages: Sequence[int] | None = None) -> Iterator[Check]:
    """Yields the checks of a recorded training run, of all stages or of those asked for."""
    batch_norm = any("norm.weight" in name for name in data)
    config = read_config(json.loads(str(data["config"])), batch_norm=batch_norm)
    if 4 * config.stage(0).num_iters % 5:  # the published program then never drops its rates
        config = dataclasses.replace(config, lr_decay=1.0)
    reals = [jnp.asarray(data[f"real_{i}"]) for i in range(config.num_stages)]
    for stage in stages or range(config.num_stages):
        yield from replay_stage(data, config, reals, stage)


def replay_stage(data: dict, config: Config, reals: list, stage: int) -> Iterator[Check]:
    """Yields the checks of one recorded stage, replayed from its own start."""
    prefix = f"stage{stage}/"
    arch = architecture(config, channels=reals[0].shape[-1])
    sizes = [real.shape[1:3] for real in reals[: stage + 1]]
    program = StageStep(config, arch, sizes)
    initial = {net: read_params(data, f"{prefix}init/{net}/") for net in "GD"}
    state = program.init(initial["G"], initial["D"])
    fixed = _stage_data(data, program, reals, initial["G"])

    penalties = data[prefix + "gradient_penalty"]
    iterate = jax.jit(program.iterate)
    view = program.generator.view(sizes)
    for t in range(len(penalties)):
        z = [_random_input(data, prefix, t, i) for i in range(stage + 1)]
        mixes = jnp.asarray(data[prefix + "gp_alphas"][t])
        state, metrics = iterate(state, fixed, z, mixes, view)
        difference = np.abs(metrics["gradient_penalty"] - penalties[t])
        error = (difference / np.maximum(penalties[t], 1e-12)).max()
        yield Check(f"stage {stage}, iteration {t}, gradient penalties, relative", error, 1e-3)

    for net, now in (("G", state.generator), ("D", state.critic)):
        final = read_params(data, f"{prefix}final/{net}/")
        error = _worst_change(initial[net], now, final, normalised=net == "G" and arch.batch_norm)
        yield Check(f"stage {stage}, change of {net}, relative", error, 0.02)
    picture = program.generator(state.generator, fixed.fixed.given, fixed.noise_amps, view)
    error = float(np.abs(picture - data[prefix + "final/reconstruction"]).max())
    yield Check(f"stage {stage}, reconstruction", error, 2e-3)


def _random_input(data: dict, prefix: str, t: int, i: int) -> jax.Array:
    name = f"{prefix}iter{t}/noise_{i}"
    return jnp.asarray(data[name] if name in data else data["stage0_input"])


def _stage_data(data: dict, program: StageStep, reals: list, params) -> StageConstants:
    stage = program.stage
    z_star = tuple(jnp.asarray(data[f"stage{k}/fixed_noise"]) for k in range(stage + 1))
    fixed = NoiseSource(None, z_star)
    noise_amps = jnp.stack([jnp.asarray(data[f"stage{k}/noise_amp"]) for k in range(stage + 1)])
    features = program.frozen_features(params, fixed, noise_amps)
    return StageConstants(reals[stage], reals[0], fixed, noise_amps, features)


def _worst_change(start, ours, theirs, *, normalised: bool) -> float:
    """Returns the largest relative L2 difference between two changes of one tensor."""

    def relative(path, start, ours, theirs):
        names = [getattr(entry, "key", None) for entry in path]
        if normalised and names[-2:] == ["conv", "bias"]:
            return 0.0  # has no effect in front of a normalisation: its gradient is rounding noise
        expected = float(jnp.linalg.norm(theirs - start))
        difference = float(jnp.linalg.norm(ours - theirs))
        if expected == 0:  # frozen, or without effect: must not move at all
            return 0.0 if difference == 0 else float("inf")
        return difference / expected

    errors = jax.tree_util.tree_map_with_path(relative, start, ours, theirs)
    return max(jax.tree.leaves(errors))


def main(arguments: list[str]) -> int:
    """Prints the checks of all files; returns the exit code."""
    options = [a for a in arguments if a.startswith("--")]
    paths = [a for a in arguments if not a.startswith("--")]
    if not paths or not WAYS.keys() >= set(options) or len(options) > 1:
        print(__doc__)
        return 2
    try:
        with WAYS[options[0]]() if options else contextlib.nullcontext():
            failed = sum(_report(path) for path in paths)
    except InputError as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    print(f"{failed} exceeded" if failed else "all within the limits")
    return int(failed > 0)


@contextlib.contextmanager
def native() -> Iterator[None]:
    """Takes the platform's own convolutions."""
    choose = conv._choose
    conv._choose = lambda _, native, x, y, border: native(x, y, border=border)
    jax.clear_caches()
    try:
        yield
    finally:
        conv._choose = choose
        jax.clear_caches()


@contextlib.contextmanager
def double() -> Iterator[None]:
    """Takes the platform's own convolutions, and double precision for all that float32 is for."""
    with native(), jax.enable_x64(True):
        layers.DTYPES["float32"] = jnp.float64
        try:
            yield
        finally:
            layers.DTYPES["float32"] = jnp.float32


WAYS = {"--native": native, "--double": double}


def _report(path: str) -> int:
    """Prints the checks of one file; returns how many exceed their limit."""
    worst: dict[str, Check] = {}
    for check in replay(path):
        stage, iteration, _ = check.name.partition(", iteration")
        name = f"{stage}, gradient penalties, relative" if iteration else check.name
        if name not in worst or not check.error <= worst[name].error:
            worst[name] = dataclasses.replace(check, name=name)
    lines = [path]
    for check in worst.values():
        verdict = "ok  " if check.ok else "FAIL"
        lines.append(f"  {verdict} {check.error:9.2e}  limit {check.limit:7.1e}  {check.name}")
    print(*lines, sep="\n", flush=True)  # at once: other processes may print beside this one
    return sum(not check.ok for check in worst.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
