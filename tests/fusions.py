"""Whether the compiler's fusions change what this package's programs compute.

    python -m tests.fusions [--max_size=250] [--only=samples,measures]

Compiles every program twice, as for a user and with fusions off, calls both with the same arguments
and prints the largest difference of two numbers in each kind of program, over the root mean square
of the array. The networks are untrained: how a program is fused depends on shapes alone. Exits with
1 if a difference is larger than rounding.
"""

import collections
import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.data import noise, pyramid
from consingan_jax.generation.architecture import architecture
from consingan_jax.generation.model import Model
from consingan_jax.images import loading
from consingan_jax.measures import evaluation
from consingan_jax.measures.sample_sets import SampleSet
from consingan_jax.training import compiler, placement
from consingan_jax.training.step import StageStep

_MAX_SIZE = flags.DEFINE_integer("max_size", 250, "Longest side of the training image, in pixels.")
_ONLY = flags.DEFINE_list("only", [], "Which parts, by their names in the first column.")
_LIST = flags.DEFINE_bool("list", False, "Print the names of the parts and stop.")

OFF = {"xla_disable_hlo_passes": "fusion"}  # added to our options, by which YNNPACK makes none
LIMIT = 1e-2  # the wrong fusions that were seen were off by 1.7e-2 and more, rounding by 3e-3
IMAGE = "examples/scene.png"
STAGES = {  # which are compared, of 6, of harmonization's 3
    "generation": (0, 3, 5),
    "fast": (5,),
    "animation": (4,),
    "retarget": (4,),
    "harmonization": (2,),
    "editing": (4,),
}

worst: dict[tuple[str, str], float] = collections.defaultdict(float)
part = "device"
_as_for_a_user = numerics.Program.compiled_for


def _compared(program: numerics.Program, platform: str):
    """Stands for `Program.compiled_for`: calls the program with fusions and without."""
    usual = _as_for_a_user(program, platform)
    options = numerics.compiler_options(platform, little_memory=program.little_memory) | OFF
    plain = jax.jit(program.function, compiler_options=options, **program.how)

    def both(*args, **kwargs):
        found, expected = usual(*args, **kwargs), plain(*args, **kwargs)
        name = part, program.function.__qualname__
        worst[name] = max(worst[name], *map(_difference, *map(jax.tree.leaves, (found, expected))))
        return found

    both.lower = usual.lower
    return both


def _difference(found, expected) -> float:
    if not jnp.issubdtype(found.dtype, jnp.inexact):
        return 0.0
    found, expected = (np.asarray(x, np.float64) for x in (found, expected))
    size = np.sqrt(np.mean(np.square(expected)))
    error = np.abs(found - expected).max(initial=0)  # few numbers are wrong of jax issue 39103
    return float("inf") if not np.isfinite(found).all() else float(error / max(size, 1e-12))


def _configuration(kind: str) -> Config:
    own = Config.create("generation", "fast") if kind == "fast" else Config.create(kind)
    # Critics that stand still: rounding would decide the sign of some of Adam's steps, and grow.
    still = {"image": IMAGE, "max_size": _MAX_SIZE.value, "lr_critic": 1e-12}
    # Normalised units lie around the kink of the leaky ReLU. Rounding moves some of them across it,
    # and after several untrained stages gradients differ by .02 on one machine, .1 on another; by
    # 2e-5 where the activation has no kink.
    smooth = {"activation": "elu"} if own.batch_norm else {}
    return dataclasses.replace(own, **still, **smooth)


def _stage(config: Config, number: int):
    """Returns the program of a stage, its state before training, and its data."""
    pixels = loading.load(config.image)
    levels = pyramid.build(pixels, **pyramid.arguments(config))
    sizes = [level.shape[1:3] for level in levels]
    program = StageStep(config, architecture(config, channels=3), sizes[: number + 1])
    state, data = jax.jit(lambda: compiler.placeholders(program))()
    fixed = data.fixed.replace(given=(levels[0], *data.fixed.given[1:]))
    return program, state, data.replace(real=levels[number], coarsest=levels[0], fixed=fixed)


