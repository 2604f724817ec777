"""The actions of the studio page: train, sample, animate, apply, download."""

import hashlib
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from consingan_jax.errors import InputError
from consingan_jax.files import whole
from consingan_jax.generation import painting, restore
from consingan_jax.generation.composite import check_takes_composites
from consingan_jax.generation.model import Model
from consingan_jax.generation.output import Artifact, Output
from consingan_jax.images import display, formats, loading
from consingan_jax.images.pixels import PixelFormat
from consingan_jax.runs import report
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import TrainingInputs, load_inputs
from consingan_jax.studio import form
from consingan_jax.studio.pictures import PictureFolder, numbered
from consingan_jax.studio.queue import TrainingQueue

MOST_SAMPLES, MOST_FRAMES = 24, 240  # at once
BROWSER = (".png", ".gif", ".webp")  # what every browser shows


class Look(NamedTuple):
    """The present state of a run."""

    words: str = ""
    share: float = 0.0  # of its training that is done, 0 to 1
    samples: str | None = None  # file of the newest grid
    is_open: bool = False  # it waits or trains


class StudioService:
    """Runs and pictures of one folder, and some runs that lie elsewhere."""

    def __init__(self, folder: str | pathlib.Path, runs: Sequence[str] = ()):
        """Makes the folder if it is missing.

        Raises:
            InputError: one of `runs` is not a run.
        """
        self.folder = pathlib.Path(folder).resolve()
        self._others = {name: pathlib.Path(name).resolve() for name in runs}
        for name, path in self._others.items():
            if not restore.is_run(path):
                raise InputError(f"{name} is neither a run nor a model: give a directory of one")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pictures = PictureFolder(self.folder / ".pictures")
        self._trainings = TrainingQueue()

    @property
    def folders(self) -> list[pathlib.Path]:
        """The directories that files may come from."""
        return [self.folder, *self._others.values()]

    def names(self) -> list[str]:
        """Returns the names of all runs, the one that was trained last first."""
        return [*self._others, *(run.name for run in restore.runs(self.folder))]

    def preview(
        self, picture: str, task: str, preset: str, settings: str
    ) -> tuple[np.ndarray, str]:
        """Returns a picture `[H, W, 3]`, uint8, as `train` would see it, and lines on it."""
        found = loading.read(form.config(self.pictures.file(picture), task, preset, settings))
        return _rgb(display.to_uint8(display.shown(found.pixels))), "\n\n".join(found.notes)

    def train(self, picture: str | None, task: str, preset: str, settings: str) -> str:
        """Starts or continues a training; returns the run's name.

        Args:
            picture: name of the training image, which is kept here.
            task: a row of the table of tasks.
            preset: a variant of its configuration, or "paper".
            settings: fields that differ, a line `name=value` for each.

        Raises:
            InputError: the configuration or the picture cannot work.
        """
        if not picture:
            raise InputError("a picture is missing: choose one first")
        config = form.config(self.pictures.file(picture), task, preset, settings)
        inputs = load_inputs(config)
        name = form.run_name(config, preset, settings)
        runs = (self.folder / each for each in numbered(name))
        run = next(r for r in runs if self._trainings.takes(config, r) and _is_free(r, inputs))
        self._trainings.add(config, run)
        return run.name

    def resume(self, name: str | None) -> None:
        """Continues a run that was stopped."""
        run = self._run(name)
        self._trainings.add(RunDirectory(run).config(), run)

    def stop(self, name: str | None) -> None:
        """Stops a training; its state is kept."""
        self._trainings.stop(self._run(name))

    def look(self, name: str | None) -> Look:
        """Returns the present state of a run."""
        if not name:
            return Look()
        run = self._run(name)
        words, share = self._trainings.describe(run), self._trainings.share(run)
        is_open = self._trainings.is_open(run)
        if not is_open and RunDirectory(run).is_finished():
            words, share = words or "finished", 1.0
        # By stage and step, not by time, which a copied run has lost.
        grids = report.numbered(run, "samples/stage_*_step_*.png")
        newest = str(grids[-1]) if grids else None
        return Look(words or "stopped: it can continue", share, newest, is_open)

    def sample(self, name: str | None, num_samples: int, **asked: Any) -> list[tuple[str, str]]:
        """Makes images, `asked` as of `Model.sample`; returns their files, each with its seed."""
        _check_number(num_samples)
        output = self._output(name)
        (made,) = output.samples(num_samples=num_samples, **asked)
        files = (_for_browser(file, output.model) for file in made.files)
        return [(file, f"seed {seed}") for seed, file in enumerate(files, asked["seed"])]

    def animate(self, name: str | None, *, seed: int, fps: float, suffix: str, **walk: Any) -> str:
        """Makes an animation and returns its file; `walk` as for `Model.animate`."""
        if walk["frames"] > MOST_FRAMES:
            raise InputError(f"{walk['frames']} frames: use 2 to {MOST_FRAMES}")
        kind = "loop" if walk["loop"] else "walk"
        output = self._output(name)
        file = output.default_directory() / f"animation/{kind}-seed_{seed}{suffix}"
        (made,) = output.animation(str(file), fps=fps, seed=seed, **walk)
        return str(made.file)

    def view(self, name: str | None, file: str) -> np.ndarray:
        """Returns a composite as the model of a run sees it, `[H, W, 3]`, uint8, for `apply`."""
        model = self._output(name).model
        check_takes_composites(model.config)
        found = loading.read_alike(file, model.config, model.encoding, model.arch.channels)
        # The model reads the 8 bits that `apply` writes in its own range if it is one of 8 bits.
        limits = model.encoding.limits if model.encoding.dtype == "uint8" else (0, 255)
        return _rgb(PixelFormat(*limits).encode(display.shown(found.pixels)))

    def apply(
        self, name: str | None, composite: np.ndarray | None, painted: np.ndarray | None, seed: int
    ) -> tuple[str, list[str]]:
        """Applies a harmonization or editing model to a composite.

        Args:
            name: of the run.
            composite: `[H, W, 3 or 4]`, 0 .. 255.
            painted: `[H, W]`, above 0 where the result shall count; None or all 0: everywhere.
            seed: of the random input.

        Returns:
            Words on it, and its files: the result first, then composite and result side by side.
        """
        if composite is None:
            raise InputError("a composite is missing: choose a picture, then paint its mask")
        output = self._output(name)
        check_takes_composites(output.model.config)
        mask = (
            None
            if painted is None or not painted.any()
            else np.where(painted > 0, 255, 0).astype(np.uint8)
        )
        # Two users who apply different things at once write different files.
        digest = hashlib.sha256(repr((seed, composite.shape)).encode() + composite.tobytes())
        digest.update(b"" if mask is None else mask.tobytes())
        folder, stem = output.default_directory(), f"composite-{digest.hexdigest()[:12]}"
        folder.mkdir(exist_ok=True)
        formats.write(folder / f"{stem}.png", composite, alpha=composite.shape[-1] == 4)
        if mask is not None:
            formats.write(folder / f"{stem}_mask.png", mask[..., None])
        files = [str(folder / f"{stem}.png")]
        *notes, made = output.composites(files, mask=None, seed=seed, full_size=True)
        assert isinstance(made, Artifact), "it comes last"
        result = _for_browser(made.files[-1], output.model)
        return "\n\n".join([*notes, made]), [result, str(made.file)]

    def start_stages(self, name: str | None) -> range:
        """Returns the stages at which paintings can enter the model of a run; empty: at none."""
        try:
            return painting.start_stages(self._output(name).model)
        except InputError:
            return range(0)

    def paint(
        self, name: str | None, picture: np.ndarray | None, num_samples: int, **asked: int
    ) -> list[tuple[str, str]]:
        """Gives a painting the look of a run's training image.

        Args:
            name: of the run.
            picture: `[H, W, 4]`, 0 .. 255; transparent pixels are white.
            num_samples: how many images.
            asked: the other arguments of `Model.paint`.

        Returns:
            The files of painting and images, each with its caption.
        """
        if picture is None or not picture.any():
            raise InputError("a painting is missing: draw one or choose a picture")
        _check_number(num_samples)
        output = self._output(name)
        painting.start_stages(output.model)
        folder = output.default_directory()
        digest = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
        file = folder / f"painting-{digest[:12]}.png"
        folder.mkdir(exist_ok=True)
        formats.write(file, picture, alpha=True)
        *_, made = output.paintings(str(file), num_samples=num_samples, **asked)
        assert isinstance(made, Artifact), "it comes last"
        shown = [(_for_browser(each, output.model), each.stem) for each in made.files]
        return [(str(file), "painting"), *shown]

    def archive(self, name: str | None) -> str:
        """Returns a .zip of a run and all that was made with it."""
        run = self._run(name)
        file = self.folder / ".downloads" / f"{run.name}.zip"
        file.parent.mkdir(exist_ok=True)
        with whole(file) as part:
            made = shutil.make_archive(str(part), "zip", root_dir=run.parent, base_dir=run.name)
            pathlib.Path(made).replace(part)
        return str(file)

    def _output(self, name: str | None) -> Output:
        run = self._run(name)
        return Output(restore.load(run), "", str(run))

    def _run(self, name: str | None) -> pathlib.Path:
        """Returns the directory of a run; raises an InputError if it is elsewhere."""
        if not name:
            raise InputError("a run is missing: choose one first")
        if name in self._others:
            return self._others[name]
        path = (self.folder / name).resolve()
        if path.parent != self.folder or path.name.startswith("."):
            raise InputError(f"run {name} is not in {self.folder}: choose one from the list")
        return path


def _check_number(num_samples: int) -> None:
    if not 1 <= num_samples <= MOST_SAMPLES:
        raise InputError(f"{num_samples} images: use 1 to {MOST_SAMPLES}")


def _is_free(run: pathlib.Path, inputs: TrainingInputs) -> bool:
    """Returns whether a run can be trained here: there is none, or it is this very one."""
    try:
        RunDirectory(run).check(inputs)
    except InputError:
        if not run.exists():
            raise
        return False
    return True


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _for_browser(file: pathlib.Path, model: Model) -> str:
    """Returns a picture that a model made as a file that every browser shows."""
    if file.suffix in BROWSER:
        return str(file)
    channels = model.arch.channels - bool(model.encoding.labels)
    preview = file.with_name(f"{file.name}.preview.png")
    display.save(preview, loading.read_alike(file, model.config, model.encoding, channels).pixels)
    return str(preview)
