"""Replays recordings of the published SinGAN program; called by `tests.parity`.

In single precision the first iteration of every scale is compared, and everything that finished
networks generate; in double precision all of a training. One unit that changes its side for a
rounding error moves a gradient by a thousandth, and Adam passes that on: from the second iteration
on two correct programs in single precision agree to a few per cent only.
"""

import json
import pathlib
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from consingan_jax.config import Config
from consingan_jax.data import scale_pyramid
from consingan_jax.data.noise import NoiseSource
from consingan_jax.generation import enlarging, painting, scale_import
from consingan_jax.nn import byte_resize
from consingan_jax.nn.conv import pad
from consingan_jax.nn.receptive_field import NoiseWindow
from consingan_jax.nn.scale_generator import ScaleArchitecture, ScaleGenerator, with_border
from consingan_jax.training.scale_draws import Draws
from consingan_jax.training.scale_step import ScaleStep
from consingan_jax.training.state import StageConstants
from tests.checks import Check

# Share of values that may lie on the other side of a byte's edge. In single precision one of a
# lower scale, which rounding puts there, changes the 11x11 pixels around it at each scale above.
FLIPS = {False: 1e-2, True: 1e-3}
FLIP = 2 / 255 + 1e-6  # by which each of them may differ
PRECISION = {False: 1e-4, True: 1e-6}  # limits of numbers in single and double precision
PICTURE = {False: 1e-4, True: 1e-5}


def kind(data: dict):
    """Returns the replay of a recording's content; None if it is of the other program."""
    config = json.loads(str(data["config"])) if "config" in data else None
    if isinstance(config, list):
        return _resampling
    if not isinstance(config, dict) or ("model" not in config and "levels" not in config):
        return None
    if "centers" in data:
        return _quantised
    return _applications if "model" in config else _trajectory


def pyramid_sizes(cases: Sequence[dict]) -> Iterator[Check]:
    """Yields the checks of recorded level sizes.

    The published program counts a portrait's levels for super-resolution by its width; this one
    takes the longer side, so those cases are left out.
    """
    portraits = [case for case in cases if case["mode"] == "sr" and case["height"] > case["width"]]
    others = [case for case in cases if case not in portraits]
    plans = [_plan((case["height"], case["width"]), case) for case in others]
    wrong = [
        [list(size) for size in plan.sizes] != case["levels"]
        for plan, case in zip(plans, others, strict=True)
    ]
    yield Check(
        f"cases with other sizes, of {len(others)} ({len(portraits)} left out)", sum(wrong), 0
    )
    pairs = zip(plans, others, strict=True)
    yield Check("factors", max(abs(plan.factor - case["factor"]) for plan, case in pairs), 1e-12)


def _plan(size, case: dict) -> scale_pyramid.ScalePlan:
    settings = {name: case[name] for name in ("min_size", "max_size")}
    base, truncate = case["scale_factor"], case["mode"] == "sr"
    return scale_pyramid.plan(size, base=base, truncate=truncate, **settings)


def _is_double() -> bool:
    return jnp.zeros(()).dtype == jnp.float64


def _difference(ours, theirs) -> float:
    return float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max())


def _with_flips(name: str, ours, theirs, limit: float) -> Iterator[Check]:
    """Yields checks of a picture that has passed through bytes, some of which may have flipped."""
    errors = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    flipped = errors > limit
    yield Check(
        f"{name}, but for flipped bytes", float(np.max(errors, where=~flipped, initial=0)), limit
    )
    yield Check(f"{name}, share of flipped bytes", float(flipped.mean()), FLIPS[_is_double()])
    yield Check(f"{name}, flipped bytes", float(np.max(errors, where=flipped, initial=0)), FLIP)


