"""Writes the images, composites and animations that a model generates."""

import dataclasses
import errno
import functools
import itertools
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from consingan_jax import checkpoint
from consingan_jax.errors import InputError
from consingan_jax.generation import composite, filling, inputs, painting, restore, video
from consingan_jax.generation.model import Model
from consingan_jax.images import display, loading, masks
from consingan_jax.images.loading import LoadedImage
from consingan_jax.nn import resize

GRID = 24  # largest number of samples in the grid, besides the training image
# The animations of the published program.
BETAS = (0.8, 0.85, 0.9, 0.95)
START_STAGES = (0, 1, 2)
SHEET_SIDE = 1024  # pixels; larger pictures of repeated tiles are shrunk
SHEET_FRAMES = 6  # of each animation on the contact sheet


class Artifact(str):
    """A line on a product, with the picture to look at, `file`, and all `files` written.

    Notes on what was read come as plain strings before it.
    """

    file: pathlib.Path
    files: Sequence[pathlib.Path]

    def __new__(
        cls, line: str, file: str | pathlib.Path, files: Sequence[pathlib.Path] = ()
    ) -> "Artifact":
        """Returns the line with the files."""
        artifact = super().__new__(cls, line)
        artifact.file = pathlib.Path(file)
        artifact.files = files or [artifact.file]
        return artifact


