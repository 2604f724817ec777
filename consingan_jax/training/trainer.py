"""The algorithm: stage by stage, each started from the one below (paper, section 3)."""

import concurrent.futures
import contextlib
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from consingan_jax import checkpoint, tasks
from consingan_jax import config as config_lib
from consingan_jax.data import noise
from consingan_jax.generation import sampling
from consingan_jax.generation.model import Model
from consingan_jax.generation.restore import load
from consingan_jax.nn import generator as networks
from consingan_jax.nn import resize
from consingan_jax.training import step
from consingan_jax.training.job import Job, prepare
from consingan_jax.training.recorder import Recorder
from consingan_jax.training.workdir import Workdir


class DivergedError(FloatingPointError):
    """The parameters are no finite numbers any more."""


def train(config: Mapping[str, Any], workdir: str) -> Model:
    """Trains a model of one image, or goes on where an earlier call was stopped.

    Args:
        config: a configuration, see configs/default.py.
        workdir: directory of the run; made if it is not there.

    Returns:
        The finished model, which is also in `workdir`.

    Raises:
        ValueError: the configuration, the image or the directory cannot work; nothing is written.
        DivergedError: the training failed; the last good checkpoint is kept.
    """
    run, job = Workdir(workdir), prepare(config)
    run.check(job)
    if not run.is_finished():
        with run.claim(job):
            _Training(job, run).train().save(run.model)
    return load(run.model)


