"""What the training iterations of all methods have in common: the loop, and the critic's step."""

import abc
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.data.noise import NoiseSource, ReconstructionNoise
from consingan_jax.nn.layers import Params
from consingan_jax.nn.resize import Size
from consingan_jax.training import losses
from consingan_jax.training.state import StageConstants, TrainState

WINDOWS = "windows"  # the mesh axis along which the windows of an iteration are divided
METRICS = ("critic_real", "critic_fake", "gradient_penalty", "generator", "reconstruction_rmse")


class Iteration(abc.ABC):
    """The training iteration of one stage: the interface that a method implements.

    Its attributes are static when it is compiled.

    Attributes:
        config: the configuration.
        sizes: (height, width) of this stage and all below.
        stage: number of the stage.
        parts: number of devices that share the windows.
        window: (height, width) of the windows that it trains on.
        num_windows: their number.
        generator: the generator network.
        critic: the critic.
        critic_optimizer: its optimiser.
    """

    window: Size
    num_windows = 1
    generator: Any
    critic: Any
    critic_optimizer: optax.GradientTransformation

    def __init__(self, config: Config, arch: Any, sizes: Sequence[Size], *, parts: int = 1):
        """Prepares stage `len(sizes) - 1`; above one part `run` is called in `jax.shard_map`."""
        self.config, self.parts = config, parts
        self.sizes = tuple(sizes)
        self.stage, self.window = len(sizes) - 1, self.sizes[-1]
        self._relativistic = config.loss == "relativistic"
        self._identity = (config.of_any_picture(), arch, self.sizes, parts)

    # Equal steps compile to the same program, so runs that differ in image and seed can share one.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iteration) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def divided(self, parts: int) -> "Iteration":
        """Returns this iteration with its windows divided over `parts` devices."""
        return type(self)(self.config, self.generator.arch, self.sizes, parts=parts)

    @abc.abstractmethod
    def init(self, generator: Params, critic: Params) -> TrainState:
        """Returns the initial state of the stage, with new optimiser states."""

    @abc.abstractmethod
    def grown(self, below: TrainState, key: jax.Array) -> tuple[Params, Params]:
        """Returns generator and critic to begin with, given the state of the stage below."""

    @abc.abstractmethod
    def first_fixed(self, key: jax.Array, level: jax.Array) -> jax.Array:
        """Returns z*_0 of a new run, given the training image `[1, h, w, C]` at stage 0."""

    def fixed_after(
        self, fixed: ReconstructionNoise, key: jax.Array, done: int
    ) -> ReconstructionNoise:
        """Returns z* after so many iterations of the stage, whose key is given."""
        return fixed

    @abc.abstractmethod
    def below(self, generator: Params, fixed: ReconstructionNoise, amps: jax.Array) -> np.ndarray:
        """Returns the reconstruction `[h, w, C]` at the start of the stage, without its noise.

        Args:
            generator: parameters of all stages, this one included.
            fixed: z*.
            amps: noise amplitudes of the stages below.
        """

    @abc.abstractmethod
    def with_whole_grids(self, fixed: NoiseSource) -> NoiseSource:
        """Returns z* with the grids stored that every iteration needs as a whole."""

    @abc.abstractmethod
    def frozen_features(
        self, generator: Params, fixed: NoiseSource, noise_amps: jax.Array
    ) -> jax.Array | None:
        """Returns what frozen stages make of z*, if it stays the same during the stage."""

    @abc.abstractmethod
    def view(self, key: jax.Array, step: jax.Array) -> Any:
        """Returns the windows that this device sees in iteration `step`; `key` is the stage's."""

    @abc.abstractmethod
    def draw(self, key: jax.Array, data: StageConstants, view: Any) -> tuple[Any, jax.Array]:
        """Draws the random input of one iteration, and `mixes` of the critic steps."""

    @abc.abstractmethod
    def iterate(
        self, state: TrainState, data: StageConstants, z: Any, mixes: jax.Array, view: Any
    ) -> tuple[TrainState, losses.Metrics]:
        """Returns the state after one iteration, and its losses."""

    def any_view(self) -> Any:
        """Returns some windows, for questions about sizes, which all windows have in common."""
        return self.view(numerics.key(0), jnp.zeros((), jnp.int32))

    def run(
        self, state: TrainState, data: StageConstants, key: jax.Array, num_iters: jax.Array
    ) -> tuple[TrainState, losses.Metrics]:
        """Returns the state after `num_iters` iterations, and the metrics of the last one.

        The metric "finite" is 1 if every parameter is a finite number, else 0.
        """
        window_key, draw_key = jax.random.split(key)

        def body(_: jax.Array, carry: tuple) -> tuple[TrainState, losses.Metrics]:
            state, _ = carry
            view = self.view(window_key, state.step)
            # The key of an iteration depends on its number alone, not on the key before it. So a
            # stage that is resumed, or divided into other calls, has the same random numbers.
            z, mixes = self.draw(jax.random.fold_in(draw_key, state.step), data, view)
            state, metrics = self.iterate(state, data, z, mixes, view)
            return state, jax.tree.map(jnp.mean, metrics)

        # `num_iters` is traced, so that one compiled program serves calls of any length: the loop
        # is called for about a second of work, or up to the next log line or sample grid.
        metrics = {name: jnp.zeros(()) for name in METRICS}
        state, metrics = jax.lax.fori_loop(0, num_iters, body, (state, metrics))
        # A parameter that is NaN stays NaN, so this shows a fault in any iteration of the call.
        parameters, _ = ravel_pytree((state.generator, state.critic))
        finite = jnp.isfinite(parameters).all()
        return state, {**metrics, "finite": finite.astype(jnp.float32)}

    def _critic_step(
        self,
        real: jax.Array,
        fake: jax.Array,
        carry: tuple,
        mix: jax.Array,
        number: jax.Array | int = 0,
        *,
        pixels: losses.Weights = None,
        patches: losses.Weights = None,
    ) -> tuple[tuple, losses.Metrics]:
        """Makes the critic's step of this number in the stage; arguments as for `critic_loss`."""
        critic, critic_opt = carry
        every = self.config.gp_every

        def gradient(critic: Params, gp_weight: float) -> tuple[Params, losses.Metrics]:
            def loss(critic: Params) -> tuple[jax.Array, losses.Metrics]:
                scores = functools.partial(self.critic.scores, critic)
                return losses.critic_loss(
                    *(scores, real, fake, mix),
                    gp_weight=gp_weight,
                    relativistic=self._relativistic,
                    pixels=pixels,
                    patches=patches,
                )

            return jax.grad(loss, has_aux=True)(critic)

        # A penalty in every k-th step, k times as heavy, is as strong on average (lazy
        # regularisation: Karras et al., 2020).
        weighted = functools.partial(gradient, gp_weight=self.config.gp_weight * every)
        if every == 1:
            own = weighted(critic)
        else:
            without = functools.partial(gradient, gp_weight=0.0)
            own = jax.lax.cond(number % every == 0, weighted, without, critic)
        of_all, metrics = self._over_devices(own)
        updates, critic_opt = self.critic_optimizer.update(of_all, critic_opt, critic)
        return (optax.apply_updates(critic, updates), critic_opt), metrics

    def _over_devices(self, tree: Any) -> Any:
        """Returns the means of gradients and metrics over the devices' windows."""
        if self.parts == 1:
            return tree
        # As one vector, since one collective of many numbers is cheaper than many of few.
        flat, unravel = ravel_pytree(tree)
        return unravel(jax.lax.pmean(flat, WINDOWS))
