"""The trained model: sampling, reconstruction, animation, harmonization."""

import base64
import dataclasses
import functools
import html
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from consingan_jax import checkpoint, numerics, tasks
from consingan_jax.config import Config
from consingan_jax.data import noise
from consingan_jax.data.display import ImageArray, as_picture, to_png
from consingan_jax.data.pixels import PixelFormat
from consingan_jax.errors import InputError
from consingan_jax.generation import animation, sampling
from consingan_jax.generation.composite import CompositeResult, applied, own_size
from consingan_jax.generation.inputs import GeneratorInputs
from consingan_jax.nn.generator import Generator
from consingan_jax.nn.layers import Architecture, Params
from consingan_jax.nn.resize import Size

MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A generator of images like one training image.

    Images are NHWC, float32 in [-1, 1].

    Attributes:
        params: `{"head", "stages": [...], "tail"}`, the generator's parameters.
        fixed: z*, the fixed input that gives the training image back, as far as it is stored.
        noise_amps: `[stages]`, amplitude of every stage's noise.
        real: `[1, H, W, C]`, the training image at the model's own resolution.
        arch: the architecture.
        sizes: (height, width) of every stage.
        config: the resolved configuration it was trained with.
        step: iterations done in the last stage.
        per_pixel: whether samples draw their noise pixel by pixel; those of format 1 draw it whole.
        encoding: what the numbers in the training image's file mean: depth, black and white, mask.
    """

    params: Params
    fixed: noise.ReconstructionNoise
    noise_amps: jax.Array
    real: np.ndarray
    arch: Architecture
    sizes: tuple[Size, ...]
    config: Config
    step: int
    per_pixel: bool = True
    encoding: PixelFormat = dataclasses.field(default_factory=PixelFormat)

    @property
    def task(self) -> tasks.Task:
        """The row of the task table that the model was trained for."""
        return self.config.task_spec

    @property
    def generator(self) -> Generator:
        """The generator of the architecture, which takes `params`."""
        return Generator(self.arch)

    @property
    def size(self) -> Size:
        """Height and width of the model's own resolution."""
        return self.sizes[-1]

    @property
    def finished(self) -> bool:
        """Whether all stages are there and trained to their end."""
        newest = len(self.sizes) - 1
        is_last = newest == self.config.num_stages - 1
        return is_last and self.step == self.config.stage(newest).num_iters

    def describe(self) -> str:
        """Returns a line that says what this is, and how far it is trained."""
        height, width = self.size
        text = f"model of {pathlib.Path(self.config.image).name}, {height}x{width} px"
        if self.finished:
            return text
        return (
            f"{text}: an unfinished run at stage {len(self.sizes)} of {self.config.num_stages}, "
            f"iteration {self.step} of {self.config.stage(len(self.sizes) - 1).num_iters}"
        )

    def _repr_html_(self) -> str:
        """Shows what it was learned from, in a notebook."""
        source = f"data:image/png;base64,{base64.b64encode(to_png(self.real[0])).decode()}"
        stages = " &rarr; ".join(f"{height}x{width}" for height, width in self.sizes)
        return (
            f'<figure style="margin:0"><img src="{source}" alt="training image">'
            f"<figcaption>{html.escape(self.describe())}<br>{stages}; {self.config.task}"
            "</figcaption></figure>"
        )

    def sample(
        self,
        seed: int = 0,
        num_samples: int = 1,
        *,
        width: int | str | None = None,
        height: int | str | None = None,
        start_stage: int = 0,
    ) -> np.ndarray:
        """Makes new images (paper, section 3).

        Image j depends on `seed + j` alone: it is the same whatever `num_samples` is.

        Args:
            seed: of the first image.
            num_samples: how many.
            width: of the images: pixels, or a factor such as "2x"; None keeps the model's.
            height: likewise.
            start_stage: stages below it use z* instead of noise, which keeps the layout.

        Returns:
            `[num_samples, height, width, C]`, float32 in [-1, 1]; a notebook shows the images.

        Raises:
            InputError: an argument is out of range.
        """
        images = self.samples(
            seed, num_samples, width=width, height=height, start_stage=start_stage
        )
        return np.stack(list(images)).view(ImageArray)

    @numerics.independent
    def samples(
        self,
        seed: int = 0,
        num_samples: int = 1,
        *,
        width: int | str | None = None,
        height: int | str | None = None,
        start_stage: int = 0,
    ) -> Iterator[np.ndarray]:
        """Returns an iterator over the images `[H, W, C]` of `sample`, one in memory at a time."""
        if num_samples < 1:
            raise InputError(f"num_samples={num_samples}: give 1 or more")
        _check_seed(seed, num_samples)
        self._check_stage(start_stage)
        sizes = self.stage_sizes(height, width)
        made = functools.partial(self.inputs.sample, coarsest=sizes[0], start_stage=start_stage)
        return self._renderer(sizes).pictures(map(made, range(seed, seed + num_samples)))

    @numerics.independent
    def window(
        self,
        seed: int,
        top: int,
        left: int,
        height: int,
        width: int,
        *,
        canvas: Size,
        start_stage: int = 0,
    ) -> np.ndarray:
        """Makes a part of a sample without the rest, which may be as large as anything.

        Args:
            seed: of the image.
            top: its first row, counted in the whole image.
            left: its first column.
            height: of the part, in pixels.
            width: of the part.
            canvas: (height, width) of the whole image.
            start_stage: as for `sample`.

        Returns:
            `[height, width, C]`, float32 in [-1, 1].

        Raises:
            InputError: it does not lie in the canvas or is too large to return, or the model works
                on whole images only.
        """
        size = {"height": canvas[0], "width": canvas[1]}
        source, whole = self.input_of(seed, **size, start_stage=start_stage)
        place = sampling.checked_window(top, left, height, width, canvas=whole.sizes[-1])
        return whole.part(source, **place).view(ImageArray)

    def check_windows(self) -> None:
        """Raises an InputError if this model can only make whole images."""
        if self.arch.batch_norm:
            why = "its normalisation takes statistics of whole images"
        elif self.task.composite_input is not None:
            why = f"the task {self.config.task} takes whole images"
        elif not self.per_pixel:
            why = "it is of format 1, whose noise is drawn for whole images: train it again"
        else:
            return
        raise InputError(f"this model cannot make windows or very large images: {why}")

    def renderer(
        self, height: int | str | None = None, width: int | str | None = None
    ) -> sampling.TiledRenderer:
        """Returns all images of one size, which are made window by window; it may be any size.

        Raises:
            InputError: the model works on whole images only, or a length cannot be.
        """
        self.check_windows()
        return self._renderer(self.stage_sizes(height, width, limit=sampling.MAX_CANVAS))

    def input_of(
        self,
        seed: int,
        *,
        height: int | str | None = None,
        width: int | str | None = None,
        start_stage: int = 0,
    ) -> tuple[noise.NoiseSource, sampling.TiledRenderer]:
        """Returns a sample's input and its canvas, from which any window of it can be made.

        Arguments and errors are those of `sample`, and those of `canvas`.
        """
        _check_seed(seed)
        self._check_stage(start_stage)
        canvas = self.renderer(height, width)
        return self.inputs.sample(seed, canvas.sizes[0], start_stage=start_stage), canvas

    def _renderer(self, sizes: tuple[Size, ...]) -> sampling.TiledRenderer:
        return sampling.TiledRenderer(
            self.params,
            self.noise_amps,
            self.generator,
            sizes,
            in_one_piece=not self.per_pixel,
        )

    @property
    def inputs(self) -> GeneratorInputs:
        """What makes the inputs of its generator."""
        return GeneratorInputs(self.fixed, self.task, self.real[0], len(self.sizes), self.per_pixel)

    @property
    @numerics.independent
    def z_star(self) -> list[jax.Array]:
        """z*_0 .. z*_d, each `[1, h, w, channels]`, for the model's own size."""
        return self.inputs.z_star().draw(self.generator.view(self.sizes).noise(self.arch))

    @numerics.independent
    def harmonize(
        self, composite: np.ndarray, *, mask: np.ndarray | None = None, seed: int = 0
    ) -> CompositeResult:
        """Gives a pasted object the training image's style (paper, section 4).

        Another aspect ratio than the training image's is kept: the model then works at the
        composite's, with its own long side.

        Args:
            composite: `[H, W, C]` in [-1, 1], or uint8, any size.
            mask: `[H, W]` of 0 and 1 (any size), 1 inside the object; None keeps the whole result.
            seed: of what little is random: an editing model adds noise to the composite.

        Returns:
            The result at the model's resolution, with and without mask; see `CompositeResult`.

        Raises:
            InputError: the model's task takes no composite, or a shape cannot work.
        """
        self.check_takes_composites()
        _check_seed(seed)
        composite = as_picture("composite", composite, self.arch.channels)
        height, width = own_size(composite.shape, self.size)
        sizes = self.stage_sizes(height, width)
        source = self.inputs.composite(seed, composite, sizes[0])
        picture = self._renderer(sizes).picture(source)
        return applied(picture, composite, mask, radius=self.task.mask_radius)

    edit = harmonize  # the same steps: what differs stands in the table of tasks

    def check_takes_composites(self) -> None:
        """Raises an InputError if the model's task takes no composites."""
        if self.task.composite_input is None:
            raise InputError(
                f"this model was trained for {self.config.task}: composites need one of "
                f"{tasks.names(takes_composite=True)}"
            )

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
        width: int | str | None = None,
        height: int | str | None = None,
        window: tuple[int, int, int, int] | None = None,
    ) -> Iterator[np.ndarray]:
        """Returns an iterator over the frames `[H, W, C]` of a walk around the training image.

        Args:
            key: a random key, or a seed.
            frames: how many.
            alpha: 0 to 1, how strongly the walk is drawn back to the training image.
            beta: 0 to 1, how smooth it is.
            start_stage: stages below it stand still, which keeps the layout.
            loop: whether the last frame leads to the first as any frame to the next.
            width: as for `sample`.
            height: as for `sample`.
            window: (top, left, height, width) of the only part of the frames to make, as in
                `window`, at most 945 px a side; the whole frame may then be as large as anything.

        Raises:
            InputError: the model's task makes no animations, or an argument is out of range.
        """
        if not self.task.can_animate:
            raise InputError(
                f"this model was trained for {self.config.task}: animations need one of "
                f"{tasks.names(can_animate=True)}"
            )
        animation.check(alpha=alpha, beta=beta, num_frames=frames, loop=loop)
        if isinstance(key, (int, np.integer)):
            _check_seed(key)
            key = numerics.key(int(key))
        self._check_stage(start_stage)
        limit = sampling.MAX_LENGTH if window is None else sampling.MAX_CANVAS
        sizes = self.stage_sizes(height, width, limit=limit)
        place: dict[str, Any] = {}
        if window is not None:
            self.check_windows()
            at_once = sampling.MAX_AT_ONCE
            place = sampling.checked_window(*window, canvas=sizes[-1], limit=at_once)
        return animation.frames(
            self.params,
            self.inputs.z_star(),
            self.noise_amps,
            key,
            frames,
            generator=self.generator,
            view=self.generator.view(sizes, **place),
            alpha=alpha,
            beta=beta,
            start_stage=start_stage,
            loop=loop,
        )

    def _check_stage(self, start_stage: int) -> None:
        if not 0 <= start_stage < len(self.sizes):
            raise InputError(
                f"start_stage={start_stage}: this model has the stages 0 to {len(self.sizes) - 1}"
            )

    def stage_sizes(
        self,
        height: int | str | None,
        width: int | str | None,
        *,
        limit: int = sampling.MAX_LENGTH,
    ) -> tuple[Size, ...]:
        """Returns (height, width) of every stage for an image of another size.

        Arguments and errors are those of `sample`; `limit` is the longest side, in pixels.
        """
        if height is None and width is None:
            return self.sizes
        rows = sampling.read_length("height", height, self.size[0], limit=limit)
        columns = sampling.read_length("width", width, self.size[1], limit=limit)
        if limit == sampling.MAX_LENGTH and rows.pixels * columns.pixels > sampling.MAX_PIXELS:
            raise InputError(
                f"height={rows.pixels} and width={columns.pixels}: an image of so many pixels "
                "takes a file .zarr or .tif as --out; or make parts of it by `Model.window`"
            )
        return sampling.target_sizes(self.sizes, rows, columns)

    @numerics.independent
    def reconstruct(self) -> np.ndarray:
        """Returns the image `[1, H, W, C]` that z* gives: the training image, as learned."""
        return self._renderer(self.sizes).picture(self.inputs.z_star())[None].view(ImageArray)

    def reconstruction_rmse(self) -> float:
        """Returns the root mean square error of `reconstruct`, on [-1, 1]."""
        return float(np.sqrt(np.mean(np.square(self.reconstruct() - self.real))))

    def num_params(self) -> int:
        """Returns how many parameters its generator has."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    def tree(self) -> dict[str, Any]:
        """Returns the arrays of the model, as a checkpoint holds them."""
        return {
            "params": self.params,
            "z_star": self.fixed.stored,
            "noise_amps": self.noise_amps,
            "real": self.real,
        }

    def metadata(self) -> dict[str, Any]:
        """Returns everything else about the model, in plain JSON types."""
        return {
            "architecture": dataclasses.asdict(self.arch),
            "sizes": [list(size) for size in self.sizes],
            "config": self.config.to_dict(),
            "step": self.step,
            "noise": {
                "seed": self.fixed.seed,
                "num_stored": len(self.fixed.stored),
                "by_place": self.per_pixel,
            },
            "encoding": self.encoding.to_dict(),
        }

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the model to a new directory, complete in itself."""
        checkpoint.save(pathlib.Path(path), self.tree(), self.metadata())


def _check_seed(seed: int, num: int = 1) -> None:
    if not isinstance(seed, (int, np.integer)):
        raise InputError(f"seed={seed!r}: give a whole number")
    if not 0 <= seed <= MAX_SEED + 1 - num:
        of = f" of {num} samples" if num > 1 else ""
        raise InputError(f"seed={seed}{of}: give one from 0 to {MAX_SEED + 1 - num}")
