"""One training iteration of a stage, and the loop over it: pure functions of arrays (paper, 3)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from consingan_jax.config import Config
from consingan_jax.data import noise
from consingan_jax.nn.critic import Critic
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture, Params
from consingan_jax.nn.resize import Size
from consingan_jax.training import losses, optimizer
from consingan_jax.training.state import StageData, TrainState

Metrics = dict[str, jax.Array]
METRICS = (
    "critic_real",
    "critic_fake",
    "gradient_penalty",
    "generator",
    "reconstruction_rmse",
)


class StageProgram:
    """The arithmetic of one stage; what is static in it is decided when it is made."""

    def __init__(self, config: Config, arch: Architecture, sizes: Sequence[Size]):
        """Prepares stage `len(sizes) - 1`.

        Args:
            config: the configuration.
            arch: the architecture of both networks.
            sizes: (height, width) of this stage and all below.
        """
        self.config = config
        self.generator, self.critic = Generator(arch), Critic(arch)
        self.sizes = tuple(sizes)
        self.stage = len(sizes) - 1
        self.num_frozen = optimizer.num_frozen(self.stage, config.train_depth)
        self.random_input = config.row.random_input
        if config.fine_tune:
            assert config.row.composite_input, "the configuration refuses the other tasks"
            self.random_input = config.row.composite_input
        self.critic_optimizer = optimizer.critic_optimizer(config, stage=self.stage)

    def generator_optimizer(self, params: Params) -> optax.GradientTransformation:
        """Returns the optimiser for parameters shaped like `params`."""
        return optimizer.generator_optimizer(self.generator, params, self.config, stage=self.stage)

    def init(self, generator: Params, critic: Params) -> TrainState:
        """Returns the state at the stage's first iteration."""
        return TrainState(
            generator=generator,
            critic=critic,
            generator_opt=self.generator_optimizer(generator).init(generator),
            critic_opt=self.critic_optimizer.init(critic),
            step=jnp.zeros((), jnp.int32),
        )

    def frozen_features(self, generator: Params, z: list[jax.Array], noise_amps: jax.Array):
        """Returns the features of z at the last frozen stage, None if no stage is frozen."""
        if not self.num_frozen:
            return None
        below = z[: self.num_frozen]
        return self.generator.features(generator, below, noise_amps, self.sizes)

    def draw(self, key: jax.Array, data: StageData) -> tuple[list[jax.Array], jax.Array]:
        """Returns the random input of one iteration: z_0 .. z_d, and e of each critic step."""
        z_key, input_key, mix_key = jax.random.split(key, 3)
        z = noise.draw(z_key, self.generator.noise_shapes(self.sizes))
        if self.random_input != "gaussian":
            z[0] = noise.INPUTS[self.random_input](input_key, data.coarsest)
        return z, jax.random.uniform(mix_key, (self.config.d_steps,))

    def iterate(
        self, state: TrainState, data: StageData, z: list[jax.Array], mixes: jax.Array
    ) -> tuple[TrainState, Metrics]:
        """Returns the state after one iteration, and its losses.

        Args:
            state: the state before.
            data: what stays the same.
            z: z_0 .. z_d, the random input.
            mixes: `[d_steps]`, the share of the real image in each gradient penalty.

        Returns:
            The new state; metrics, those of the critic as `[d_steps]`.
        """
        # Both images leave the generator in one pass, whose pullback waits for the critic: the
        # generator does not change meanwhile, so nothing has to be computed again.
        pair, pullback = jax.vjp(self._random_and_fixed_image(state, data, z), state.generator)
        fake, _ = jnp.split(pair, 2)
        (critic, critic_opt), critic_metrics = jax.lax.scan(
            lambda carry, mix: self._critic_step(*carry, data.real, fake, mix),
            (state.critic, state.critic_opt),
            mixes,
        )
        image_gradient, metrics = jax.grad(self._loss_of_images(critic, data), has_aux=True)(pair)
        (gradient,) = pullback(image_gradient)
        generator, generator_opt = self._generator_updates(state, gradient)
        state = TrainState(generator, critic, generator_opt, critic_opt, state.step + 1)
        return state, {**critic_metrics, **metrics}

    def run(self, state: TrainState, data: StageData, key: jax.Array, num_iters: jax.Array):
        """Returns the state after `num_iters` (traced) iterations, and the last one's metrics.

        The randomness of an iteration is a function of `key` and its number alone, so the result
        does not depend on how a stage is divided into calls. The metrics hold "finite" besides:
        1 where every parameter is a finite number.
        """

        def body(_, carry):
            state, _ = carry
            z, mixes = self.draw(jax.random.fold_in(key, state.step), data)
            state, metrics = self.iterate(state, data, z, mixes)
            return state, jax.tree.map(jnp.mean, metrics)

        metrics = {name: jnp.zeros(()) for name in METRICS}
        state, metrics = jax.lax.fori_loop(0, num_iters, body, (state, metrics))
        parameters, _ = ravel_pytree((state.generator, state.critic))
        finite = jnp.isfinite(parameters).all()
        return state, {**metrics, "finite": finite.astype(jnp.float32)}

    def _random_and_fixed_image(self, state, data, z):
        """Returns the function: generator parameters -> images of z and z*, `[2, h, w, C]`."""
        first = self.num_frozen
        x = self.frozen_features(state.generator, z, data.noise_amps)
        if first:
            x = jnp.concatenate([x, data.frozen_features])
        pairs = [jnp.concatenate(both) for both in zip(z, data.z_star, strict=True)]

        def images(generator):
            features = self.generator.features(
                generator,
                pairs,
                data.noise_amps,
                self.sizes,
                first=first,
                x=x,
                remat=self.config.remat,
            )
            return self.generator.image(generator, features)

        return images

    def _critic_step(self, critic, critic_opt, real, fake, mix):
        def loss(critic):
            def scores(images):
                return self.critic.scores(critic, images)

            return losses.critic_loss(scores, real, fake, mix, gp_weight=self.config.gp_weight)

        gradient, metrics = jax.grad(loss, has_aux=True)(critic)
        updates, critic_opt = self.critic_optimizer.update(gradient, critic_opt, critic)
        return (optax.apply_updates(critic, updates), critic_opt), metrics

    def _loss_of_images(self, critic, data):
        """Returns the function: images of z and z* -> generator loss."""

        def loss(pair):
            fake, reconstruction = jnp.split(pair, 2)
            return losses.generator_loss(
                lambda images: self.critic.scores(critic, images),
                fake,
                reconstruction,
                data.real,
                rec_weight=self.config.rec_weight,
            )

        return loss

    def _generator_updates(self, state, gradient):
        """Applies one gradient `g_steps` times, as the published program does."""
        transformation = self.generator_optimizer(state.generator)

        def update(carry, _):
            generator, opt = carry
            updates, opt = transformation.update(gradient, opt, generator)
            return (optax.apply_updates(generator, updates), opt), None

        carry = (state.generator, state.generator_opt)
        return jax.lax.scan(update, carry, length=self.config.g_steps)[0]