@dataclasses.dataclass(frozen=True, eq=False)
class Output:
    """Writes files of one model. Each method yields a line for each thing done.

    Attributes:
        model: the model.
        directory: the user's directory for the files; empty: one in the run.
        ckpt: the directory that the model was loaded from.
    """

    model: Model
    directory: str
    ckpt: str

    def samples(
        self,
        *,
        seed: int,
        num_samples: int,
        start_stage: int,
        tile: str | None = None,
        **size: Any,
    ) -> Iterator[Artifact]:
        """Writes samples, one file per seed, and a grid of the first ones.

        If they are tiles, a second picture shows the first one side by side with its copies.
        """
        encoding = self.model.encoding
        encoding.check(pathlib.Path(f"samples{encoding.suffix}"), self.model.arch.channels)
        images = self.model.samples(seed, num_samples, start_stage=start_stage, tile=tile, **size)
        first = next(images)  # its size names the directory
        name = f"{first.shape[0]}x{first.shape[1]}"
        kind = f"-from_stage_{start_stage}" if start_stage else ""
        out = self._directory(name + kind + (f"-tile_{tile}" if tile else ""))
        line = f"{num_samples} images of {name} px (height x width)"
        yield self._save_all(out, itertools.chain([first], images), seed, line)
        if tile:
            copies = [3 if wraps else 1 for wraps in inputs.TILES[tile]]
            repeated = np.tile(first, (*copies, 1))
            display.save(out / "repeated.png", display.shrunk(repeated, SHEET_SIDE))
            rows, columns = copies
            yield Artifact(
                f"the first one {rows}x{columns} times: {out}/repeated.png", out / "repeated.png"
            )

    def sample(self, path: str, *, seed: int, start_stage: int, **size: Any) -> Iterator[Artifact]:
        """Writes one sample as a .png or .npy."""
        file, encoding = pathlib.Path(path), self.model.encoding
        encoding.check(file, self.model.arch.channels)
        (image,) = self.model.sample(seed, start_stage=start_stage, **size)
        file.parent.mkdir(parents=True, exist_ok=True)
        files = encoding.save(file, image)
        size_of = f"{image.shape[0]}x{image.shape[1]} px (height x width)"
        yield Artifact(f"{' and '.join(map(str, files))}: {size_of}", file, files)

    def fillings(
        self, *, seed: int, num_samples: int, start_stage: int, full_size: bool
    ) -> Iterator[Artifact]:
        """Writes the training image with its hole filled, if asked at the size of its file."""
        picture = filling.full_size(self.model) if full_size else None
        images = filling.fillings(
            self.model, seed, num_samples, start_stage=start_stage, picture=picture
        )
        first = next(images)  # nothing is written if it cannot be made
        out = self._directory("fill-full_size" if full_size else "fill")
        line = f"{num_samples} fillings of {first.shape[0]}x{first.shape[1]} px (height x width)"
        yield self._save_all(out, itertools.chain([first], images), seed, line)

    def enlarged(self, *, scale: float, seed: int, faithful: bool) -> Iterator[Artifact]:
        """Writes the training image enlarged, and beside it its bicubic interpolation."""
        (image,) = self.model.enlarge(scale, seed=seed, faithful=faithful)
        size = (image.shape[0], image.shape[1])
        out = self._directory(f"enlarged-{scale:g}x" + ("-faithful" if faithful else ""))
        name = f"seed_{seed}{self.model.encoding.suffix}"
        files = self.model.encoding.save(out / name, image)
        picture = out / "side_by_side.png"
        display.save(picture, display.grid([resize.fit(self.model.real[0], size), image]))
        line = f"{files[0]}: {size[0]}x{size[1]} px (height x width); {picture}: bicubic beside it"
        yield Artifact(line, picture, [picture, *files])

    def reconstruction(self) -> Iterator[Artifact]:
        """Writes the training image as learned."""
        file = self._directory("reconstruction") / f"reconstruction{self.model.encoding.suffix}"
        self.model.encoding.save(file, self.model.reconstruct()[0])
        yield Artifact(f"{file}: RMSE {self.model.reconstruction_rmse():.4f} on [-1, 1]", file)

    def composites(
        self, paths: Sequence[str], *, mask: str | None, seed: int, full_size: bool
    ) -> Iterator[str]:
        """Harmonizes or edits composites and writes the results, a directory each.

        The mask is a file, "auto", "none", or None for the file beside each composite, if any.
        `full_size` also writes the results at the composites' own resolution.

        Raises:
            InputError: a file cannot be used; then nothing is written.
        """
        if len(paths) > 1 and mask not in (None, "auto", "none"):
            raise InputError(f"mask={mask}: one mask file serves one composite; give --mask=auto")
        names = [pathlib.Path(path).stem for path in paths]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InputError(f"naive: two composites are called {twice}: apply them one at a time")
        composite.check_takes_composites(self.model.config)
        # All files are read before the first result is written.
        like = (self.model.config, self.model.encoding, self.model.arch.channels)
        images = [loading.read_alike(path, *like) for path in paths]
        inside = [self._mask(mask, *pair) for pair in zip(paths, images, strict=True)]
        for name, image, (area, origin) in zip(names, images, inside, strict=True):
            yield from image.notes
            result = self.model.harmonize(image.pixels, mask=area, seed=seed)
            whole = composite.at_full_size(result, image.pixels) if full_size else None
            out = self._directory(name, always_below=True)
            files = result.save(out, self.model.encoding, full_size=whole)
            yield Artifact(f"{name}: {origin}; {files[0]}", files[0], files)

    def paintings(
        self, path: str, *, seed: int, num_samples: int, start_stage: int | None, colours: int = 0
    ) -> Iterator[str]:
        """Writes what the model makes of a painting, and all of it side by side, a row a seed.

        The painting enters at `start_stage`, or at one stage after the other.

        Raises:
            InputError: the file or an argument cannot be used; then nothing is written.
        """
        model, encoding = self.model, self.model.encoding
        possible = painting.start_stages(model)
        stages = possible if start_stage is None else [start_stage]
        found = loading.read_alike(
            path, model.config, encoding, model.arch.channels, name="painting"
        )
        columns = [
            model.paint(found.pixels, seed, num_samples, start_stage=stage, colours=colours)
            for stage in stages
        ]
        yield from found.notes
        out, files = self._directory(pathlib.Path(path).stem, always_below=True), []
        for stage, images in zip(stages, columns, strict=True):
            for number, image in enumerate(images, seed):
                file = out / f"stage_{stage}-seed_{number}{encoding.suffix}"
                files.append(encoding.save(file, image)[0])
        height, width = size = columns[0].shape[1:3]
        given = resize.fit(found.pixels, size)
        rows = [[given, *images] for images in zip(*columns, strict=True)]
        side_by_side = out / "side_by_side.png"
        display.save(side_by_side, display.grid([*itertools.chain(*rows)], columns=1 + len(stages)))
        words = f"stages {stages[0]} to {stages[-1]}" if len(stages) > 1 else f"stage {stages[0]}"
        line = f"painting at {height}x{width} px, from {words} on: {side_by_side}"
        yield Artifact(line, side_by_side, files)

    def animation(self, path: str, *, fps: float, seed: int, **walk: Any) -> Iterator[Artifact]:
        """Writes one animation; `walk` as for `Model.animate`."""
        file = pathlib.Path(path)
        video.check(file, fps)
        frames = self.model.animate(seed, **walk)
        file.parent.mkdir(parents=True, exist_ok=True)
        video.save(file, frames, frames_per_second=fps)
        yield Artifact(f"{walk['frames']} frames at {fps:g} per second: {file}", file)

    def animations(
        self, *, fps: float, seed: int, beta: float | None, start_stage: int | None, **walk: Any
    ) -> Iterator[Artifact]:
        """Writes the published set of animations as .gif, and a sheet with some frames of each.

        `beta` and `start_stage` replace the published four and three values; `walk` as for
        `Model.animate`.
        """
        stages = [k for k in START_STAGES if k < len(self.model.sizes)]
        stages = stages if start_stage is None else [start_stage]
        numbers = np.linspace(0, walk["frames"] - 1, SHEET_FRAMES).astype(int).tolist()
        sheet: list[np.ndarray] = []
        for stage, value in itertools.product(stages, BETAS if beta is None else [beta]):
            name = f"start_stage_{stage}_beta_{value:.2f}.gif"
            video.check(pathlib.Path(name), fps)
            frames = self.model.animate(seed, beta=value, start_stage=stage, **walk)
            file = self._directory("animation") / name  # made once the arguments are checked
            video.save(file, _keep(frames, numbers, sheet), frames_per_second=fps)
            yield Artifact(str(file), file)
        file = file.with_name("contact_sheet.png")
        display.save(file, display.grid(sheet, columns=len(set(numbers))))
        yield Artifact(f"{file}: some frames of each, one animation a row", file)

    def _directory(self, name: str, *, always_below: bool = False) -> pathlib.Path:
        """Makes the user's directory (if `always_below`, `name` in it), else `name` in the run."""
        out = pathlib.Path(self.directory or self.default_directory())
        if always_below or not self.directory:
            out = out / name
        try:
            out.mkdir(parents=True, exist_ok=True)
            # A directory that exists already may still be read-only.
            tempfile.TemporaryFile(dir=out).close()
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
                raise
            raise InputError(f"{out}: {error.strerror}: give another directory as --out") from None
        return out

    def _save_all(
        self, out: pathlib.Path, images: Iterator[np.ndarray], seed: int, line: str
    ) -> Artifact:
        """Writes images of a seed and those after it, and a grid of the first ones."""
        encoding = self.model.encoding
        cells, files = [display.shrunk(self.model.real[0], display.CELL)], []
        for number, image in enumerate(images, seed):
            files.append(encoding.save(out / f"seed_{number}{encoding.suffix}", image)[0])
            cells += [display.shrunk(image, display.CELL)] if len(cells) <= GRID else []
        display.save(out / "grid.png", display.grid(cells))
        return Artifact(f"{line}: {out}/grid.png", out / "grid.png", files)

    def default_directory(self) -> pathlib.Path:
        """Returns `generated` in the run, or a directory beside a model that has no run."""
        path = pathlib.Path(self.ckpt).resolve()
        if not checkpoint.exists(path):
            return path / "generated"
        run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
        if restore.is_run(run):
            return run / "generated"
        return path.with_name(f"{path.name}-generated")

    def _mask(
        self, mask: str | None, path: str, image: LoadedImage
    ) -> tuple[np.ndarray | None, str]:
        """Returns the mask of a composite, if any, and words on where it comes from."""
        if mask == "none":
            return None, "no mask, as asked"
        if mask == "auto":
            area = composite.difference_mask(image.pixels, self.model.real[0])
            return area, "mask from the difference to the training image"
        file = mask or composite.find_mask(path)
        if file is None:
            return None, "no mask beside it"
        fits = functools.partial(composite.fits, composite=image.pixels.shape)
        limit = self.model.config.max_pixels
        area, note = masks.read_inside(file, fits, turn=image.orientation, max_pixels=limit)
        composite.check_aspect(area.shape, image.pixels.shape)
        origin = ", ".join(filter(None, [f"mask {file}", note]))
        if area.mean() > composite.MAX_INSIDE:
            origin += f", white on {area.mean():.0%} of it: is it inverted?"
        return area, origin


def _keep(
    frames: Iterator[np.ndarray], numbers: Sequence[int], kept: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Passes frames on, and appends those of some numbers to a list."""
    for number, frame in enumerate(frames):
        if number in numbers:
            kept.append(frame)
        yield frame
