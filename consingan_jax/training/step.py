"""One training iteration and the loop over it, as pure functions of arrays (paper, section 3)."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from consingan_jax import numerics
from consingan_jax.config import Config
from consingan_jax.data import exclusion, noise, window_sampling
from consingan_jax.nn.critic import Critic
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.intervals import crop, span
from consingan_jax.nn.layers import Architecture, Params
from consingan_jax.nn.receptive_field import Crop
from consingan_jax.nn.resize import Size
from consingan_jax.training import losses, optimizer
from consingan_jax.training.state import StageConstants, TrainState

WINDOWS = "windows"  # the mesh axis along which the windows of an iteration are divided
METRICS = ("critic_real", "critic_fake", "gradient_penalty", "generator", "reconstruction_rmse")


class StageStep:
    """The training iteration of one stage. Its attributes are static when it is compiled."""

    def __init__(
        self, config: Config, arch: Architecture, sizes: Sequence[Size], *, parts: int = 1
    ):
        """Prepares stage `len(sizes) - 1`.

        Args:
            config: the configuration.
            arch: the architecture of both networks.
            sizes: (height, width) of this stage and all below.
            parts: number of devices that share the windows evenly. Above 1, `run` must be called
                inside `jax.shard_map` over the mesh axis `WINDOWS`.
        """
        self.config, self.parts = config, parts
        self.generator, self.critic = Generator(arch), Critic(arch)
        self.sizes = tuple(sizes)
        self.stage = len(sizes) - 1
        self.num_frozen = optimizer.num_frozen(self.stage, config.train_depth)
        self.random_input = config.task_spec.random_input
        if config.fine_tune:
            assert config.task_spec.composite_input, "Config refuses to fine-tune other tasks"
            self.random_input = config.task_spec.composite_input
        self.critic_optimizer = optimizer.critic_optimizer(config, stage=self.stage)
        self.window = window_sampling.window_size(config, self.stage, self.sizes[-1])
        self.num_windows = config.windows if self.window != self.sizes[-1] else 1
        self._ema_decay = config.stage(self.stage).ema_decay
        self._relativistic = config.loss == "relativistic"
        self._own_windows = self.num_windows // parts  # of each device
        self._identity = (config.of_any_picture(), arch, self.sizes, parts)

    # Equal steps compile to the same program, so runs that differ in image and seed can share one.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, StageStep) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def divided(self, parts: int) -> "StageStep":
        """Returns this step with its windows divided over `parts` devices."""
        return StageStep(self.config, self.generator.arch, self.sizes, parts=parts)

    def generator_optimizer(self, params: Params) -> optax.GradientTransformation:
        """Returns the generator's optimiser for parameters of this structure."""
        return optimizer.generator_optimizer(self.generator, params, self.config, stage=self.stage)

    def init(self, generator: Params, critic: Params) -> TrainState:
        """Returns the initial state of the stage, with new optimiser states."""
        return TrainState(
            generator=generator,
            critic=critic,
            generator_opt=self.generator_optimizer(generator).init(generator),
            critic_opt=self.critic_optimizer.init(critic),
            step=jnp.zeros((), jnp.int32),
            # A copy, since the memory of a state is given to the next one, once.
            average=jax.tree.map(jnp.copy, generator) if self._ema_decay else None,
        )

    def view(self, key: jax.Array, step: jax.Array) -> Crop:
        """Returns the windows that this device sees in iteration `step`; `key` is the stage's."""
        if self.window == self.sizes[-1]:
            return self.generator.view(self.sizes)
        # Windows are numbered through all iterations and devices. A device computes the positions
        # of its own from their numbers, so no device has to send positions to the others.
        device = jax.lax.axis_index(WINDOWS) if self.parts > 1 else 0
        first = step * self.num_windows + device * self._own_windows
        numbers = first + jnp.arange(self._own_windows)
        top, left = window_sampling.sample_origins(
            key, numbers, level=self.sizes[-1], window=self.window
        )
        return self.generator.view(self.sizes, top=top, left=left, size=self.window)

    def with_whole_grids(self, fixed: noise.NoiseSource) -> noise.NoiseSource:
        """Returns z* with the grids stored that every iteration needs as a whole."""
        # Normally z* is drawn again from its key, since windows need only parts of it. But a grid
        # that is needed whole is the same in every iteration, so it is drawn once. If a stage is
        # needed whole, so are all below it: these grids are the first ones.
        view = self.any_view()
        whole = sum(view.is_whole(i) for i in range(len(self.sizes)))
        drawn = fixed.draw(view.noise(self.generator.arch)[:whole])
        return dataclasses.replace(fixed, given=(*drawn, *fixed.given[whole:]))

    def frozen_features(
        self, generator: Params, fixed: noise.NoiseSource, noise_amps: jax.Array
    ) -> jax.Array | None:
        """Returns the features of z* at the last frozen stage; None if none can be kept."""
        # Neither the frozen parameters nor z* change during a stage, so their features are
        # computed once, except where an iteration needs the part below its windows or a hole's.
        view = self.any_view()
        if not self.num_frozen or not view.is_whole(self.num_frozen - 1) or self.config.exclude:
            return None
        z = fixed.draw(view.noise(self.generator.arch)[: self.num_frozen])
        return self.generator.features(generator, z, noise_amps, view)

    def any_view(self) -> Crop:
        """Returns some windows, for questions about sizes, which all windows have in common."""
        return self.view(numerics.key(0), jnp.zeros((), jnp.int32))

    def draw(self, key: jax.Array, data: StageConstants, view: Crop) -> tuple[noise.Z, jax.Array]:
        """Draws the random input of one iteration: z_0 .. z_d, and `mixes` of the critic steps."""
        z_key, input_key, mix_key = jax.random.split(key, 3)
        given: tuple = ()
        if self.random_input != "gaussian":
            given = (noise.INPUTS[self.random_input](input_key, data.coarsest),)
        source = noise.NoiseSource(noise.stage_keys(z_key, len(self.sizes)), given)
        z = source.draw(view.noise(self.generator.arch))
        return z, jax.random.uniform(mix_key, (self.config.stage(self.stage).d_steps,))

    def iterate(
        self, state: TrainState, data: StageConstants, z: noise.Z, mixes: jax.Array, view: Crop
    ) -> tuple[TrainState, losses.Metrics]:
        """Returns the state after one iteration, and its losses, `[d_steps]` of the critic's.

        Args:
            state: the state before.
            data: the constants of the stage.
            z: z_0 .. z_d, the random input.
            mixes: `[d_steps]`, the share of the real image in each gradient penalty.
            view: the windows of this iteration.
        """
        spans = [axis.image for axis in view.axes]
        real = crop(data.real, [span(n) for n in self.sizes[-1]], spans)
        # The critic trains on G(z). The generator's loss then needs G(z), G(z*) and the new critic,
        # and G has not changed meanwhile. So one forward pass makes both images, and its pullback
        # waits for the gradient of the loss in the images. `jax.grad` of that loss in the
        # parameters would run G a second time.
        pair, pullback = jax.vjp(self._random_and_fixed(state, data, z, view), state.generator)
        weights = data.exclusion.weights(spans) if data.exclusion else {}
        judged = functools.partial(exclusion.judged, weights, state.step, real)
        critic_step = functools.partial(self._critic_step, real, judged(pair)[0], weights)
        numbers = state.step * len(mixes) + jnp.arange(len(mixes))
        (critic, critic_opt), critic_metrics = jax.lax.scan(
            critic_step, (state.critic, state.critic_opt), (mixes, numbers)
        )

        def loss(pair: jax.Array) -> tuple[jax.Array, losses.Metrics]:
            scores, weight = functools.partial(self.critic.scores, critic), self.config.rec_weight
            return losses.generator_loss(
                *(scores, *judged(pair), real),
                rec_weight=weight,
                relativistic=self._relativistic,
                pixels=weights.get("pixels"),
            )

        # Differentiating in the images computes no gradient of the critic's parameters.
        image_gradient, metrics = jax.grad(loss, has_aux=True)(pair)
        gradient, metrics = self._over_devices((*pullback(image_gradient), metrics))
        # The root is taken after the mean over devices, or it would not be that of all windows.
        metrics["reconstruction_rmse"] = jnp.sqrt(metrics.pop("reconstruction_mse"))
        # The published program applies this one gradient `g_steps` times (docs/design.md).
        adam = self.generator_optimizer(state.generator)
        g_steps = self.config.stage(self.stage).g_steps
        generator, generator_opt = optimizer.repeated_update(
            adam, gradient, state.generator, state.generator_opt, num_updates=g_steps
        )
        average = optimizer.moving_average(
            state.average, generator, state.step, decay=self._ema_decay
        )
        state = TrainState(generator, critic, generator_opt, critic_opt, state.step + 1, average)
        return state, {**critic_metrics, **metrics}

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

    def _random_and_fixed(
        self, state: TrainState, data: StageConstants, z: noise.Z, view: Crop
    ) -> Callable[[Params], jax.Array]:
        """Returns the function: generator parameters -> images of z, then of z*, `[2 N, ...]`."""
        first, wanted = self.num_frozen, view.noise(self.generator.arch)
        z_star = data.fixed.draw(wanted)
        if data.exclusion:
            z_star = noise.in_hole(data.exclusion.holes, wanted, z, z_star)
        pairs = [jnp.concatenate(both) for both in zip(z, z_star, strict=True)]
        both = view.repeated(2) if self._own_windows > 1 else view
        fold = functools.partial(self.generator.features, noise_amps=data.noise_amps, view=both)
        # Frozen stages are computed outside of `images`, the function that is differentiated, so
        # no backward pass goes through them and nothing in them is stored for one.
        x = None
        if data.frozen_features is not None:
            below = self.generator.features(state.generator, z[:first], data.noise_amps, view)
            x = jnp.concatenate([below, data.frozen_features])
        elif first:
            x = fold(state.generator, pairs[:first])

        def images(generator: Params) -> jax.Array:
            features = fold(generator, pairs, first=first, x=x, remat=self.config.remat)
            return self.generator.image(generator, features, both)

        return images

    def _critic_step(
        self,
        real: jax.Array,
        fake: jax.Array,
        weights: dict,
        carry: tuple,
        mix_and_number: tuple,
    ) -> tuple[tuple, losses.Metrics]:
        critic, critic_opt = carry
        mix, number = mix_and_number
        every = self.config.gp_every

        def gradient(critic: Params, gp_weight: float) -> tuple[Params, losses.Metrics]:
            def loss(critic: Params) -> tuple[jax.Array, losses.Metrics]:
                scores = functools.partial(self.critic.scores, critic)
                return losses.critic_loss(
                    *(scores, real, fake, mix),
                    gp_weight=gp_weight,
                    relativistic=self._relativistic,
                    **weights,
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