def _resampling(data: dict, _: pathlib.Path) -> Iterator[Check]:
    for k, case in enumerate(json.loads(str(data["config"]))):
        (image,), name = data[f"in_{k}"].astype(np.float32), case["name"]

        def resized(through_bytes: bool, image=image, case=case):
            if case["scale"]:
                return byte_resize.resize(image, case["scale"], through_bytes=through_bytes)
            return byte_resize.resize_to(image, case["shape"], through_bytes=through_bytes)

        yield Check(f"{name}", _difference(resized(True), data[f"out_{k}"][0]), 1e-6)
        wrong = np.sum(byte_resize.to_bytes(image) != data[f"uint8_{k}"])
        yield Check(f"{name}, other bytes", float(wrong), 0)
        if case["scale"] != 1:
            plain = data[f"raw_float_{k}"].clip(-1, 1)
            yield Check(f"{name}, without bytes", _difference(resized(False), plain), 1e-6)
    levels = byte_resize.to_bytes(byte_resize.from_bytes(np.arange(256.0)))
    wrong = np.sum(levels != data["levels_after_one_pass"])
    yield Check("levels that differ after one pass", float(wrong), 0)


class Recording:
    """A recorded training, and what a replay of it needs."""

    def __init__(self, data: dict):
        self.data = data
        self.about = json.loads(str(data["config"]))
        self.stages = range(self.about["levels"])
        self.is_walk = self.about["mode"] == "animation"
        self.arch = ScaleArchitecture(
            num_filters=self.about["nfc"],
            num_layers=self.about["num_layer"] - 2,
            factor=float(data["scale_factor"]),
            noise_in_border=self.is_walk,
        )
        self.generator = ScaleGenerator(self.arch)
        self.sizes = [data[f"real_{i}"].shape[1:3] for i in self.stages]
        self.amps = jnp.asarray([data[f"stage{i}/noise_amp"] for i in self.stages])
        self.config = Config.create(
            method="singan",
            num_stages=len(self.stages),
            num_iters=self.about["niter"],
            rec_weight=self.about["alpha"],
            num_filters=self.about["nfc"],
        )

    def array(self, name: str) -> jax.Array:
        """Returns a recorded array as precise as JAX computes."""
        return jnp.asarray(np.asarray(self.data[name], jnp.zeros(()).dtype))

    def network(self, prefix: str):
        """Returns the parameters and statistics of a recorded network."""
        arrays = {name: self.array(name) for name in self.data if name.startswith(prefix)}
        return scale_import.read_network(arrays, prefix)

    def trained(self) -> dict:
        """Returns the finished generator."""
        networks = [self.network(f"stage{i}/final/G/") for i in self.stages]
        return {"stages": [{"params": p, "statistics": s} for p, s in networks]}

    def z_star(self, number: int) -> list[jax.Array]:
        """Returns z* of so many scales."""
        border = 0 if self.is_walk else self.arch.border
        first = self.array("stage0/z_opt")
        first = first[:, border : first.shape[1] - border, border : first.shape[2] - border]
        wanted = self.generator.view(self.sizes[:number]).noise(self.arch)
        return NoiseSource(None, (first,), zero_below=number).draw(wanted)

    def framed(self, x: jax.Array, axes) -> jax.Array:
        """Returns the image from below of a scale, at its own size."""
        return self.generator.within_border(self.generator.raised(x, axes))


def _trajectory(data: dict, _: pathlib.Path) -> Iterator[Check]:
    recording = Recording(data)
    yield from pyramid(recording)
    for i in recording.stages:
        yield from Replay(recording, i).checks()
    yield from samples(recording)
    yield from _walks(recording)
    yield from enlarged(recording)


def pyramid(recording: Recording) -> Iterator[Check]:
    """Yields the checks of the levels of the training image."""
    image = byte_resize.from_bytes(recording.data["image"].astype(float))
    plan = _plan(image.shape[:2], recording.about)
    yield Check("factor of the pyramid", abs(plan.factor - recording.arch.factor), 1e-12)
    levels = scale_pyramid.build(image, plan, max_size=recording.about["max_size"])
    for i, level in enumerate(levels):
        yield from _with_flips("pyramid", level, recording.data[f"real_{i}"], 1e-6)


class _Given(ScaleStep):
    """A step to which the images from below are given in place of the noise below."""

    def from_below(self, generator, z, noise_amps, view):
        """Returns what is given."""
        return z[0]