class _Training:
    """One run: the stages in turn, and what is handed from one to the next."""

    def __init__(self, job: Job, run: Workdir):
        self.job = job
        self.config = job.config
        self.levels = [jnp.asarray(level) for level in job.levels]
        self.sizes = [level.shape[1:3] for level in job.levels]
        self.run = run
        self.task = tasks.TASKS[self.config["task"]]
        self.arch = config_lib.architecture(self.config, channels=self.levels[0].shape[-1])
        self.compiler = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self.loops: dict[int, concurrent.futures.Future] = {}

    def train(self) -> Model:
        """Trains all stages that are not trained yet."""
        last = checkpoint.latest_step(self.run.checkpoints)
        if last is not None:
            stage, state, data = self._restore(last)
        elif self.job.source is not None:
            stage, state, data = self._begin_fine_tuning(self.job.source)
        else:
            stage, state, data = self._begin(0)
        moment = (stage, int(state.step))
        recorder = Recorder(
            self.config, self.run, self.arch, self.sizes, moment, composite=self.job.composite
        )
        with recorder, contextlib.closing(self):
            while True:
                state = self._train_stage(stage, state, data, recorder)
                if stage + 1 == len(self.levels):
                    return self._model(stage, int(state.step), state, data)
                stage, state, data = self._begin(stage + 1, state, data)

    def close(self) -> None:
        """Drops the compilations that nobody waits for."""
        self.compiler.shutdown(wait=False, cancel_futures=True)

    def _train_stage(self, stage: int, state, data, recorder: Recorder):
        """Returns the state at the end of a stage."""
        done, end = int(state.step), self.config["num_iters"]
        if done == end:
            return state
        recorder.compiling(stage, done)
        run = self._compiled(stage).result()
        recorder.compiled()
        if stage + 1 < len(self.levels):
            self._compiled(stage + 1)  # starts now, beside this stage's iterations
        key = self._keys(stage)[2]
        while done < end:
            count = recorder.iterations_of_call(done)
            state, metrics = run(state, data, key, np.int32(count))
            done += count
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
            if not metrics.pop("finite"):
                raise DivergedError(self._divergence(stage, done, metrics))
            recorder.after_call(metrics, self._model(stage, done, state, data), _rest(state))
        del self.loops[stage]
        return state

    def _begin(self, stage: int, state=None, data=None):
        """Returns a stage, its first state and its data, grown from the end of the one below."""
        init_key, z_key, _ = self._keys(stage)
        if state is None:
            head_key, critic_key = jax.random.split(init_key)
            generator = networks.init_generator(head_key, self.arch)
            critic = networks.init_critic(critic_key, self.arch)
            z_star = [noise.INPUTS[self.task.fixed_input](z_key, self.levels[0])]
            amps = jnp.ones(1)
        else:
            generator, critic = networks.grow(state.generator), state.critic
            newest = noise.draw(z_key, self.arch, self.sizes[: stage + 1])[-1]
            z_star = [*data.z_star, newest]
            amps = self._with_new_amp(generator, z_star, data.noise_amps)
        program = self._program(stage)
        return stage, program.init(generator, critic), self._data(program, generator, z_star, amps)

    def _with_new_amp(self, generator, z_star, amps):
        """Returns the amplitudes with that of the newest stage, in proportion to its error."""
        silent = jnp.append(amps, 0.0)
        sizes = tuple(self.sizes[: len(z_star)])
        picture = sampling.generate(generator, z_star, silent, arch=self.arch, sizes=sizes)
        error = jnp.sqrt(jnp.mean(jnp.square(picture - self.levels[len(z_star) - 1])))
        return jnp.append(amps, self.config["noise_amp"] * error)

    def _data(self, program, generator, z_star, amps) -> step.StageData:
        features = jax.jit(program.frozen_features)(generator, z_star, amps)
        coarsest = self.levels[0]
        if self.job.source is not None:
            assert self.job.composite is not None, "prepare has read it"
            coarsest = jnp.asarray(resize.fit(self.job.composite, self.sizes[0]))[None]
        return step.StageData(self.levels[program.stage], coarsest, z_star, amps, features)

    def _begin_fine_tuning(self, source: pathlib.Path):
        """Returns the last stage of another run, with fresh optimisers (paper, section 4)."""
        tree = jax.tree.map(jnp.asarray, checkpoint.load(source))
        model, critic = tree["model"], tree["training"]["critic"]
        stage = len(self.levels) - 1
        program, params = self._program(stage), model["params"]
        data = self._data(program, params, model["z_star"], model["noise_amps"])
        return stage, program.init(params, critic), data

    def _restore(self, path: pathlib.Path):
        """Returns a checkpoint's stage, state and data."""
        stage = len(checkpoint.metadata(path)["sizes"]) - 1
        program = self._program(stage)
        state, data = jax.eval_shape(program.placeholders)
        like = {"model": self._model(stage, 0, state, data).tree(), "training": _rest(state)}
        tree = jax.tree.map(jnp.asarray, checkpoint.load(path, like))
        model = tree["model"]
        state = step.TrainState(generator=model["params"], **tree["training"])
        data = self._data(program, model["params"], model["z_star"], model["noise_amps"])
        return stage, state, data

    def _model(self, stage: int, done: int, state, data) -> Model:
        return Model(
            params=state.generator,
            z_star=data.z_star,
            noise_amps=data.noise_amps,
            real=data.real,
            arch=self.arch,
            sizes=tuple(self.sizes[: stage + 1]),
            config=self.config,
            step=done,
        )

    def _program(self, stage: int) -> step.StageProgram:
        return step.StageProgram(self.config, self.arch, self.sizes[: stage + 1])

    def _compiled(self, stage: int) -> concurrent.futures.Future:
        """Returns the compiled loop of a stage, or the promise of it."""
        if stage not in self.loops:
            program = self._program(stage)
            shapes = jax.eval_shape(program.placeholders)
            self.loops[stage] = self.compiler.submit(program.compile, *shapes)
        return self.loops[stage]

    def _keys(self, stage: int) -> jax.Array:
        """Returns the keys of a stage: for new parameters, for z*, for its iterations."""
        return jax.random.split(jax.random.fold_in(jax.random.key(self.config["seed"]), stage), 3)

    def _divergence(self, stage: int, done: int, metrics: dict[str, float]) -> str:
        bad = [name for name, value in metrics.items() if not np.isfinite(value)]
        kept = checkpoint.latest_step(self.run.checkpoints)
        return (
            f"the training diverged at stage {stage}, iteration {done}: "
            f"{', '.join(bad) or 'a parameter'} is not a finite number. Kept: "
            f"{kept or 'no checkpoint yet'}. Try a smaller lr_generator, lr_critic or lr_scale"
        )


def _rest(state: step.TrainState) -> dict[str, Any]:
    """Returns what a checkpoint of the training holds besides the model."""
    return {
        "critic": state.critic,
        "generator_opt": state.generator_opt,
        "critic_opt": state.critic_opt,
        "step": state.step,
    }
