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
from consingan_jax.data import display, loading, masks
from consingan_jax.data.loading import LoadedImage
from consingan_jax.errors import InputError
from consingan_jax.generation import composite, restore, video
from consingan_jax.generation.model import Model

GRID = 24  # at most so many samples in the grid, besides the training image
# The animations of the published program.
BETAS = (0.8, 0.85, 0.9, 0.95)
START_STAGES = (0, 1, 2)
SHEET_FRAMES = 6  # of every animation on the contact sheet


class Artifact(str):
    """Words on what was made; `file` is the picture to look at, `files` are all that were written.

    What a picture was made of is said in lines before it, which are plain strings.
    """

    file: pathlib.Path
    files: Sequence[pathlib.Path]

    def __new__(
        cls, words: str, file: str | pathlib.Path, files: Sequence[pathlib.Path] = ()
    ) -> "Artifact":
        """Returns the words with the files."""
        made = super().__new__(cls, words)
        made.file = pathlib.Path(file)
        made.files = files or [made.file]
        return made


@dataclasses.dataclass(frozen=True, eq=False)
class Output:
    """The files made from one model. Every method yields a line for each thing that it did.

    Attributes:
        model: what makes the pictures.
        directory: where the pictures of one kind go, as the user says; empty: below the run.
        ckpt: where the model comes from.
    """

    model: Model
    directory: str
    ckpt: str

    def samples(
        self, *, seed: int, num_samples: int, start_stage: int, **size: Any
    ) -> Iterator[Artifact]:
        """Writes samples, one file a seed, and a grid of the first ones."""
        encoding = self.model.encoding
        encoding.check(pathlib.Path(f"samples{encoding.suffix}"), self.model.arch.channels)
        images = self.model.samples(seed, num_samples, start_stage=start_stage, **size)
        first = next(images)
        name = f"{first.shape[0]}x{first.shape[1]}"
        out = self._directory(name + (f"-from_stage_{start_stage}" if start_stage else ""))
        tiles, files = [display.shrunk(self.model.real[0], display.CELL)], []
        for number, picture in enumerate(itertools.chain([first], images), seed):
            files.append(encoding.save(out / f"seed_{number}{encoding.suffix}", picture)[0])
            tiles += [display.shrunk(picture, display.CELL)] if len(tiles) <= GRID else []
        display.save(out / "grid.png", display.grid(tiles))
        words = f"{num_samples} images of {name} px (height x width): {out}/grid.png"
        yield Artifact(words, out / "grid.png", files)

    def sample(self, path: str, *, seed: int, start_stage: int, **size: Any) -> Iterator[Artifact]:
        """Writes one sample as a .png or .npy."""
        file = pathlib.Path(path)
        self.model.encoding.check(file, self.model.arch.channels)
        (picture,) = self.model.sample(seed, start_stage=start_stage, **size)
        file.parent.mkdir(parents=True, exist_ok=True)
        files = self.model.encoding.save(file, picture)
        words = f"{picture.shape[0]}x{picture.shape[1]} px (height x width)"
        yield Artifact(f"{' and '.join(map(str, files))}: {words}", file, files)

    def reconstruction(self) -> Iterator[Artifact]:
        """Writes the training image as learned."""
        file = self._directory("reconstruction") / f"reconstruction{self.model.encoding.suffix}"
        self.model.encoding.save(file, self.model.reconstruct()[0])
        yield Artifact(f"{file}: RMSE {self.model.reconstruction_rmse():.4f} on [-1, 1]", file)

    def composites(
        self, paths: Sequence[str], *, mask: str | None, seed: int, full_size: bool
    ) -> Iterator[str]:
        """Applies the model to composites and writes the results, a directory each.

        Args:
            paths: image files.
            mask: a file, "auto", "none", or None for the file beside each composite if there is
                one.
            seed: of what is random.
            full_size: also write the result at each composite's own resolution.

        Raises:
            InputError: a file cannot be used; then nothing is written.
        """
        if len(paths) > 1 and mask not in (None, "auto", "none"):
            raise InputError(f"mask={mask}: one mask file serves one composite; give --mask=auto")
        names = [pathlib.Path(path).stem for path in paths]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InputError(f"naive: two composites are called {twice}: apply them one at a time")
        self.model.check_takes_composites()
        like = (self.model.config, self.model.encoding, self.model.arch.channels)
        found = [loading.read_alike(path, *like) for path in paths]
        inside = [self._mask(mask, *pair) for pair in zip(paths, found, strict=True)]
        for name, picture, (area, origin) in zip(names, found, inside, strict=True):
            yield from picture.notes
            made = self.model.harmonize(picture.pixels, mask=area, seed=seed)
            whole = composite.at_full_size(made, picture.pixels) if full_size else None
            files = self._save_applied(self._directory(name, always_below=True), made, whole)
            yield Artifact(f"{name}: {origin}; {files[0]}", files[0], files)

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

        Args:
            fps: frames per second.
            seed: of the walks.
            beta: one value instead of the published four.
            start_stage: one value instead of the published three.
            walk: as for `Model.animate`.
        """
        stages = [k for k in START_STAGES if k < len(self.model.sizes)]
        stages = stages if start_stage is None else [start_stage]
        shown = np.linspace(0, walk["frames"] - 1, SHEET_FRAMES).astype(int).tolist()
        sheet: list[np.ndarray] = []
        for stage, value in itertools.product(stages, BETAS if beta is None else [beta]):
            name = f"start_stage_{stage}_beta_{value:.2f}.gif"
            video.check(pathlib.Path(name), fps)
            frames = self.model.animate(seed, beta=value, start_stage=stage, **walk)
            out = self._directory("animation")
            file = out / name
            video.save(file, _keep(frames, shown, sheet), frames_per_second=fps)
            yield Artifact(str(file), file)
        file = out / "contact_sheet.png"
        display.save(file, display.grid(sheet, columns=len(set(shown))))
        yield Artifact(f"{file}: some frames of each, one animation a row", file)

    def _directory(self, name: str, *, always_below: bool = False) -> pathlib.Path:
        """Returns the directory of some pictures, made if it is not there.

        Args:
            name: of the directory, below that of the run.
            always_below: whether there is one of that name also below the user's directory.
        """
        out = pathlib.Path(self.directory or self.default_directory())
        if always_below or not self.directory:
            out = out / name
        try:
            out.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=out).close()
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
                raise
            raise InputError(f"{out}: {error.strerror}: give another directory as --out") from None
        return out

    def default_directory(self) -> pathlib.Path:
        """Returns `generated` of the run; of a model outside of a run, a directory of its own."""
        path = pathlib.Path(self.ckpt).resolve()
        if not checkpoint.exists(path):
            return path / "generated"
        run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
        if restore.is_run(run):
            return run / "generated"
        return path.with_name(f"{path.name}-generated")

    def _save_applied(
        self, out: pathlib.Path, made: composite.CompositeResult, whole: np.ndarray | None
    ) -> list[pathlib.Path]:
        """Writes what a model made of a composite, in place of what an earlier call left.

        Returns the files: composite and result in one picture first, the largest result last.
        """
        encoding, side_by_side = self.model.encoding, out / "side_by_side.png"
        suffix, files = encoding.suffix, [side_by_side]
        for name in ("mask.png", f"blended{suffix}", f"full_size{suffix}"):
            (out / name).unlink(missing_ok=True)
        if made.mask is not None:
            display.save(out / "mask.png", 2 * made.mask[..., None] - 1)
        results = {"result": made.result, "blended": made.blended, "full_size": whole}
        for name, picture in results.items():
            if picture is not None:
                files += encoding.save(out / f"{name}{suffix}", picture)
        display.save(side_by_side, made.side_by_side())
        return files

    def _mask(self, asked: str | None, path: str, found: LoadedImage):
        """Returns the mask of a composite (None without), and words on where it comes from."""
        if asked == "none":
            return None, "no mask, as asked"
        if asked == "auto":
            mask = composite.difference_mask(found.pixels, self.model.real[0])
            return mask, "mask from the difference to the training image"
        file = asked or composite.beside(path)
        if file is None:
            return None, "no mask beside it"
        fits = functools.partial(composite.fits, composite=found.pixels.shape)
        limit = self.model.config.max_pixels
        mask, said = masks.read_inside(file, fits, turn=found.orientation, max_pixels=limit)
        composite.check_aspect(mask.shape, found.pixels.shape)
        words = ", ".join(filter(None, [f"mask {file}", said]))
        if mask.mean() > composite.MOST:
            words += f", white on {mask.mean():.0%} of it: is it inverted?"
        return mask, words


def _keep(
    frames: Iterator[np.ndarray], shown: Sequence[int], kept: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Passes frames on, and puts the numbers `shown` of them in a list."""
    for number, frame in enumerate(frames):
        if number in shown:
            kept.append(frame)
        yield frame