class Replay:
    """One scale of a recorded training, from its own start."""

    def __init__(self, recording: Recording, stage: int):
        self.recording, self.stage = recording, stage
        self.prefix = f"stage{stage}/"
        sizes = recording.sizes[: stage + 1]
        milestone = recording.about["milestone"]
        settings = (recording.config, recording.arch, sizes)
        self.plain = ScaleStep(*settings, drop=milestone)
        # In single precision an iteration starts from the recorded images from below: one byte of
        # a lower scale that rounding puts on the other side would change all that follows.
        self.is_given = stage > 0 and not _is_double()
        self.program = (_Given if self.is_given else ScaleStep)(*settings, drop=milestone)
        self.view = recording.generator.view(sizes)
        self.below = recording.trained()["stages"][:stage]
        self.initial = self._read("init")

    def _read(self, moment: str) -> dict:
        (params, statistics), (critic, _) = (
            self.recording.network(f"{self.prefix}{moment}/{net}/") for net in "GD"
        )
        return {"G": params, "statistics": statistics, "D": critic}

    def array(self, name: str) -> jax.Array:
        """Returns an array of this scale."""
        return self.recording.array(self.prefix + name)

    def from_below(self) -> jax.Array | None:
        """Returns the reconstruction from below, with its border."""
        if self.stage == 0:
            return None
        z_star = self.recording.z_star(self.stage + 1)
        return self.plain.from_below({"stages": self.below}, z_star, self.recording.amps, self.view)

    def real(self) -> jax.Array:
        """Returns the level of the training image."""
        return self.recording.array(f"real_{self.stage}")

    def checks(self) -> Iterator[Check]:
        """Yields the checks of this scale."""
        rec, name = self.from_below(), f"scale {self.stage}"
        if rec is not None:
            own = self.recording.generator.within_border(rec)
            yield from self.checks_of_rec(rec)
            amp = 0.1 * np.sqrt(np.mean(np.square(np.asarray(own - self.real(), np.float64))))
            error = abs(amp / self.recording.amps[self.stage] - 1)
            yield Check(f"{name}, noise amplitude, relative", float(error), PRECISION[_is_double()])
        newest = {"params": self.initial["G"], "statistics": self.initial["statistics"]}
        state = self.program.init({"stages": [*self.below, newest]}, self.initial["D"])
        constants = StageConstants(
            self.real(), self.real(), NoiseSource(None), self.recording.amps, self.frozen(rec)
        )
        iterate = jax.jit(self.program.iterate)
        for t in range(self.recording.about["niter"] if _is_double() else 1):
            draws = self.draws(t)
            if t == 0:
                yield from self.checks_of_first(state, draws)
            mixes = self.array("gp_alphas")[t]
            state, metrics = iterate(state, constants, draws, mixes, self.view)
            yield from self.checks_of_metrics(t, metrics)
        if _is_double():
            yield from self.checks_of_end(state, constants)

    def frozen(self, rec):
        """Returns the image from below that the reconstruction starts from."""
        return rec

    def checks_of_rec(self, rec: jax.Array) -> Iterator[Check]:
        """Yields the checks of the reconstruction from below."""
        own = self.recording.generator.within_border(rec)
        yield from _with_flips("image from below, of z*", own, self.array("z_prev"), 1e-6)

    def draws(self, t: int) -> Draws:
        """Returns the recorded random input of an iteration."""
        prefix = f"iter{t}/"
        steps = range(3)
        below = [
            jnp.concatenate([self.array(f"{prefix}step{j}/below_noise_{k}") for j in steps])
            for k in range(self.stage)
        ]
        fixed = None if self.stage else self.array(f"{prefix}z_opt")
        if self.is_given:
            stages = {"stages": self.below}
            self.from_noise = self.plain.from_below(stages, below, self.recording.amps, self.view)
            border = self.recording.arch.border
            below = [
                pad(jnp.concatenate([self.array(f"{prefix}step{j}/prev") for j in steps]), border)
            ]
        return Draws(self.array(f"{prefix}noise"), below, fixed)

    def checks_of_first(self, state, draws: Draws) -> Iterator[Check]:
        """Yields the checks of the first iteration's images."""
        params = state.generator["stages"][-1]["params"]
        generator = self.recording.generator
        below = self.program.from_below(
            state.generator, draws.below, self.recording.amps, self.view
        )
        noise = generator.framed_noise(draws.own, self.view.scale(self.stage))
        made = self.program.network.train(params, below + self.recording.amps[self.stage] * noise)
        fakes = made.result + generator.within_border(below)
        for j in range(3):
            prefix = f"iter0/step{j}/"
            own = self.from_noise if self.is_given else below
            yield from self.checks_of_below(prefix, own[j : j + 1])
            limit = PRECISION[_is_double()]
            yield from _with_flips("fakes", fakes[j], self.array(f"{prefix}fake")[0], limit)

    def checks_of_below(self, prefix: str, below: jax.Array) -> Iterator[Check]:
        """Yields the checks of one image from below."""
        if self.stage:
            own = self.recording.generator.within_border(below)
            yield from _with_flips("images from below", own, self.array(f"{prefix}prev"), 1e-6)

    def checks_of_metrics(self, t: int, metrics: dict) -> Iterator[Check]:
        """Yields the checks of one iteration's losses."""
        start = "first iteration" if t == 0 else "all iterations"
        loose = 1e-5 if t else PRECISION[_is_double()]
        limit = PRECISION[_is_double()]
        penalty = self.array("gradient_penalty")[t]
        error = np.abs(metrics["gradient_penalty"] / penalty - 1).max()
        yield Check(f"{start}, gradient penalties, relative", float(error), loose)
        ours = -metrics["critic_real"] - metrics["critic_fake"]
        theirs = self.array("score_real")[t] - self.array("score_fake")[t]
        yield Check(f"{start}, differences of scores", _difference(ours, theirs), limit)
        ours = self.recording.about["alpha"] * metrics["reconstruction_rmse"] ** 2
        error = np.abs(ours / self.array("rec_loss")[t] - 1).max()
        yield Check(f"{start}, reconstruction losses, relative", float(error), limit)

    def checks_of_end(self, state, constants) -> Iterator[Check]:
        """Yields the checks of the trained networks."""
        newest, final = state.generator["stages"][-1], self._read("final")
        for net, ours in (("G", newest["params"]), ("D", state.critic)):
            error = _worst_change(self.initial[net], ours, final[net])
            yield Check(f"changes of {net}, relative", error, 1e-3)
        error = _worst_relative(newest["statistics"], final["statistics"])
        yield Check("running statistics, relative", error, 1e-4)
        last = self.recording.about["niter"] - 1
        fixed = self.program._fixed_input(constants, self.draws(last).fixed, self.view)
        picture = self.program.reconstruction(newest["params"], fixed).result
        theirs = self.array("final/reconstruction_train_mode")
        yield Check("reconstruction in training mode", _difference(picture, theirs), 1e-5)


