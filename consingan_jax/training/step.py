"""One training iteration and the loop over it, as pure functions of arrays (paper, section 3)."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.data import noise, window_sampling
from consingan_jax.nn.critic import Critic
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.intervals import crop, span
from consingan_jax.nn.layers import Architecture, Params
from consingan_jax.nn.receptive_field import Crop
from consingan_jax.nn.resize import Size
from consingan_jax.training import losses, optimizer
from consingan_jax.training.state import StageConstants, TrainState

WINDOWS = "windows"  # the mesh axis over which the windows of a divided program lie
Metrics = dict[str, jax.Array]
METRICS = (
    "critic_real",
    "critic_fake",
    "gradient_penalty",
    "generator",
    "reconstruction_rmse",
)


class StageStep:
    """The arithmetic of one stage; what is static in it is decided when it is made."""

    def __init__(
        self, config: Config, arch: Architecture, sizes: Sequence[Size], *, parts: int = 1
    ):
        """Prepares stage `len(sizes) - 1`.

        Args:
            config: the configuration.
            arch: the architecture of both networks.
            sizes: (height, width) of this stage and all below.
            parts: over how many devices the windows are divided evenly; `run` is then for
                `jax.shard_map` over the mesh axis `WINDOWS`.
        """
        self.config, self.parts = config, parts
        self.generator, self.critic = Generator(arch), Critic(arch)
        self.sizes = tuple(sizes)
        self.stage = len(sizes) - 1
        self.num_frozen = optimizer.num_frozen(self.stage, config.train_depth)
        self.random_input = config.task_spec.random_input
        if config.fine_tune:
            assert config.task_spec.composite_input, "the configuration refuses the other tasks"
            self.random_input = config.task_spec.composite_input
        self.critic_optimizer = optimizer.critic_optimizer(config, stage=self.stage)
        self.window = window_sampling.window_size(config, self.stage, self.sizes[-1])
        self.num_windows = config.windows if self.window != self.sizes[-1] else 1

    def __eq__(self, other: object) -> bool:
        """Returns whether the arithmetic is the same, whatever the image and the seed."""
        return isinstance(other, StageStep) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple:
        return self.config.of_any_picture(), self.generator.arch, self.sizes, self.parts

    def divided(self, parts: int) -> "StageStep":
        """Returns the same with its windows divided over so many devices."""
        return StageStep(self.config, self.generator.arch, self.sizes, parts=parts)

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

    def view(self, key: jax.Array, step: jax.Array) -> Crop:
        """Returns this device's windows of one iteration; `key` is the stage's."""
        if self.window == self.sizes[-1]:
            return self.generator.view(self.sizes)
        place = jax.lax.axis_index(WINDOWS) if self.parts > 1 else 0
        numbers = (
            step * self.num_windows + place * self._own_windows + jnp.arange(self._own_windows)
        )
        top, left = window_sampling.sample_origins(
            key, numbers, level=self.sizes[-1], window=self.window
        )
        return self.generator.view(self.sizes, top=top, left=left, size=self.window)

    @property
    def _own_windows(self) -> int:
        return self.num_windows // self.parts

    def kept(self, fixed: noise.NoiseSource) -> noise.NoiseSource:
        """Returns z* with those of its grids stored that every iteration needs whole."""
        view = self.any_view()
        whole = sum(view.is_whole(i) for i in range(len(self.sizes)))
        drawn = fixed.draw(view.noise(self.generator.arch)[:whole])
        return dataclasses.replace(fixed, given=(*drawn, *fixed.given[whole:]))

    def frozen_features(
        self, generator: Params, fixed: noise.NoiseSource, noise_amps: jax.Array
    ) -> jax.Array | None:
        """Returns the features of z* at the last frozen stage, where they can be kept.

        None if no stage is frozen, or if the windows do not need the whole of that stage.
        """
        view = self.any_view()
        if not self.num_frozen or not view.is_whole(self.num_frozen - 1):
            return None
        z = fixed.draw(view.noise(self.generator.arch)[: self.num_frozen])
        return self.generator.features(generator, z, noise_amps, view)

    def any_view(self) -> Crop:
        """Returns windows as those of an iteration: all have the same sizes."""
        return self.view(numerics.key(0), jnp.zeros((), jnp.int32))

    def draw(self, key: jax.Array, data: StageConstants, view: Crop) -> tuple[noise.Z, jax.Array]:
        """Returns the random input of one iteration: z_0 .. z_d, and e of each critic step."""
        z_key, input_key, mix_key = jax.random.split(key, 3)
        given: tuple = ()
        if self.random_input != "gaussian":
            given = (noise.INPUTS[self.random_input](input_key, data.coarsest),)
        source = noise.NoiseSource(noise.stage_keys(z_key, len(self.sizes)), given)
        z = source.draw(view.noise(self.generator.arch))
        return z, jax.random.uniform(mix_key, (self.config.stage(self.stage).d_steps,))

    def iterate(
        self, state: TrainState, data: StageConstants, z: noise.Z, mixes: jax.Array, view: Crop
    ) -> tuple[TrainState, Metrics]:
        """Returns the state after one iteration, and its losses.

        Args:
            state: the state before.
            data: what stays the same.
            z: z_0 .. z_d, the random input.
            mixes: `[d_steps]`, the share of the real image in each gradient penalty.
            view: the windows that it looks at.

        Returns:
            The new state; metrics, those of the critic as `[d_steps]`.
        """
        spans = [axis.image for axis in view.axes]
        real = crop(data.real, [span(n) for n in self.sizes[-1]], spans)
        # Both images leave the generator in one pass, whose pullback waits for the critic: the
        # generator does not change meanwhile, so nothing has to be computed again.
        pair, pullback = jax.vjp(self._random_and_fixed(state, data, z, view), state.generator)
        fake, _ = jnp.split(pair, 2)
        (critic, critic_opt), critic_metrics = jax.lax.scan(
            lambda carry, mix: self._critic_step(*carry, real, fake, mix),
            (state.critic, state.critic_opt),
            mixes,
        )
        image_gradient, metrics = jax.grad(self._loss_of_images(critic, real), has_aux=True)(pair)
        gradient, metrics = self._over_devices((*pullback(image_gradient), metrics))
        metrics["reconstruction_rmse"] = jnp.sqrt(metrics.pop("reconstruction_mse"))
        generator, generator_opt = self._generator_updates(state, gradient)
        state = TrainState(generator, critic, generator_opt, critic_opt, state.step + 1)
        return state, {**critic_metrics, **metrics}

    def run(self, state: TrainState, data: StageConstants, key: jax.Array, num_iters: jax.Array):
        """Returns the state after `num_iters` (traced) iterations, and the last one's metrics.

        The randomness of an iteration is a function of `key` and its number alone, so the result
        does not depend on how a stage is divided into calls. The metrics hold "finite" besides:
        1 where every parameter is a finite number.
        """

        window_key, draw_key = jax.random.split(key)

        def body(_, carry):
            state, _ = carry
            view = self.view(window_key, state.step)
            z, mixes = self.draw(jax.random.fold_in(draw_key, state.step), data, view)
            state, metrics = self.iterate(state, data, z, mixes, view)
            return state, jax.tree.map(jnp.mean, metrics)

        metrics = {name: jnp.zeros(()) for name in METRICS}
        state, metrics = jax.lax.fori_loop(0, num_iters, body, (state, metrics))
        parameters, _ = ravel_pytree((state.generator, state.critic))
        finite = jnp.isfinite(parameters).all()
        return state, {**metrics, "finite": finite.astype(jnp.float32)}

    def _random_and_fixed(self, state, data, z, view):
        """Returns the function: generator parameters -> images of z, then of z*, `[2 N, ...]`."""
        first, z_star = self.num_frozen, data.fixed.draw(view.noise(self.generator.arch))
        pairs = [jnp.concatenate(both) for both in zip(z, z_star, strict=True)]
        both = view.repeated(2) if self._own_windows > 1 else view
        fold = functools.partial(self.generator.features, noise_amps=data.noise_amps, view=both)
        x = None
        if data.frozen_features is not None:
            below = self.generator.features(state.generator, z[:first], data.noise_amps, view)
            x = jnp.concatenate([below, data.frozen_features])
        elif first:
            x = fold(state.generator, pairs[:first])

        def images(generator):
            features = fold(generator, pairs, first=first, x=x, remat=self.config.remat)
            return self.generator.image(generator, features, both)

        return images

    def _critic_step(self, critic, critic_opt, real, fake, mix):
        def loss(critic):
            def scores(images):
                return self.critic.scores(critic, images)

            return losses.critic_loss(scores, real, fake, mix, gp_weight=self.config.gp_weight)

        gradient, metrics = self._over_devices(jax.grad(loss, has_aux=True)(critic))
        updates, critic_opt = self.critic_optimizer.update(gradient, critic_opt, critic)
        return (optax.apply_updates(critic, updates), critic_opt), metrics

    def _over_devices(self, tree):
        """Returns means over the devices' windows, by one collective."""
        if self.parts == 1:
            return tree
        flat, unravel = ravel_pytree(tree)
        return unravel(jax.lax.pmean(flat, WINDOWS))

    def _loss_of_images(self, critic, real):
        """Returns the function: images of z and z* -> generator loss."""

        def loss(pair):
            fake, reconstruction = jnp.split(pair, 2)
            return losses.generator_loss(
                lambda images: self.critic.scores(critic, images),
                fake,
                reconstruction,
                real,
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
        return jax.lax.scan(update, carry, length=self.config.stage(self.stage).g_steps)[0]
