"""What the callbacks of the studio do: train, sample, animate, apply, download."""

import ast
import itertools
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from consingan_jax.config import PATHS, Config
from consingan_jax.data import display, formats, loading
from consingan_jax.errors import InputError
from consingan_jax.files import whole
from consingan_jax.generation import restore
from consingan_jax.generation.composite import check_takes_composites
from consingan_jax.generation.model import Model
from consingan_jax.generation.output import Artifact, Output
from consingan_jax.runs.directory import RunDirectory, default_name
from consingan_jax.runs.inputs import TrainingInputs, load_inputs
from consingan_jax.runs.report import numbered
from consingan_jax.studio.queue import TrainingQueue

PICTURES, DOWNLOADS = ".pictures", ".downloads"  # in the folder, beside the runs
MOST_SAMPLES, MOST_FRAMES = 24, 240  # at once
MOST_SETTINGS = 40  # letters of other settings that are in the name of a run
PAPER = "paper"  # the preset without changes
BROWSER = (".png", ".gif", ".webp")  # what every browser shows


class Look(NamedTuple):
    """What there is to see of a run.

    Attributes:
        words: where it is.
        share: 0 to 1, how much of its training is done.
        samples: file of the newest grid of samples, or None.
        is_open: whether its training waits or works.
    """

    words: str
    share: float
    samples: str | None
    is_open: bool


