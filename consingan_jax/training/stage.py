"""State of a training stage: first, grown, restored or fine-tuned."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import checkpoint, numerics
from consingan_jax.config import Config
from consingan_jax.data import noise
from consingan_jax.data.pixels import PixelFormat
from consingan_jax.generation import restore
from consingan_jax.generation.model import Model
from consingan_jax.generation.sampling import TiledRenderer
from consingan_jax.nn import resize
from consingan_jax.nn.layers import Params
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.training import compiler
from consingan_jax.training.state import StageConstants, TrainState
from consingan_jax.training.step import StageStep


@dataclasses.dataclass(frozen=True, eq=False)
class StageState:
    """A stage in training at some moment.

    Attributes:
        program: its arithmetic.
        done: how many of its iterations are done.
        state_now: returns the state after them.
        data: what stays the same.
        key: of its iterations.
        fixed: the model's z*.
        config: of the run.
        encoding: of its image.
        retries: how often the run has diverged and gone on.
    """

    program: StageStep
    done: int
    state_now: Callable[[], TrainState]
    data: StageConstants
    key: jax.Array
    fixed: noise.ReconstructionNoise
    config: Config
    encoding: PixelFormat
    retries: int = 0

    @functools.cached_property
    def state(self) -> TrainState:
        """What training has changed so far."""
        return self.state_now()

    def kind(self) -> tuple:
        """Returns what it has in common with the stages that one program can train with it."""
        return self.program, jax.tree.structure(self.data)

    @property
    def number(self) -> int:
        """The stage, counted from 0."""
        return self.program.stage

    @property
    def iterations(self) -> int:
        """How many it has."""
        return self.config.stage(self.number).num_iters

    def after(self, count: int, state_now: Callable[[], TrainState]) -> "StageState":
        """Returns the stage after so many more iterations.

        Args:
            count: how many.
            state_now: returns the state then. It is asked when something is made of it, before
                the next iterations.
        """
        return dataclasses.replace(self, done=self.done + count, state_now=state_now)

    def model(self) -> Model:
        """Returns the model as trained so far."""
        return Model(
            params=self.state.generator,
            fixed=self.fixed,
            noise_amps=self.data.noise_amps,
            real=np.asarray(self.data.real),
            arch=self.program.generator.arch,
            sizes=self.program.sizes,
            config=self.config,
            step=self.done,
            encoding=self.encoding,
        )

    def metadata(self) -> dict[str, Any]:
        """Returns what its checkpoint says besides the arrays."""
        return {**self.model().metadata(), "retries": self.retries, "jax": jax.__version__}

    def tree(self) -> dict[str, Any]:
        """Returns the arrays to go on from, as a checkpoint holds them."""
        return _tree(self.state, self.data, self.fixed.stored)


def _tree(state: TrainState, data: StageConstants, z_star: list) -> dict[str, Any]:
    """Returns the model's arrays, and under "training" what else of the state there is."""
    return {
        "model": {
            "params": state.generator,
            "z_star": z_star,
            "noise_amps": data.noise_amps,
            "real": data.real,
        },
        "training": {
            "critic": state.critic,
            "generator_opt": state.generator_opt,
            "critic_opt": state.critic_opt,
            "step": state.step,
        },
    }


@functools.partial(numerics.jit, static_argnums=0)
def _frozen_features(program: StageStep, params: Params, z_star, amps) -> jax.Array | None:
    """Returns `program.frozen_features`, compiled once for all runs of these shapes."""
    return program.frozen_features(params, z_star, amps)


