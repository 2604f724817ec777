"""A stage of a run, and the four ways to come by one: first, grown, restored, fine-tuned."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import checkpoint, numerics
from consingan_jax.data import noise
from consingan_jax.generation import sampling
from consingan_jax.generation.model import Model
from consingan_jax.nn import resize
from consingan_jax.nn.layers import Params
from consingan_jax.training import compiler
from consingan_jax.training.job import Job
from consingan_jax.training.state import StageData, TrainState
from consingan_jax.training.step import StageProgram


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A stage in training: its arithmetic, its state, and what stays the same."""

    program: StageProgram
    state: TrainState
    data: StageData

    @property
    def number(self) -> int:
        """The stage, counted from 0."""
        return self.program.stage

    @property
    def done(self) -> int:
        """How many of its iterations are done."""
        return int(self.state.step)

    @property
    def iterations(self) -> int:
        """How many it has."""
        return self.program.config.iterations(self.number)

    def after(self, state: TrainState) -> "Stage":
        """Returns the stage at another state."""
        return dataclasses.replace(self, state=state)

    def model(self) -> Model:
        """Returns the model as trained so far."""
        return Model(
            params=self.state.generator,
            z_star=self.data.z_star,
            noise_amps=self.data.noise_amps,
            real=np.asarray(self.data.real),
            arch=self.program.generator.arch,
            sizes=self.program.sizes,
            config=self.program.config,
            step=self.done,
        )

    def tree(self) -> dict[str, Any]:
        """Returns the arrays to go on from, as a checkpoint holds them."""
        return _tree(self.state, self.data)


def _tree(state: TrainState, data: StageData) -> dict[str, Any]:
    """Returns the model's arrays, and under "training" what else of the state there is."""
    return {
        "model": {
            "params": state.generator,
            "z_star": data.z_star,
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


class Stages:
    """Makes the stages of one run."""

    def __init__(self, job: Job):
        """Puts the levels of the pyramid on the device."""
        self.job = job
        self.levels = [jnp.asarray(level) for level in job.levels]

    def __len__(self) -> int:
        return len(self.levels)

    def program(self, number: int) -> StageProgram:
        """Returns the arithmetic of a stage."""
        return StageProgram(self.job.config, self.job.arch, self.job.sizes[: number + 1])

    def keys(self, number: int) -> jax.Array:
        """Returns the keys of a stage: for new parameters, for z*, for its iterations."""
        return jax.random.split(jax.random.fold_in(numerics.key(self.job.config.seed), number), 3)

    def first(self) -> Stage:
        """Returns stage 0 with new parameters."""
        program = self.program(0)
        init_key, z_key, _ = self.keys(0)
        head_key, critic_key = jax.random.split(init_key)
        z_star = [noise.INPUTS[self.job.config.row.fixed_input](z_key, self.levels[0])]
        params = program.generator.init(head_key)
        return self._begun(program, params, program.critic.init(critic_key), z_star, jnp.ones(1))

    def grown(self, below: Stage) -> Stage:
        """Returns the stage above a trained one, begun with its parameters."""
        program = self.program(below.number + 1)
        params = program.generator.grow(below.state.generator)
        _, z_key, _ = self.keys(program.stage)
        newest = noise.draw(z_key, program.generator.noise_shapes(program.sizes))[-1]
        z_star = [*below.data.z_star, newest]
        amps = self._with_new_amp(program, params, z_star, below.data.noise_amps)
        return self._begun(program, params, below.state.critic, z_star, amps)

    def restored(self, path: pathlib.Path) -> Stage:
        """Returns the stage of a checkpoint as it was."""
        program = self.program(len(checkpoint.metadata(path)["sizes"]) - 1)
        like = _tree(*compiler.shapes(program))
        tree = jax.tree.map(jnp.asarray, checkpoint.load(path, like))
        model = tree["model"]
        state = TrainState(generator=model["params"], **tree["training"])
        data = self._data(program, model["params"], model["z_star"], model["noise_amps"])
        return Stage(program, state, data)

    def fine_tuned(self, source: pathlib.Path) -> Stage:
        """Returns the last stage of a trained run, with fresh optimisers (paper, section 4)."""
        tree = jax.tree.map(jnp.asarray, checkpoint.load(source))
        model, critic = tree["model"], tree["training"]["critic"]
        program = self.program(len(self) - 1)
        return self._begun(program, model["params"], critic, model["z_star"], model["noise_amps"])

    def _begun(self, program, params: Params, critic: Params, z_star, amps) -> Stage:
        data = self._data(program, params, z_star, amps)
        return Stage(program, program.init(params, critic), data)

    def _data(self, program, params: Params, z_star, amps) -> StageData:
        features = jax.jit(program.frozen_features)(params, z_star, amps)
        coarsest = self.levels[0]
        if self.job.source is not None:
            assert self.job.composite is not None, "prepare has read it"
            coarsest = jnp.asarray(resize.fit(self.job.composite, self.job.sizes[0]))[None]
        return StageData(self.levels[program.stage], coarsest, z_star, amps, features)

    def _with_new_amp(self, program, params: Params, z_star, amps) -> jax.Array:
        """Returns the amplitudes with that of the newest stage, in proportion to its error."""
        silent = jnp.append(amps, 0.0)
        picture = sampling.generate(
            params, z_star, silent, generator=program.generator, sizes=program.sizes
        )
        error = jnp.sqrt(jnp.mean(jnp.square(picture - self.levels[program.stage])))
        return jnp.append(amps, self.job.config.noise_amp * error)