class StudioService:
    """Runs and pictures of one folder, and some runs that lie elsewhere."""

    def __init__(self, folder: str | pathlib.Path, runs: Sequence[str] = ()):
        """Makes the folder if it is not there.

        Raises:
            InputError: one of `runs` is no run.
        """
        self.folder = pathlib.Path(folder).resolve()
        self._others = {name: pathlib.Path(name).resolve() for name in runs}
        for name, path in self._others.items():
            if not restore.is_run(path):
                raise InputError(f"{name} is neither a run nor a model: give a directory of one")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._trainings = TrainingQueue()

    @property
    def folders(self) -> list[pathlib.Path]:
        """Returns the directories that files may come from."""
        return [self.folder, *self._others.values()]

    def names(self) -> list[str]:
        """Returns the names of all runs, the one that was trained last first."""
        return [*self._others, *(run.name for run in restore.runs(self.folder))]

    def pictures(self) -> list[str]:
        """Returns the names of the pictures that are kept, the newest first."""
        kept = (self.folder / PICTURES).glob("[!.]*")
        return [file.name for file in sorted(kept, key=lambda file: -file.stat().st_mtime)]

    def picture(self, name: str) -> str:
        """Returns the file of a picture that is kept."""
        file = (self.folder / PICTURES / name).resolve()
        if file.parent != self.folder / PICTURES or not file.is_file():
            raise InputError(f"picture {name} is not kept here: choose one of the list")
        return str(file)

    def view(self, file: str) -> np.ndarray:
        """Returns a picture of any format as `[H, W, 3]`, uint8, for the browser."""
        pixels = display.to_uint8(display.shown(loading.load(file)))
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))

    def understood(self, name: str) -> str:
        """Returns lines on what is understood of a picture that is kept."""
        found = loading.read(Config.create(image=self.picture(name)))
        return "\n\n".join(found.notes)

    def keep(self, file: str) -> str:
        """Keeps a copy of a picture; returns its name, which no other picture has.

        Raises:
            InputError: it is no picture that can be read.
        """
        formats.read(file)
        folder, source = self.folder / PICTURES, pathlib.Path(file)
        folder.mkdir(exist_ok=True)
        data = source.read_bytes()
        for number in itertools.count(1):
            end = "" if number == 1 else f"-{number}"
            kept = folder / f"{source.stem}{end}{source.suffix}"
            if not kept.exists():
                with whole(kept) as part:
                    part.write_bytes(data)
            if kept.read_bytes() == data:
                return kept.name
        raise AssertionError("the numbers do not end")

    def train(self, picture: str | None, task: str, preset: str, settings: str) -> str:
        """Begins a training, or goes on with one; returns the run's name.

        Args:
            picture: name of the training image, which is kept here.
            task: a row of the table of tasks.
            preset: a variant of its configuration, or "paper".
            settings: fields that differ, a line `name=value` for each.

        Raises:
            InputError: something of it cannot work.
        """
        if not picture:
            raise InputError("a picture is missing: choose one first")
        variant = "" if preset == PAPER else preset
        config = Config.create(
            task, variant, image=self.picture(picture), **dict(_fields(settings))
        )
        inputs = load_inputs(config)
        changed = "-".join(f"{name}_{value}" for name, value in _fields(settings))
        parts = [default_name(config, config.task_spec.slug, variant), changed]
        name = "-".join(filter(None, parts)) if len(changed) <= MOST_SETTINGS else parts[0]
        for number in itertools.count(1):
            run = self.folder / (name if number == 1 else f"{name}-{number}")
            if self._trainings.takes(config, run) and _is_free(run, inputs):
                break
        self._trainings.add(config, run)
        return run.name

    def resume(self, name: str | None) -> None:
        """Goes on with a run that was stopped."""
        run = self._run(name)
        self._trainings.add(RunDirectory(run).config(), run)

    def stop(self, name: str | None) -> None:
        """Stops a training; its state is kept."""
        self._trainings.stop(self._run(name))

    def look(self, name: str | None) -> Look:
        """Returns what there is to see of a run now."""
        if not name:
            return Look("", 0.0, None, False)
        run = self._run(name)
        words, share = self._trainings.describe(run), self._trainings.share(run)
        if RunDirectory(run).is_finished() and not self._trainings.is_open(run):
            words, share = words or "finished", 1.0
        # By stage and step, not by time: a copied run has lost that.
        grids = numbered(run, "samples/stage_*_step_*.png")
        newest = str(grids[-1]) if grids else None
        words = words or "stopped: it can go on"
        return Look(words, share, newest, self._trainings.is_open(run))

    def sample(self, name: str | None, num_samples: int, **asked: Any) -> list[tuple[str, str]]:
        """Makes new images; returns their files, each with its seed.

        Args:
            name: of the run.
            num_samples: how many.
            asked: seed, width, height, start_stage as for `Model.sample`.
        """
        if not 1 <= num_samples <= MOST_SAMPLES:
            raise InputError(f"{num_samples} images: give 1 to {MOST_SAMPLES}")
        output = self._output(name)
        (made,) = output.samples(num_samples=num_samples, **asked)
        shown = [_shown(file, output.model) for file in made.files]
        return [(file, f"seed {seed}") for seed, file in enumerate(shown, asked["seed"])]

    def animate(self, name: str | None, *, seed: int, fps: float, suffix: str, **walk: Any) -> str:
        """Makes an animation and returns its file; `walk` as for `Model.animate`."""
        if walk["frames"] > MOST_FRAMES:
            raise InputError(f"{walk['frames']} frames: give 2 to {MOST_FRAMES}")
        kind = "loop" if walk["loop"] else "walk"
        output = self._output(name)
        file = output.default_directory() / f"animation/{kind}-seed_{seed}{suffix}"
        (made,) = output.animation(str(file), fps=fps, seed=seed, **walk)
        return str(made.file)

    def apply(
        self, name: str | None, composite: np.ndarray | None, painted: np.ndarray | None, seed: int
    ) -> tuple[str, list[str]]:
        """Applies a harmonization or editing model to a composite.

        Args:
            name: of the run.
            composite: `[H, W, 3 or 4]`, 0 .. 255.
            painted: `[H, W]`, above 0 where the result shall count; None or all 0: everywhere.
            seed: of what is random.

        Returns:
            Words on it, and its files: the result first, then composite and result side by side.
        """
        if composite is None:
            raise InputError("a composite is missing: choose a picture, then paint its mask")
        output = self._output(name)
        check_takes_composites(output.model.config)
        folder = output.default_directory()
        folder.mkdir(exist_ok=True)
        file, mask = folder / "composite.png", folder / "composite_mask.png"
        formats.write(file, composite, alpha=composite.shape[-1] == 4)
        mask.unlink(missing_ok=True)
        if painted is not None and painted.any():
            formats.write(mask, np.where(painted > 0, 255, 0).astype(np.uint8)[..., None])
        *notes, made = output.composites([str(file)], mask=None, seed=seed, full_size=True)
        assert isinstance(made, Artifact), "it comes last"
        result = _shown(made.files[-1], output.model)
        return "\n\n".join([*notes, made]), [result, str(made.file)]

    def archive(self, name: str | None) -> str:
        """Returns a .zip of a run and all that was made with it."""
        run = self._run(name)
        (self.folder / DOWNLOADS).mkdir(exist_ok=True)
        file = self.folder / DOWNLOADS / f"{run.name}.zip"
        with whole(file) as part:
            made = shutil.make_archive(str(part), "zip", root_dir=run.parent, base_dir=run.name)
            pathlib.Path(made).replace(part)
        return str(file)

    def _output(self, name: str | None) -> Output:
        run = self._run(name)
        return Output(restore.load(run), "", str(run))

    def _run(self, name: str | None) -> pathlib.Path:
        """Returns the directory of a run.

        Raises:
            InputError: the name leads out of the folder.
        """
        if not name:
            raise InputError("a run is missing: choose one first")
        if name in self._others:
            return self._others[name]
        path = (self.folder / name).resolve()
        if path.parent != self.folder or path.name.startswith("."):
            raise InputError(f"run {name} does not lie in {self.folder}: choose one of the list")
        return path


def _is_free(run: pathlib.Path, inputs: TrainingInputs) -> bool:
    """Returns whether a run can be trained here: there is none, or it is this very one."""
    try:
        RunDirectory(run).check(inputs)
    except InputError:
        if not run.exists():
            raise
        return False
    return True


def _shown(file: pathlib.Path, model: Model) -> str:
    """Returns a picture that a model made as a file that every browser shows."""
    if file.suffix in BROWSER:
        return str(file)
    channels = model.arch.channels - bool(model.encoding.labels)
    small = file.with_name(f"{file.name}.preview.png")
    display.save(small, loading.read_alike(file, model.config, model.encoding, channels).pixels)
    return str(small)


def _fields(settings: str) -> Iterator[tuple[str, Any]]:
    """Yields the name and the value of each line."""
    for line in settings.splitlines():
        if not line.strip():
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise InputError(f"setting {line!r}: give name=value, a line for each")
        if name == "task" or name in PATHS:
            raise InputError(
                f"setting {name}: the studio takes no files and tasks here: leave it out"
            )
        try:
            yield name, ast.literal_eval(value)
        except (ValueError, SyntaxError):
            yield name, value
