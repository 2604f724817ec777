"""One training iteration and the loop over it, as pure functions of arrays (paper, section 3)."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from consingan_jax.config import Config
from consingan_jax.data import noise, window_sampling
from consingan_jax.data.noise import ReconstructionNoise
from consingan_jax.generation.sampling import TiledRenderer
from consingan_jax.nn.critic import Critic
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.intervals import crop, span
from consingan_jax.nn.layers import Architecture, Params
from consingan_jax.nn.receptive_field import Crop
from consingan_jax.nn.resize import Size
from consingan_jax.training import losses, optimizer
from consingan_jax.training.iteration import WINDOWS, Iteration
from consingan_jax.training.state import StageConstants, TrainState, appended


class StageStep(Iteration):
    """The training iteration of one stage of ConSinGAN."""

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
        super().__init__(config, arch, sizes, parts=parts)
        self.generator, self.critic = Generator(arch), Critic(arch)
        self.num_frozen = optimizer.num_frozen(self.stage, config.train_depth)
        self.random_input = config.task_spec.random_input
        if config.fine_tune:
            assert config.task_spec.composite_input, "Config refuses to fine-tune other tasks"
            self.random_input = config.task_spec.composite_input
        self.critic_optimizer = optimizer.critic_optimizer(config, stage=self.stage)
        self.window = window_sampling.window_size(config, self.stage, self.sizes[-1])
        self.num_windows = config.windows if self.window != self.sizes[-1] else 1
        self._ema_decay = config.stage(self.stage).ema_decay
        self._own_windows = self.num_windows // parts  # of each device

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

    def grown(self, below: TrainState, key: jax.Array) -> tuple[Params, Params]:
        """Returns copies of the networks below; the newest stage is one of the last."""
        return self.generator.grow(below.sampled), below.critic

    def first_fixed(self, key: jax.Array, level: jax.Array) -> jax.Array:
        """Returns z*_0 of a new run, of the kind that the task names."""
        return noise.INPUTS[self.config.task_spec.fixed_input](key, level)

    def below(self, generator: Params, fixed: ReconstructionNoise, amps: jax.Array) -> np.ndarray:
        """Returns the reconstruction at the start of the stage, without its noise."""
        # In tiles, since the features of a large level may not fit into memory.
        renderer = TiledRenderer(generator, appended(amps, 0), self.generator, self.sizes)
        return renderer.picture(fixed.source(len(self.sizes)))

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
        fake, _ = jnp.split(pair, 2)
        numbers = state.step * len(mixes) + jnp.arange(len(mixes))
        (critic, critic_opt), critic_metrics = jax.lax.scan(
            lambda carry, given: self._critic_step(real, fake, carry, *given, **weights),
            (state.critic, state.critic_opt),
            (mixes, numbers),
        )

        def loss(pair: jax.Array) -> tuple[jax.Array, losses.Metrics]:
            scores, weight = functools.partial(self.critic.scores, critic), self.config.rec_weight
            fake, reconstruction = jnp.split(pair, 2)
            return losses.generator_loss(
                *(scores, fake, reconstruction, real),
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