def _worst_change(start, ours, theirs) -> float:
    """Returns the largest relative L2 difference between two changes of one tensor."""

    def relative(path, start, ours, theirs):
        names = [entry.key for entry in path]
        if names[-2:] == ["conv", "bias"] or (names == ["tail", "bias"] and theirs.shape == (1,)):
            return 0.0  # has no effect: its gradient is rounding noise
        return float(jnp.linalg.norm(ours - theirs) / jnp.linalg.norm(theirs - start))

    return max(jax.tree.leaves(jax.tree_util.tree_map_with_path(relative, start, ours, theirs)))


def _worst_relative(ours, theirs) -> float:
    norm = jnp.linalg.norm
    errors = jax.tree.map(lambda a, b: float(norm(a - b) / norm(b)), ours, theirs)
    return max(jax.tree.leaves(errors))


def _generated(recording: Recording, z, view, *, first=0, below=None) -> list[jax.Array]:
    """Returns the images of every scale from `first` on."""
    generator, made = recording.generator, []
    for i in range(first, len(z)):
        start = {"first": i, "below": below}
        x = generator.image(recording.trained(), z[: i + 1], recording.amps, view, **start)
        made.append(x)
        if i + 1 < len(z):
            below = generator.raised(x, view.scale(i + 1))
    return made


def _compared(name: str, recording: Recording, z, view, expected, **start) -> Iterator[Check]:
    images = _generated(recording, z, view, **start)
    for image, theirs in zip(images, expected, strict=True):
        yield from _with_flips(name, image, theirs, PICTURE[_is_double()])
    whole = recording.generator.image(recording.trained(), z, recording.amps, view, **start)
    yield from _with_flips(name, whole, expected[-1], PICTURE[_is_double()])


