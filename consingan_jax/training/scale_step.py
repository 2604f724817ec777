"""One training iteration of a scale of SinGAN, whose lower scales are finished."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from consingan_jax.config import Config
from consingan_jax.data import noise
from consingan_jax.nn.layers import Params
from consingan_jax.nn.resize import Size
from consingan_jax.nn.scale_generator import ScaleArchitecture, ScaleGenerator
from consingan_jax.nn.scale_view import ScaleView
from consingan_jax.training import losses, optimizer
from consingan_jax.training.state import StageConstants, TrainState

PICTURE_EVERY = 500  # iterations after which the published program draws a picture


class Draws(NamedTuple):
    """The random input of an iteration.

    Attributes:
        own: `[1, h, w, channels]`, the noise of the scale.
        below: `[d_steps, h, w, channels]` for each lower scale, other noise at every critic step.
        fixed: `[1, h, w, 1]`, z*_0, at scale 0 only.
    """

    own: jax.Array
    below: list[jax.Array]
    fixed: jax.Array | None


class ScaleStep:
    """The training iteration of one scale. Its attributes are static when it is compiled."""

    def __init__(
        self,
        config: Config,
        arch: ScaleArchitecture,
        sizes: Sequence[Size],
        *,
        drop: int | None = None,
    ):
        """Prepares scale `len(sizes) - 1`; `drop` is the iteration of the rate drop, if given."""
        self.config, self.sizes, self.stage = config, tuple(sizes), len(sizes) - 1
        self.generator = ScaleGenerator(arch)
        self.network = self.generator.network(self.stage)
        self.critic = self.generator.critic(self.stage)
        self.optimizers = optimizer.of_one_stage(config, stage=self.stage, drop=drop)

    def init(self, generator: Params, critic: Params) -> TrainState:
        """Returns the initial state of the scale, with new optimiser states."""
        return TrainState(
            generator=generator,
            critic=critic,
            generator_opt=self.optimizers.generator.init(generator["stages"][-1]["params"]),
            critic_opt=self.optimizers.critic.init(critic),
            step=jnp.zeros((), jnp.int32),
        )

    def from_below(
        self, generator: Params, z: noise.Z, noise_amps: jax.Array, view: ScaleView
    ) -> jax.Array:
        """Returns the image that the scale adds to, with its border, `[N, h, w, C]`."""
        if self.stage == 0:
            return self.generator.nothing(self.config.stage(0).d_steps, view)
        x = self.generator(generator, z[: self.stage], noise_amps, view)
        return self.generator.raised(x, view.scale(self.stage))

    def iterate(
        self,
        state: TrainState,
        data: StageConstants,
        draws: Draws,
        mixes: jax.Array,
        view: ScaleView,
    ) -> tuple[TrainState, losses.Metrics]:
        """Returns the state after one iteration, and its losses.

        Args:
            state: the state before.
            data: the constants of the scale; its `frozen_features` are the reconstruction from
                below, with its border.
            draws: the random input.
            mixes: `[d_steps]`, the share of the real image in each gradient penalty.
            view: the whole image.
        """
        *frozen, newest = state.generator["stages"]
        params, statistics = newest["params"], newest["statistics"]
        amp, axes = data.noise_amps[self.stage], view.scale(self.stage)
        # Every critic step has other noise below, and so another fake. The generator is the same
        # and normalises each image by itself, so all are made in one pass.
        below = self.from_below(state.generator, draws.below, data.noise_amps, view)
        noisy = below + amp * self.generator.framed_noise(draws.own, axes)
        made, inputs = self.network.train(params, noisy)
        statistics = self.network.moved(statistics, inputs)
        fakes = made + self.generator.within_border(below)
        (critic, critic_opt), critic_metrics = jax.lax.scan(
            functools.partial(self._critic_step, data.real),
            (state.critic, state.critic_opt),
            (fakes[:, None], mixes),
        )
        # The generator's steps all see the last fake and the critic as it now is, so the gradient
        # that arrives at the fake is the same in each.
        def adversarial(fake: jax.Array) -> jax.Array:
            return -self.critic.scores(critic, fake).mean()

        loss, arriving = jax.value_and_grad(adversarial)(fakes[-1:])
        kept = [x[-1:] for x in inputs]
        step = functools.partial(self._generator_step, data, draws.fixed, view, kept, arriving)
        (params, statistics, generator_opt), error = jax.lax.scan(
            step,
            (params, statistics, state.generator_opt),
            length=self.config.stage(self.stage).g_steps,
        )
        statistics = self._after_picture(state.step, params, statistics, data, draws.fixed, view)
        newest = {"params": params, "statistics": statistics}
        generator = {"stages": [*frozen, newest]}
        state = TrainState(generator, critic, generator_opt, critic_opt, state.step + 1)
        metrics = {"generator": loss, "reconstruction_rmse": jnp.sqrt(error)}
        return state, {**critic_metrics, **metrics}

    def _critic_step(
        self, real: jax.Array, carry: tuple, given: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple, losses.Metrics]:
        (critic, critic_opt), (fake, mix) = carry, given

        def loss(critic: Params) -> tuple[jax.Array, losses.Metrics]:
            scores = functools.partial(self.critic.scores, critic)
            return losses.critic_loss(scores, real, fake, mix, gp_weight=self.config.gp_weight)

        gradient, metrics = jax.grad(loss, has_aux=True)(critic)
        updates, critic_opt = self.optimizers.critic.update(gradient, critic_opt, critic)
        return (optax.apply_updates(critic, updates), critic_opt), metrics

    def _generator_step(
        self,
        data: StageConstants,
        fixed: jax.Array | None,
        view: ScaleView,
        kept: list[jax.Array],
        arriving: jax.Array,
        carry: tuple,
        _: None,
    ) -> tuple[tuple, jax.Array]:
        """Makes one generator step; returns also the mean squared error of the reconstruction."""
        params, statistics, opt_state = carry

        def loss(params: Params) -> tuple[jax.Array, tuple]:
            picture, inputs = self._reconstruction(params, data, fixed, view)
            error = jnp.square(picture - data.real).mean()
            return self.config.rec_weight * error, (error, inputs)

        gradient, (error, inputs) = jax.grad(loss, has_aux=True)(params)
        # The published program goes back through the graph of the last fake in every step: what
        # the forward pass left there is old, the parameters met on the way back are the new ones.
        adversarial = self.network.pullback(params, kept, arriving)
        gradient = jax.tree.map(jnp.add, adversarial, gradient)
        updates, opt_state = self.optimizers.generator.update(gradient, opt_state, params)
        statistics = self.network.moved(statistics, inputs)
        return (optax.apply_updates(params, updates), statistics, opt_state), error

    def _reconstruction(
        self, params: Params, data: StageConstants, fixed: jax.Array | None, view: ScaleView
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Returns the reconstruction of the image, and the inputs of the network's pieces."""
        axes = view.scale(self.stage)
        if fixed is None:  # z* is zero above scale 0
            assert data.frozen_features is not None, "scales above 0 have an image from below"
            below = given = data.frozen_features
        else:
            below = self.generator.nothing(1, view)
            noisy = data.noise_amps[self.stage] * self.generator.framed_noise(fixed, axes)
            given = below + noisy
        made, inputs = self.network.train(params, given)
        return made + self.generator.within_border(below), inputs

    def _after_picture(
        self,
        step: jax.Array,
        params: Params,
        statistics: Params,
        data: StageConstants,
        fixed: jax.Array | None,
        view: ScaleView,
    ) -> Params:
        """Returns the running statistics after the iteration's picture, if one is due."""
        # The published program draws its pictures in training mode, which moves the statistics. At
        # the end of a scale this pass has the largest weight of all.
        is_last = step == self.config.stage(self.stage).num_iters - 1

        def draw(statistics: Params) -> Params:
            _, inputs = self._reconstruction(params, data, fixed, view)
            return self.network.moved(statistics, inputs)

        is_due = (step % PICTURE_EVERY == 0) | is_last
        return jax.lax.cond(is_due, draw, lambda statistics: statistics, statistics)
