"""One training iteration of a scale of SinGAN, whose lower scales are finished."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.data import noise
from consingan_jax.nn.layers import Params
from consingan_jax.nn.receptive_field import NoiseWindow
from consingan_jax.nn.resize import Size
from consingan_jax.nn.scale_generator import ScaleArchitecture, ScaleGenerator
from consingan_jax.nn.scale_network import Pass
from consingan_jax.nn.scale_view import ScaleView
from consingan_jax.training import losses, optimizer, scale_draws
from consingan_jax.training.iteration import Iteration
from consingan_jax.training.scale_draws import Draws
from consingan_jax.training.state import StageConstants, TrainState, appended

PICTURE_EVERY = 500  # iterations after which the published program draws a picture


class ScaleStep(Iteration):
    """The training iteration of one scale of SinGAN."""

    def __init__(
        self,
        config: Config,
        arch: ScaleArchitecture,
        sizes: Sequence[Size],
        *,
        parts: int = 1,
        drop: int | None = None,
    ):
        """Prepares scale `len(sizes) - 1`; `drop` is the iteration of the rate drop, if given."""
        assert parts == 1, "a scale has no windows to divide"
        super().__init__(config, arch, sizes)
        self.generator = ScaleGenerator(arch)
        self.network = self.generator.network(self.stage)
        self.critic = self.generator.critic(self.stage)
        optimizers = optimizer.of_one_stage(config, stage=self.stage, drop=drop)
        self.generator_optimizer, self.critic_optimizer = optimizers

    def init(self, generator: Params, critic: Params) -> TrainState:
        """Returns the initial state of the scale, with new optimiser states."""
        return TrainState(
            generator=generator,
            critic=critic,
            generator_opt=self.generator_optimizer.init(self.generator.newest(generator)[0]),
            critic_opt=self.critic_optimizer.init(critic),
            step=jnp.zeros((), jnp.int32),
        )

    def grown(self, below: TrainState, key: jax.Array) -> tuple[Params, Params]:
        """Returns the networks to begin with: copies of those below if they are as wide, or new."""
        generator_key, critic_key = jax.random.split(key)
        generator = self.generator.grow(below.generator, generator_key)
        is_copied = self.generator.is_copied(self.stage)
        return generator, below.critic if is_copied else self.critic.init(critic_key)

    def first_fixed(self, key: jax.Array, level: jax.Array) -> jax.Array:
        """Returns z*_0 of a new run."""
        rows, columns, channels = self._noise()[0]
        # Of the right shape, whatever the level: `noise.INPUTS` asks an image for it.
        like = jnp.zeros((1, rows.length, columns.length, channels), level.dtype)
        return noise.INPUTS[self.config.fixed_input](key, like)

    def fixed_after(
        self, fixed: noise.ReconstructionNoise, key: jax.Array, done: int
    ) -> noise.ReconstructionNoise:
        """Returns z* after so many iterations, at scale 0 that of the last one."""
        if self.stage or not done or self.config.z_star == "fixed":
            return fixed
        _, draw_key = jax.random.split(key)
        last = scale_draws.z_star(jax.random.fold_in(draw_key, done - 1), self._noise())
        return noise.ReconstructionNoise([last], fixed.seed)

    def below(
        self, generator: Params, fixed: noise.ReconstructionNoise, amps: jax.Array
    ) -> np.ndarray:
        """Returns the reconstruction from below, as it arrives at the scale."""
        source = self.with_whole_grids(fixed.source(len(self.sizes)))
        bordered = _frozen(self, generator, source, appended(amps, 0))
        return np.asarray(self.generator.within_border(bordered))[0]

    def with_whole_grids(self, fixed: noise.NoiseSource) -> noise.NoiseSource:
        """Returns z* with z*_0 as it is; it is zero above."""
        first = fixed.draw(self._noise()[:1])
        return noise.NoiseSource(None, tuple(first), zero_below=len(self.sizes))

    def frozen_features(
        self, generator: Params, fixed: noise.NoiseSource, noise_amps: jax.Array
    ) -> jax.Array | None:
        """Returns the reconstruction from below with its border; None at scale 0."""
        if self.stage == 0:
            return None
        return self.from_below(generator, fixed.draw(self._noise()), noise_amps, self.any_view())

    def view(self, key: jax.Array, step: jax.Array) -> ScaleView:
        """Returns the whole image, which the statistics of training need."""
        return self.generator.view(self.sizes)

    def draw(
        self, key: jax.Array, data: StageConstants, view: ScaleView
    ) -> tuple[Draws, jax.Array]:
        """Draws the random input of one iteration, and `mixes` of the critic steps."""
        d_steps = self.config.stage(self.stage).d_steps
        kept = data.fixed if self.config.z_star == "fixed" else None
        return scale_draws.draw(key, self._noise(), d_steps, kept)

    def _noise(self) -> list[NoiseWindow]:
        return self.any_view().noise(self.generator.arch)

    def from_below(
        self, generator: Params, z: noise.Z, noise_amps: jax.Array, view: ScaleView
    ) -> jax.Array:
        """Returns the image that the scale adds to, with its border, `[N, h, w, C]`."""
        if self.stage == 0:
            return self.generator.nothing(self.config.stage(0).d_steps, view)
        x = self.generator.image(generator, z[: self.stage], noise_amps, view)
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
        params, statistics = self.generator.newest(state.generator)
        amp, axes = data.noise_amps[self.stage], view.scale(self.stage)
        # Every critic step has other noise below, and so another fake. The generator is the same
        # and normalises each image by itself, so all are made in one pass.
        below = self.from_below(state.generator, draws.below, data.noise_amps, view)
        noisy = below + amp * self.generator.framed_noise(draws.own, axes)
        made, inputs = self.network.train(params, noisy)
        statistics = self.network.moved(statistics, inputs)
        fakes = made + self.generator.within_border(below)
        (critic, critic_opt), critic_metrics = jax.lax.scan(
            lambda carry, given: self._critic_step(data.real, given[0], carry, given[1]),
            (state.critic, state.critic_opt),
            (fakes[:, None], mixes),
        )

        def adversarial(fake: jax.Array) -> jax.Array:
            return -self.critic.scores(critic, fake).mean()

        # The generator's steps all see the last fake and the critic as it now is, so the gradient
        # that arrives at the fake is the same in each.
        loss, arriving = jax.value_and_grad(adversarial)(fakes[-1:])
        kept, fixed = [x[-1:] for x in inputs], self._fixed_input(data, draws.fixed, view)
        (params, statistics, generator_opt), error = jax.lax.scan(
            functools.partial(self._generator_step, data.real, fixed, kept, arriving),
            (params, statistics, state.generator_opt),
            length=self.config.stage(self.stage).g_steps,
        )
        # The published program draws its pictures in training mode, which moves the statistics. At
        # the end of a scale this pass has the largest weight of all.
        is_last = state.step == self.config.stage(self.stage).num_iters - 1
        statistics = jax.lax.cond(
            (state.step % PICTURE_EVERY == 0) | is_last,
            lambda now: self.network.moved(now, self.reconstruction(params, fixed).inputs),
            lambda now: now,
            statistics,
        )
        generator = self.generator.with_newest(state.generator, params, statistics)
        state = TrainState(generator, critic, generator_opt, critic_opt, state.step + 1)
        metrics = {"generator": loss, "reconstruction_rmse": jnp.sqrt(error)}
        return state, {**critic_metrics, **metrics}

    def _fixed_input(
        self, data: StageConstants, z_star: jax.Array | None, view: ScaleView
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the network's input of z*, and the image from below in it, with borders."""
        if z_star is None:  # it is zero above scale 0
            assert data.frozen_features is not None, "scales above 0 have an image from below"
            return data.frozen_features, data.frozen_features
        below = self.generator.nothing(1, view)
        noisy = self.generator.framed_noise(z_star, view.scale(self.stage))
        return below + data.noise_amps[self.stage] * noisy, below

    def reconstruction(self, params: Params, fixed: tuple[jax.Array, jax.Array]) -> Pass:
        """Returns the image that the network makes of `fixed`, its input and the image in it."""
        given, below = fixed
        made, inputs = self.network.train(params, given)
        return Pass(made + self.generator.within_border(below), inputs)

    def _generator_step(
        self,
        real: jax.Array,
        fixed: tuple[jax.Array, jax.Array],
        kept: list[jax.Array],
        arriving: jax.Array,
        carry: tuple,
        _: None,
    ) -> tuple[tuple, jax.Array]:
        """Makes one generator step; returns also the mean squared error of the reconstruction."""
        params, statistics, opt_state = carry

        def loss(params: Params) -> tuple[jax.Array, tuple]:
            made = self.reconstruction(params, fixed)
            error = jnp.square(made.result - real).mean()
            return self.config.rec_weight * error, (error, made.inputs)

        gradient, (error, inputs) = jax.grad(loss, has_aux=True)(params)
        # The published program goes back through the graph of the last fake in every step: what
        # the forward pass left there is old, the parameters met on the way back are the new ones.
        adversarial = self.network.pullback(params, kept, arriving)
        gradient = jax.tree.map(jnp.add, adversarial, gradient)
        updates, opt_state = self.generator_optimizer.update(gradient, opt_state, params)
        statistics = self.network.moved(statistics, inputs)
        return (optax.apply_updates(params, updates), statistics, opt_state), error


# A function of its own so that runs of equal shapes share one compilation.
@functools.partial(numerics.jit, static_argnums=0)
def _frozen(
    program: ScaleStep, generator: Params, fixed: noise.NoiseSource, noise_amps: jax.Array
) -> jax.Array | None:
    return program.frozen_features(generator, fixed, noise_amps)