def samples(recording: Recording) -> Iterator[Check]:
    """Yields the checks of what the finished generator makes, at every scale."""
    stages, data = recording.stages, recording.data
    if "reconstruction/out_0" in data:
        view, z = recording.generator.view(recording.sizes), recording.z_star(len(stages))
        expected = [data[f"reconstruction/out_{i}"] for i in stages]
        yield from _compared("reconstruction", recording, z, view, expected)
    settings = recording.about.get("samples", {"sample_two": [1, 1, 0]})
    for name, (down, across, first) in settings.items():
        for suffix in ("", "_0", "_1"):
            if f"{name}/noise_0{suffix}" not in data:
                continue
            sizes = [(round(h * down), round(w * across)) for h, w in recording.sizes]
            z = [recording.array(f"{name}/noise_{i}{suffix}") for i in stages]
            z[:first] = recording.z_star(len(stages))[:first]
            expected = [data[f"{name}/out_{i}{suffix}"] for i in stages]
            yield from _compared(name, recording, z, recording.generator.view(sizes), expected)


def _walks(recording: Recording) -> Iterator[Check]:
    for name, (alpha, beta, first) in recording.about.get("walks", {}).items():
        stages, z_star = recording.stages, recording.z_star(len(recording.stages))
        z: list = []
        for i in stages:
            start = 0.05 * (recording.array(f"{name}/noise_first_{i}") - z_star[i])
            before, now, rows = jnp.zeros_like(start), start, []
            for fresh in recording.array(f"{name}/noise_{i}"):
                after = (1 - alpha) * (now + beta * (now - before) + (1 - beta) * fresh)
                now, before = after, now
                rows.append(z_star[i] + after)
            still = jnp.repeat(z_star[i], len(rows), axis=0)
            z.append(jnp.concatenate(rows) if i >= first else still)
        images = _generated(recording, z, recording.generator.view(recording.sizes))
        for i in stages:
            if f"{name}/out_{i}" in recording.data:
                theirs = recording.data[f"{name}/out_{i}"]
                yield from _with_flips(name, images[i], theirs, PICTURE[_is_double()])
        grey = byte_resize.to_bytes(np.asarray(images[-1])).astype(int)
        error = np.abs(grey - recording.data[f"{name}/frames_uint8"]).max()
        yield Check(f"{name}, grey levels", float(error), 1)


def enlarged(recording: Recording) -> Iterator[Check]:
    """Yields the checks of super-resolution: the last scale, again and again."""
    data, limit = recording.data, PICTURE[_is_double()]
    if "sr/in" not in data:
        return
    scale, last = recording.about["sr_factor"], len(recording.stages) - 1
    real, wanted = recording.array(f"real_{last}"), []

    def draw(step: int, window: NoiseWindow) -> jax.Array:
        wanted.append((1, window.rows.length, window.columns.length, window.channels))
        return recording.array(f"sr/noise_{step}")

    images = [
        *enlarging.by_last_scale(
            recording.generator, recording.trained(), real, recording.amps[last], scale, draw
        )
    ]
    steps = sum(name.startswith("sr/size_") for name in data)
    yield Check("steps too many", abs(len(images) - steps), 0)
    for k, image in enumerate(images):
        size, shape = data[f"sr/size_{k}"], data[f"sr/noise_{k}"].shape
        yield Check("sizes of enlarged pictures", _difference(image.shape[1:3], size), 0)
        yield Check("shapes of noise", _difference(wanted[k], shape), 0)
        if f"sr/out_{k}" in data:
            yield from _with_flips("enlarged pictures", image, data[f"sr/out_{k}"], limit)
    first = byte_resize.resize(np.asarray(real[0]), scale ** (1 / steps))
    yield from _with_flips("first enlarged picture", first[None], data["sr/in"], 1e-6)
    height, width = enlarging.enlarged_size(real.shape[1:3], scale)
    ours = (images[-1][0, :height, :width] / 2 + 0.5).clip(0, 1)
    yield from _with_flips("result of super-resolution", ours, data["sr/final"], 1e-4)


