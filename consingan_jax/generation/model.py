"""Defines `Model`, with which users sample, reconstruct, animate and harmonize."""

import dataclasses
import html
from collections.abc import Iterator

import jax
import numpy as np

from consingan_jax import numerics
from consingan_jax.errors import InputError
from consingan_jax.generation import animation, enlarging, filling, inputs, painting, sampling
from consingan_jax.generation.composite import (
    CompositeResult,
    apply_mask,
    check_takes_composites,
    own_size,
)
from consingan_jax.generation.sampling import Length, Window
from consingan_jax.generation.trained import TrainedGenerator
from consingan_jax.images.display import ImageArray, as_picture, to_figure


@dataclasses.dataclass(frozen=True, eq=False)
class Model(TrainedGenerator):
    """A generator of images like one training image.

    Images are NHWC, float32 in [-1, 1]; a notebook shows those that the methods return.

    Attributes:
        params: the generator's parameters; those of ConSinGAN are `{"head", "stages": [...],
            "tail"}`.
        generator: the network that takes them.
        real: `[1, H, W, C]`, the training image at the model's own resolution.
        sizes: (height, width) of each stage.
        size: (height, width) of the last stage.
        config: the resolved training configuration.
        finished: whether the training is complete.
    """

    def sample(
        self,
        seed: int = 0,
        num_samples: int = 1,
        *,
        width: Length = None,
        height: Length = None,
        start_stage: int = 0,
        tile: str | None = None,
    ) -> np.ndarray:
        """Generates images (paper, section 3).

        Image j depends on `seed + j` alone: it is the same whatever `num_samples` is.

        Args:
            seed: seed of the first image.
            num_samples: number of images.
            width: pixels, or a factor such as "2x"; None keeps the model's own width.
            height: likewise.
            start_stage: stages below it use z* instead of noise, which keeps the layout.
            tile: "horizontal", "vertical" or "both": copies of the image side by side in this
                direction have no seam.

        Returns:
            `[num_samples, height, width, C]`, float32 in [-1, 1].

        Raises:
            InputError: an argument is out of range.
        """
        size = {"width": width, "height": height}
        images = self.samples(seed, num_samples, **size, start_stage=start_stage, tile=tile)
        return np.stack(list(images)).view(ImageArray)

    @numerics.independent
    def samples(
        self,
        seed: int = 0,
        num_samples: int = 1,
        *,
        width: Length = None,
        height: Length = None,
        start_stage: int = 0,
        tile: str | None = None,
    ) -> Iterator[np.ndarray]:
        """Returns an iterator over the images `[H, W, C]` of `sample`, one in memory at a time."""
        if num_samples < 1:
            raise InputError(f"num_samples={num_samples}: give 1 or more")
        inputs.check_seed(seed, num_samples)
        inputs.check_stage(self, start_stage)
        wraps = inputs.wrapped_axes(self, tile, from_z_star=start_stage > 0)
        renderer = sampling.renderer(self, height, width, wraps=wraps)
        # A generator expression, so that each input is drawn when its image is asked for.
        return renderer.pictures(
            inputs.sample_input(self, number, renderer.sizes[0], start_stage=start_stage)
            for number in range(seed, seed + num_samples)
        )

    @numerics.independent
    def window(
        self,
        seed: int,
        top: int,
        left: int,
        height: int,
        width: int,
        *,
        canvas: tuple[int, int],
        start_stage: int = 0,
    ) -> np.ndarray:
        """Generates a part of a sample of up to 2,000,000 px a side, without the rest.

        Args:
            seed: seed of the sample.
            top: first row of the part in the whole image.
            left: first column.
            height: height of the part, in pixels.
            width: width of the part.
            canvas: (height, width) of the whole image, in pixels.
            start_stage: as for `sample`.

        Returns:
            `[height, width, C]`, float32 in [-1, 1].

        Raises:
            InputError: the part does not lie in the canvas or is too large to return, or the model
                generates whole images only.
        """
        source, whole = sampling.windowed_sample(
            self, seed, height=canvas[0], width=canvas[1], start_stage=start_stage
        )
        sampling.check_window(top, left, height, width, canvas=whole.sizes[-1])
        return whole.part(source, top=top, left=left, size=(height, width)).view(ImageArray)

    @numerics.independent
    def reconstruct(self) -> np.ndarray:
        """Returns the training image as learned: `[1, H, W, C]`, generated from z*."""
        picture = sampling.renderer(self).picture(inputs.z_star(self))
        return picture[None].view(ImageArray)

    def reconstruction_rmse(self) -> float:
        """Returns the root mean square error of `reconstruct`, on [-1, 1], outside of a hole."""
        error = np.square(self.reconstruct() - self.real)
        return float(np.sqrt(np.mean(error if self.hole is None else error[:, ~self.hole])))

    @numerics.independent
    def harmonize(
        self, composite: np.ndarray, *, mask: np.ndarray | None = None, seed: int = 0
    ) -> CompositeResult:
        """Gives a pasted object the training image's style (paper, section 4).

        A composite of another aspect ratio than the training image's keeps its own; its long side
        becomes the model's.

        Args:
            composite: `[H, W, C]` in [-1, 1], or uint8, any size.
            mask: `[H, W]` of 0 and 1 (any size), 1 inside the object; None keeps the whole result.
            seed: seed of the noise that editing models add to the composite.

        Returns:
            The result at the model's resolution, with and without mask; see `CompositeResult`.

        Raises:
            InputError: the model's task takes no composite, or a shape is wrong.
        """
        check_takes_composites(self.config)
        inputs.check_seed(seed)
        composite = as_picture("composite", composite, self.arch.channels)
        renderer = sampling.renderer(self, *own_size(composite.shape, self.size))
        source = inputs.composite_input(self, seed, composite, renderer.sizes[0])
        return apply_mask(renderer.picture(source), composite, mask, radius=self.task.mask_radius)

    @numerics.independent
    def fill(
        self,
        seed: int = 0,
        num_samples: int = 1,
        *,
        start_stage: int = 0,
        picture: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Fills the hole of the training image, the part that was not learned (`config.exclude`).

        Filling j depends on `seed + j` alone, and nothing changes outside of the hole.

        Args:
            seed, num_samples, start_stage: as for `sample`.
            picture: the image `[H, W, C]` and its hole `[H, W]` at another size than the model's.

        Returns:
            `[num_samples, H, W, C]`, float32 in [-1, 1].

        Raises:
            InputError: the model has no hole, or an argument is out of range.
        """
        images = filling.fillings(self, seed, num_samples, start_stage=start_stage, picture=picture)
        return np.stack(list(images)).view(ImageArray)

    @numerics.independent
    def enlarge(self, scale: float = 4.0, *, seed: int = 0, faithful: bool = False) -> np.ndarray:
        """Enlarges the training image with details like its own (super-resolution).

        Args:
            scale: factor of both sides, above 1 and up to 16.
            seed: seed of the noise.
            faithful: whether the result is then moved to the nearest image that shrinks to the
                training image again.

        Returns:
            `[1, H, W, C]`, float32 in [-1, 1].

        Raises:
            InputError: the model's task does not enlarge, or an argument is out of range.
        """
        image = enlarging.enlarged(self, scale, seed, faithful=faithful)
        return image[None].view(ImageArray)

    @numerics.independent
    def paint(
        self,
        picture: np.ndarray,
        seed: int = 0,
        num_samples: int = 1,
        *,
        start_stage: int = 1,
        colours: int = 0,
    ) -> np.ndarray:
        """Gives a painting the look of the training image (SinGAN's paper, section 4).

        A painting of another aspect ratio than the training image's keeps its own; its long side
        becomes the model's.

        Args:
            picture: `[H, W, C]` in [-1, 1], or uint8, any size.
            seed: seed of the first image.
            num_samples: number of images.
            start_stage: where the painting enters: at a higher stage more of it is kept, and at a
                lower one more is made up. From 1 on with SinGAN.
            colours: reduce the painting to so many colours of the training image; 0: not at all.

        Returns:
            `[num_samples, h, w, C]`, float32 in [-1, 1].

        Raises:
            InputError: the model takes no paintings, or an argument is out of range.
        """
        picture = as_picture("painting", picture, self.arch.channels)
        asked = {"start_stage": start_stage, "colours": colours}
        images = painting.paintings(self, picture, seed, num_samples, **asked)
        return np.stack(list(images)).view(ImageArray)

    edit = harmonize  # The task table holds all in which editing differs.

    @numerics.independent
    def animate(
        self,
        key: jax.Array | int = 0,
        *,
        frames: int = 100,
        alpha: float = 0.1,
        beta: float = 0.9,
        start_stage: int = 0,
        loop: bool = False,
        width: Length = None,
        height: Length = None,
        tile: str | None = None,
        window: Window | None = None,
    ) -> Iterator[np.ndarray]:
        """Returns an iterator over the frames `[H, W, C]` of a random walk of the noise around z*.

        Args:
            key: a random key, or a seed.
            frames: number of frames.
            alpha: 0 to 1, how strongly the walk is drawn back to the training image.
            beta: 0 to 1, how smooth the walk is.
            start_stage: stages below it stand still, which keeps the layout.
            loop: whether the last frame leads to the first as any frame to the next.
            width: as for `sample`.
            height: as for `sample`.
            tile: as for `sample`, with models of the task animation.
            window: (top, left, height, width) of the part of the frames to generate, as in
                `window`, at most 945 px a side; the canvas may then have 2,000,000 px a side.

        Raises:
            InputError: the model's task has no animations, or an argument is out of range.
        """
        animation.check_task(self.config)
        animation.check(alpha=alpha, beta=beta, num_frames=frames, loop=loop)
        if isinstance(key, (int, np.integer)):
            inputs.check_seed(key)
            key = numerics.key(int(key))
        inputs.check_stage(self, start_stage)
        walk = animation.Walk(
            inputs.z_star(self),
            *(key, alpha, beta, start_stage, self.config.method_spec.walk_start),
            period=frames if loop else animation.NO_PERIOD,
        )
        wraps = inputs.wrapped_axes(self, tile, from_z_star=True)
        view = sampling.crop(self, height, width, window, wraps=wraps)
        return animation.frames(
            self.params, self.noise_amps, walk, frames, generator=self.generator, view=view
        )

    def _repr_html_(self) -> str:
        stages = " &rarr; ".join(f"{height}x{width}" for height, width in self.sizes)
        caption = f"{html.escape(self.describe())}<br>{stages}; {self.config.task}"
        return to_figure(self.real[0], "training image", caption)
