"""The state of a training stage, and how a stage begins."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import checkpoint, kernels, numerics
from consingan_jax.data import exclusion, noise
from consingan_jax.generation import restore
from consingan_jax.generation.model import Model
from consingan_jax.images.pixels import PixelFormat
from consingan_jax.nn import resize
from consingan_jax.nn.critic import patch_size
from consingan_jax.nn.layers import Params
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.training import compiler
from consingan_jax.training.iteration import Iteration
from consingan_jax.training.iterations import iteration_of
from consingan_jax.training.state import StageConstants, TrainState, appended


@dataclasses.dataclass(frozen=True, eq=False)
class StageState:
    """A stage in training, after some of its iterations.

    Attributes:
        program: its training iteration.
        done: number of iterations done.
        state_now: returns the state after them.
        data: its constants.
        key: random key of its iterations.
        fixed: z* of the run, as the stage began.
        encoding: pixel format of the training image.
        retries: how often the run has diverged and been continued.
    """

    program: Iteration
    done: int
    state_now: Callable[[], TrainState]
    data: StageConstants
    key: jax.Array
    fixed: noise.ReconstructionNoise
    encoding: PixelFormat
    retries: int = 0

    @functools.cached_property
    def state(self) -> TrainState:
        """Parameters and optimiser states after `done` iterations."""
        # Fetched when first used: most calls of the loop end without a checkpoint or a picture.
        return self.state_now()

    def program_key(self) -> tuple:
        """Returns a key that is equal for stages that one compiled program can train."""
        return self.program, jax.tree.structure(self.data)

    @property
    def number(self) -> int:
        """Number of the stage, counted from 0."""
        return self.program.stage

    @property
    def iterations(self) -> int:
        """Number of iterations of the whole stage."""
        return self.program.config.stage(self.number).num_iters

    def after(self, count: int, state_now: Callable[[], TrainState]) -> "StageState":
        """Returns the stage after `count` more iterations, with the state that `state_now` returns.

        It is called before the next call of the loop, which takes over the memory of the state.
        """
        return dataclasses.replace(self, done=self.done + count, state_now=state_now)

    def fixed_now(self) -> noise.ReconstructionNoise:
        """Returns z* after `done` iterations."""
        return self.program.fixed_after(self.fixed, self.key, self.done)

    def model(self) -> Model:
        """Returns the model trained so far."""
        hole: Any = self.data.exclusion
        return Model(
            params=self.state.sampled,
            fixed=self.fixed_now(),
            noise_amps=self.data.noise_amps,
            real=np.asarray(self.data.real),
            arch=self.program.generator.arch,
            sizes=self.program.sizes,
            config=self.program.config,
            step=self.done,
            encoding=self.encoding,
            hole=hole and np.asarray(hole.holes[-1])[0, ..., 0] > 0,
        )

    def metadata(self) -> dict[str, Any]:
        """Returns the metadata of its checkpoint."""
        return {**self.model().metadata(), "retries": self.retries, **_programs()}

    def tree(self) -> dict[str, Any]:
        """Returns the arrays of its checkpoint: the model, and what only training needs."""
        return {"model": self.model().tree(), "training": _beside_model(self.state)}


def _programs() -> dict[str, str]:
    """Returns the versions on which the rounding of a training depends."""
    return {"jax": jax.__version__, "kernels": kernels.version()}


def _beside_model(state: TrainState) -> dict[str, Any]:
    """Returns the arrays of a state that the model does not have."""
    left_out = "generator" if state.average is None else "average"
    return {n: v for n, v in vars(state).items() if v is not None and n != left_out}


# A function of its own so that runs of equal shapes share one compilation.
@functools.partial(numerics.jit, static_argnums=0)
def _frozen_features(
    program: Iteration, params: Params, z_star: noise.NoiseSource, amps: jax.Array
) -> jax.Array | None:
    return program.frozen_features(params, z_star, amps)


class StageFactory:
    """Makes the stages of one run."""

    def __init__(self, inputs: TrainingInputs, retries: int = 0):
        """Puts the pyramid on the device. Each retry halves the rates and draws new noise."""
        self.inputs, self.retries = inputs, retries
        self.config = inputs.config.slowed(0.5**retries) if retries else inputs.config
        self.levels = [jnp.asarray(level) for level in inputs.levels]
        self.coarsest = self.levels[0]
        if inputs.source is not None:
            # In fine-tuning the composite is the input; the training image stays the target.
            assert inputs.composite is not None, "load_inputs has read it"
            self.coarsest = jnp.asarray(resize.fit(inputs.composite, inputs.sizes[0]))[None]

    def __len__(self) -> int:
        return len(self.levels)

    def program(self, number: int) -> Iteration:
        """Returns the training iteration of a stage."""
        return iteration_of(self.config, self.inputs.arch, self.inputs.sizes[: number + 1])

    def keys(self, number: int) -> tuple[jax.Array, jax.Array]:
        """Returns the keys of a stage: for new parameters, and for its iterations."""
        key = jax.random.fold_in(numerics.key(self.inputs.config.seed), number)
        init_key, iteration_key = jax.random.split(key)
        # A retry draws other noise, since it could diverge again on the noise that it diverged on.
        if self.retries:
            iteration_key = jax.random.fold_in(iteration_key, self.retries)
        return init_key, iteration_key

    def first(self) -> StageState:
        """Returns stage 0 with new parameters."""
        # Of z* only z*_0 is stored, to keep saved models small: the rest follows from the seed.
        program, seed = self.program(0), self.inputs.config.seed
        init_key, _ = self.keys(0)
        head_key, critic_key = jax.random.split(init_key)
        (z_key,) = noise.stage_keys(noise.fixed_key(seed), 1)
        z_star = program.first_fixed(z_key, self.levels[0])
        if self.inputs.holes:
            inside = noise.INPUTS["gaussian"](z_key, self.levels[0])
            z_star = jnp.where(self.inputs.holes[0][None, ..., None], inside, z_star)
        params, critic = program.generator.init(head_key), program.critic.init(critic_key)
        fixed = noise.ReconstructionNoise([z_star], seed)
        return self._stage(program, program.init(params, critic), jnp.ones(1), fixed)

    def grown(self, below: StageState) -> StageState:
        """Returns the stage above a trained one; it starts from a copy of its parameters."""
        program = self.program(below.number + 1)
        fixed, amps = below.fixed_now(), below.data.noise_amps
        params, critic = program.grown(below.state, self.keys(program.stage)[0])
        # The noise is in proportion to what the new stage, without noise, still lacks of the
        # training image (paper, section 3).
        level = self.inputs.levels[program.stage]
        difference = program.below(params, fixed, amps) - level[0]
        if self.inputs.holes:
            difference = difference[~self.inputs.holes[program.stage]]
        error = np.sqrt(np.mean(np.square(difference)))
        amps = appended(amps, self.inputs.config.noise_amp * error)
        # The optimisers start anew, as in the published program. Their states would not fit: there
        # is one more group of parameters, and the others learn at lower rates from here on.
        return self._stage(program, program.init(params, critic), amps, fixed)

    def restored(self, path: pathlib.Path) -> StageState:
        """Returns the stage that a checkpoint holds."""
        about = checkpoint.metadata(path)
        program = self.program(len(about["sizes"]) - 1)
        state, data = compiler.shapes(program)
        stored = restore.noise_of(about)
        # Orbax needs the containers of the tree: the optimiser states are named tuples of optax.
        model = {
            "params": state.sampled,
            "z_star": compiler.noise_shapes(program)[: stored.num_stored],
            "noise_amps": data.noise_amps,
            "real": data.real,
        }
        if data.exclusion:
            model["hole"] = jax.ShapeDtypeStruct(program.sizes[-1], bool)
        like = {"model": model, "training": _beside_model(state)}
        tree = jax.tree.map(jnp.asarray, checkpoint.load(path, like))
        model = tree["model"]
        name = "generator" if state.average is None else "average"
        state = TrainState(**{name: model["params"]}, **tree["training"])
        fixed = noise.ReconstructionNoise(model["z_star"], stored.seed)
        return self._stage(program, state, model["noise_amps"], fixed)

    def fine_tuned(self, source: pathlib.Path) -> StageState:
        """Returns the last stage of a trained run, to be trained on the composite (section 4)."""
        tree = jax.tree.map(jnp.asarray, checkpoint.load(source))
        model = tree["model"]
        seed = restore.noise_of(checkpoint.metadata(source)).seed  # of z*, not of this run
        fixed = noise.ReconstructionNoise(model["z_star"], seed)
        program = self.program(len(self) - 1)
        state = program.init(model["params"], tree["training"]["critic"])
        return self._stage(program, state, model["noise_amps"], fixed)

    def _stage(
        self,
        program: Iteration,
        state: TrainState,
        amps: jax.Array,
        fixed: noise.ReconstructionNoise,
    ) -> StageState:
        z_star = program.with_whole_grids(fixed.source(len(program.sizes)))
        features = _frozen_features(program, state.generator, z_star, amps)
        real, holes = self.levels[program.stage], self.inputs.holes
        hidden = None
        if holes:
            patch = patch_size(self.inputs.arch.num_layers)
            hidden = exclusion.of_holes(holes[: len(program.sizes)], patch)
        return StageState(
            program=program,
            done=int(state.step),
            state_now=lambda: state,
            data=StageConstants(real, self.coarsest, z_star, amps, features, hidden),
            key=self.keys(program.stage)[1],
            fixed=fixed,
            encoding=self.inputs.encoding,
            retries=self.retries,
        )