def _beside(path: pathlib.Path, name: str) -> dict:
    with np.load(path.parent / name) as file:
        return dict(file)


def _applications(data: dict, path: pathlib.Path) -> Iterator[Check]:
    about = json.loads(str(data["config"]))
    recording = Recording(_beside(path, about["model"]))
    top = scale_pyramid.top_level(
        byte_resize.from_bytes(recording.data["image"].astype(float)), recording.about["max_size"]
    )
    for task, stage in about["start_scale"].items():
        picture = byte_resize.from_bytes(data[f"{task}/ref"].astype(float))
        view, generator = recording.generator.view(recording.sizes), recording.generator
        image = painting.at_scale(picture, recording.sizes, stage - 1, recording.arch)
        below = generator.raised(jnp.asarray(image), view.scale(stage))
        given, theirs = generator.within_border(below), data[f"{task}/in_s"]
        yield from _with_flips(f"{task}, injected picture", given, theirs, 1e-6)
        wanted, rest = recording.stages, range(stage, len(recording.stages))
        z = [jnp.asarray(np.float32(data.get(f"{task}/noise_{i}", 0))) for i in wanted]
        z = [each.astype(jnp.zeros(()).dtype) for each in z]
        expected = [data[f"{task}/out_{i}"] for i in rest]
        start = {"first": stage, "below": below}
        yield from _compared(task, recording, z, view, expected, **start)
        if f"{task}/mask" in data:
            yield from _masked(data, task, top, expected[-1])


RADII = {"harmonization": 7, "editing": 20}


def _masked(data: dict, task: str, top: np.ndarray, result) -> Iterator[Check]:
    """Yields the checks of a mask and of what it blends."""
    size, limit = top.shape[:2], 1e-5 if _is_double() else 1e-4
    mask = byte_resize.from_bytes(data[f"{task}/mask_uint8"].astype(float))[..., None]
    if mask.shape[1] != size[1]:
        mask = byte_resize.resize_to(mask, size)
        resized = data[f"{task}/mask_resized"][0]
        yield from _with_flips(f"{task}, resized mask", mask, resized, 1e-6)
    inside = byte_resize.to_bytes(mask[..., 0]) > 0
    dilated = ndimage.distance_transform_edt(~inside) <= RADII[task]
    soft = ndimage.gaussian_filter(dilated.astype(float), 5.0, mode="nearest")
    soft = (soft - soft.min()) / (soft.max() - soft.min())
    yield Check(f"{task}, mask", _difference(soft, data[f"{task}/mask"][0, ..., 0]), limit)
    weight = soft[..., None]
    blended = ((1 - weight) * top + weight * np.asarray(result[0])) / 2 + 0.5
    theirs = data[f"{task}/blended"]
    yield Check(f"{task}, blended", _difference(blended.clip(0, 1), theirs), limit)


class _QuantisedReplay(Replay):
    """A scale that trains anew on images from below of few values."""

    def __init__(self, recording: Recording, stage: int, centres: np.ndarray):
        super().__init__(recording, stage)
        self.centres, self.is_given = centres, False
        milestone = recording.about["milestone"]
        sizes = recording.sizes[: stage + 1]
        self.program = _Given(recording.config, recording.arch, sizes, drop=milestone)

    def from_below(self):
        """Returns the reconstruction from below as it is."""
        z_star = self.recording.z_star(self.stage + 1)
        return self.plain.from_below({"stages": self.below}, z_star, self.recording.amps, self.view)

    def frozen(self, rec):
        """Returns the same of few values."""
        return jnp.asarray(quantised(rec, self.centres))

    def checks_of_rec(self, rec):
        """Yields the checks of the reconstruction from below."""
        theirs = self.array("z_prev_unquantised")
        yield from _with_flips("image from below, of z*", rec, theirs, 1e-6)
        theirs = self.array("z_prev_padded")
        yield from _with_flips("the same, quantised", self.frozen(rec), theirs, 1e-6)

    def draws(self, t):
        """Returns the recorded noise, and the images from below."""
        noise = super().draws(t)
        stages = {"stages": self.below}
        below = self.plain.from_below(stages, noise.below, self.recording.amps, self.view)
        if t == 0:
            self.unquantised = below
        few = [quantised(image[None], self.centres) for image in below]
        return noise._replace(below=[jnp.asarray(np.concatenate(few))])

    def checks_of_below(self, prefix, below):
        """Yields the checks of one image from below."""
        step = int(prefix.rstrip("/")[-1])
        theirs = self.array(f"{prefix}prev_unquantised")
        yield from _with_flips("images from below", self.unquantised[step], theirs[0], 1e-6)
        theirs = self.array(f"{prefix}prev_padded")
        yield from _with_flips("the same, quantised", below, theirs, 1e-6)