def train(kind: str, number: int, runs: int = 1) -> None:
    """Makes one iteration of a stage, of several runs together if asked."""
    program, state, data = _stage(_configuration(kind), number)
    lying = placement.placement_for(runs, 1, jax.devices()[:1])
    arguments = lying.place([(state, data, numerics.key(seed)) for seed in range(runs)])

    # The optimisers' first moments are linear in the gradients, and what they make of them is not.
    def gradients(*arguments):
        state, metrics = lying.loop(program)(*arguments)
        moments = [m.mu for m in _adams((state.generator_opt, state.critic_opt))]
        return [jnp.concatenate(list(map(jnp.ravel, jax.tree.leaves(m)))) for m in moments], metrics

    numerics.jit(gradients)(*arguments, lying.counts([1] * runs))


def _adams(tree) -> list:
    """Returns the moments of Adam in the optimisers' states, those of learning groups alone."""
    found = jax.tree.leaves(tree, is_leaf=lambda node: hasattr(node, "mu"))
    return [one for one in found if hasattr(one, "mu") and jax.tree.leaves(one.mu)]


def model(kind: str) -> Model:
    """Returns an untrained model."""
    config = _configuration(kind)
    program, state, data = _stage(config, config.num_stages - 1)
    return Model(
        params=state.generator,
        fixed=noise.ReconstructionNoise([data.coarsest], config.seed),
        noise_amps=data.noise_amps,
        real=np.asarray(data.real),
        arch=program.generator.arch,
        sizes=program.sizes,
        config=config,
        step=config.stage(program.stage).num_iters,
    )


def samples() -> None:
    """Samples, an enlarged one by tiles, the reconstruction."""
    made = model("generation")
    made.sample(num_samples=2)
    made.sample(width="3x")
    made.reconstruct()


def animation() -> None:
    """A part of some frames, open and looping."""
    made, part_of_it = model("animation"), (20, 30, 64, 96)
    list(made.animate(frames=3, window=part_of_it))
    list(made.animate(frames=3, window=part_of_it, loop=True))


def composites() -> None:
    """Harmonization and editing of the composites beside the scene."""
    model("harmonization").harmonize(loading.load("examples/scene_naive.png"))
    model("editing").harmonize(loading.load("examples/scene_edit.png"))


def measures() -> None:
    """Every measure of three noisy copies of the scene."""
    pixels = loading.load(IMAGE)
    rng = np.random.default_rng(0)
    noisy = [np.clip(pixels + rng.normal(0, 0.2, pixels.shape), -1, 1) for _ in range(3)]
    subject = SampleSet("scene", pixels, [one.astype(np.float32) for one in noisy])
    evaluation.evaluate(subject, evaluation.networks())


def parts() -> dict:
    """Returns what is compared, by name."""
    loops = {
        f"{kind} {number}": (train, (kind, number))
        for kind, numbers in STAGES.items()
        for number in numbers
    }
    return loops | {
        "stack of 2": (train, ("generation", 1, 2)),
        "samples": (samples, ()),
        "animation": (animation, ()),
        "composites": (composites, ()),
        "measures": (measures, ()),
    }


def main(_) -> None:
    """Prints the largest differences."""
    global part
    if _LIST.value:
        print(*parts(), sep="\n")
        return
    if unknown := set(_ONLY.value) - set(parts()):
        sys.exit(f"--only={','.join(unknown)}: no such part; --list names them")
    numerics.Program.compiled_for = _compared  # type: ignore[method-assign]
    for name, (compare, arguments) in parts().items():
        part = name
        if _ONLY.value and name not in _ONLY.value:
            continue
        compare(*arguments)
        for (where, program), difference in worst.items():
            if where == name:
                print(f"{where:<16}{program:<40}{difference:.1e}", flush=True)
    wrong = [name for name, difference in worst.items() if difference > LIMIT]
    if wrong:
        sys.exit(f"too large: {wrong}")


if __name__ == "__main__":
    app.run(main)