class StageFactory:
    """Makes the stages of one run."""

    def __init__(self, inputs: TrainingInputs, retries: int = 0):
        """Puts the levels of the pyramid on the device.

        Args:
            inputs: what the run works on.
            retries: how often it has diverged: each time its rates were halved, its noise is new.
        """
        self.inputs, self.retries = inputs, retries
        self.config = inputs.config.slowed(0.5**retries) if retries else inputs.config
        self.levels = [jnp.asarray(level) for level in inputs.levels]

    def __len__(self) -> int:
        return len(self.levels)

    def program(self, number: int) -> StageStep:
        """Returns the arithmetic of a stage."""
        return StageStep(self.config, self.inputs.arch, self.inputs.sizes[: number + 1])

    def keys(self, number: int) -> tuple[jax.Array, jax.Array]:
        """Returns the keys of a stage: for new parameters, and for its iterations."""
        key = jax.random.fold_in(numerics.key(self.inputs.config.seed), number)
        begin, iterate = jax.random.split(key)
        return begin, jax.random.fold_in(iterate, self.retries) if self.retries else iterate

    def first(self) -> StageState:
        """Returns stage 0 with new parameters."""
        program, seed = self.program(0), self.inputs.config.seed
        init_key, _ = self.keys(0)
        head_key, critic_key = jax.random.split(init_key)
        (z_key,) = noise.stage_keys(noise.fixed_key(seed), 1)
        z_star = noise.INPUTS[self.inputs.config.task_spec.fixed_input](z_key, self.levels[0])
        params, critic = program.generator.init(head_key), program.critic.init(critic_key)
        fixed = noise.ReconstructionNoise([z_star], seed)
        return self._begun(program, params, critic, jnp.ones(1), fixed)

    def grown(self, below: StageState) -> StageState:
        """Returns the stage above a trained one, begun with its parameters."""
        program = self.program(below.number + 1)
        params = program.generator.grow(below.state.generator)
        amps = self._with_new_amp(program, params, below)
        return self._begun(program, params, below.state.critic, amps, below.fixed)

    def restored(self, path: pathlib.Path) -> StageState:
        """Returns the stage of a checkpoint as it was."""
        about = checkpoint.metadata(path)
        program = self.program(len(about["sizes"]) - 1)
        state, data = compiler.shapes(program)
        drawn = restore.noise_of(about)
        like = _tree(state, data, compiler.noise_shapes(program)[: drawn.num_stored])
        tree = jax.tree.map(jnp.asarray, checkpoint.load(path, like))
        model = tree["model"]
        state = TrainState(generator=model["params"], **tree["training"])
        fixed = noise.ReconstructionNoise(model["z_star"], drawn.seed)
        data = self._data(program, model["params"], model["noise_amps"], fixed)
        return self._stage(program, state, data, fixed)

    def fine_tuned(self, source: pathlib.Path) -> StageState:
        """Returns the last stage of a trained run, with fresh optimisers (paper, section 4)."""
        tree = jax.tree.map(jnp.asarray, checkpoint.load(source))
        model, critic = tree["model"], tree["training"]["critic"]
        drawn = restore.noise_of(checkpoint.metadata(source))
        fixed = noise.ReconstructionNoise(model["z_star"], drawn.seed)
        program = self.program(len(self) - 1)
        return self._begun(program, model["params"], critic, model["noise_amps"], fixed)

    def _begun(self, program, params: Params, critic: Params, amps, fixed) -> StageState:
        data = self._data(program, params, amps, fixed)
        state = program.init(params, critic)
        return self._stage(program, state, data, fixed)

    def _stage(self, program, state: TrainState, data: StageConstants, fixed) -> StageState:
        return StageState(
            program=program,
            done=int(state.step),
            state_now=lambda: state,
            data=data,
            key=self.keys(program.stage)[1],
            fixed=fixed,
            config=self.config,
            encoding=self.inputs.encoding,
            retries=self.retries,
        )

    def _data(
        self, program, params: Params, amps, fixed: noise.ReconstructionNoise
    ) -> StageConstants:
        z_star = program.kept(fixed.source(len(program.sizes)))
        features = _frozen_features(program, params, z_star, amps)
        coarsest = self.levels[0]
        if self.inputs.source is not None:
            assert self.inputs.composite is not None, "prepare has read it"
            coarsest = jnp.asarray(resize.fit(self.inputs.composite, self.inputs.sizes[0]))[None]
        return StageConstants(self.levels[program.stage], coarsest, z_star, amps, features)

    def _with_new_amp(self, program, params: Params, below: StageState) -> jax.Array:
        """Returns the amplitudes with that of the newest stage, in proportion to its error."""
        amps = below.data.noise_amps
        renderer = TiledRenderer(params, jnp.append(amps, 0.0), program.generator, program.sizes)
        picture = renderer.picture(below.fixed.source(len(program.sizes)))
        error = np.sqrt(np.mean(np.square(picture - self.inputs.levels[program.stage][0])))
        return jnp.append(amps, jnp.float32(self.inputs.config.noise_amp * error))