def quantised(image, centres: np.ndarray) -> np.ndarray:
    """Returns an image `[1, h, w, C]` of few values, as the published program makes it.

    It clusters triples of horizontal neighbours within one colour plane. It starts from the
    centres of the first picture and moves them, but then gives each triple the first picture's.
    """
    planes = np.moveaxis(np.asarray(image, np.float64), -1, 1)
    rows, moved = planes.reshape(-1, 3), centres.astype(np.float64)
    labels, tolerance = None, 1e-4 * rows.var(0).mean()
    for _ in range(300):
        before, (labels, distances) = labels, _nearest(rows, moved)
        if before is not None and np.array_equal(labels, before):
            break
        numbers = np.bincount(labels, minlength=len(moved)).astype(float)
        sums = np.stack([np.bincount(labels, rows[:, k], len(moved)) for k in range(3)], -1)
        farthest = iter(np.argsort(distances)[::-1])
        for empty in np.flatnonzero(numbers == 0):
            row = next(farthest)
            sums[labels[row]] -= rows[row]
            numbers[labels[row]] -= 1
            sums[empty], numbers[empty] = rows[row], 1
        shift, moved = moved, sums / numbers[:, None]
        if np.square(moved - shift).sum() <= tolerance:
            labels, _ = _nearest(rows, moved)
            break
    made = centres[labels].reshape(planes.shape)
    return np.moveaxis(made, 1, -1).astype(jnp.zeros(()).dtype)


def _nearest(rows: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of the nearest centre of each row, and its squared distance."""
    distances = np.square(rows[:, None] - centres).sum(-1)
    return distances.argmin(1), distances.min(1)


def _quantised(data: dict, path: pathlib.Path) -> Iterator[Check]:
    about = json.loads(str(data["config"]))
    recording = Recording(_beside(path, about["model"]) | data)
    stage, centres = about["start_scale"], np.asarray(data["centers"])
    last = len(recording.stages) - 1
    top = scale_pyramid.top_level(
        byte_resize.from_bytes(recording.data["image"].astype(float)), about["max_size"]
    )
    shrink = recording.arch.factor ** (last - stage)
    height, width = recording.sizes[stage]
    real = byte_resize.resize(top, shrink)[None, :height, :width]
    yield from _with_flips("real level", real, data["real_scaled"], 1e-6)
    few = quantised(real, centres)  # the centres of this very picture: they do not move
    yield from _with_flips("real level, quantised", few, data["real_quantised"], 1e-6)
    yield from _QuantisedReplay(recording, stage, centres).checks()
    file, _, name = about["ref"].partition(":")
    picture = byte_resize.from_bytes(_beside(path, file)[name].astype(float))
    picture = byte_resize.resize_to(picture, recording.sizes[last])[None]
    yield from _with_flips("painting", picture, data["paint_in"], 1e-6)
    few = quantised(picture, centres)
    yield from _with_flips("painting, quantised", few, data["paint_quantised"], 1e-6)
    given = byte_resize.resize(few[0], shrink)[None, :height, :width]
    yield from _with_flips("injected picture", given, data["in_s"], 1e-6)
    numbers = range(stage, len(recording.stages))
    z = [recording.array(f"sample/noise_{max(i, stage)}") for i in recording.stages]
    expected = [data[f"sample/out_{i}"] for i in numbers]
    view = recording.generator.view(recording.sizes)
    below = with_border(jnp.asarray(given.astype(jnp.zeros(()).dtype)), view.scale(stage))
    start = {"first": stage, "below": below}
    yield from _compared("painting, generated", recording, z, view, expected, **start)
