"""`consingan import`: converts a run of the published PyTorch program."""

import pathlib
from collections.abc import Sequence

from absl import flags as absl_flags

from consingan_jax.cli import resolve_run
from consingan_jax.cli.flags import Command, Flags
from consingan_jax.errors import InputError
from consingan_jax.generation import scale_import, torch_import
from consingan_jax.images import display
from consingan_jax.runs.directory import RunDirectory
from consingan_jax.runs.inputs import TrainingInputs
from consingan_jax.runs.report import Page

USAGE = """Converts a run of the published PyTorch program: weights, fixed noise, settings.

  consingan import TrainedModels/colusseum/2021_01_01_generation_...
  consingan import TrainedModels/birds/scale_factor=0.750000,alpha=10     a model of SinGAN
  consingan import DIR --out=runs/colusseum

Makes a new run, for `sample`, `evaluate` and `report`. Needs PyTorch, to read the files."""

# By whether there is a file that only SinGAN's program writes.
LOADERS = {False: torch_import.load_run, True: scale_import.load_run}


def _define(flags: Flags, _: Sequence[str]) -> None:
    absl_flags.DEFINE_string(
        "out", "", "Directory of the new run [runs/NAME OF DIR].", flag_values=flags
    )


def _main(flags: Flags, arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise InputError("give one directory: that of a run of the published program")
    source = pathlib.Path(arguments[0])
    model, levels = LOADERS[(source / "Zs.pth").exists()](source)
    run = RunDirectory(flags.out or resolve_run.RUNS / source.resolve().name)
    if run.path.exists():
        raise InputError(f"{run.path} exists already: use another --out")
    inputs = TrainingInputs(model.config, model.real[0], levels, composite=None, source=None)
    with run.acquire(inputs):
        picture = model.reconstruct()[0]
        display.save(run.path / f"reconstruction/stage_{len(levels) - 1}.png", picture)
        model.save(run.model)
        Page(run.path).write()
    print(f"{model.describe()}; reconstruction RMSE {model.reconstruction_rmse():.4f} on [-1, 1]")
    print(f"consingan sample {run.path} {model.task.sample_hint}")


COMMAND = Command(USAGE, _define, _main)
