"""Trains a generative model of one image.

    python train.py --config=configs/unconditional.py --config.image=PATH

The same command again goes on where it was stopped.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, cast

from absl import flags
from ml_collections import config_flags

from consingan_jax import device
from consingan_jax.cli import flags as cli
from consingan_jax.cli import report
from consingan_jax.training import trainer
from consingan_jax.training.workdir import Workdir

_CONFIG = config_flags.DEFINE_config_file("config", help_string="A file of configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run [runs/<image>-<config>].")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what the run would be and cost, then stop.")


def default_workdir(config_file: str, config: Mapping[str, Any]) -> str:
    """Returns `runs/<image>-<config>`, with the config's variant if it has one.

    For a fine-tuning it is `runs/<composite>-<config>-fine_tuned`.
    """
    name, _, variant = config_file.partition(":")
    image = config["naive"] if config["fine_tune"] else config["image"]
    parts = [pathlib.Path(image).stem, pathlib.Path(name).stem, variant]
    parts += ["fine_tuned"] if config["fine_tune"] else []
    return str(pathlib.Path("runs") / "-".join(part for part in parts if part))


def main(_):
    """Trains, or with --dry_run only says how."""
    given = None if _CONFIG.value is None else cast(Any, flags.FLAGS["config"]).config_filename
    config_file = cli.required(given, "config", "configs/unconditional.py")
    if not pathlib.Path(config_file.partition(":")[0]).is_file():
        raise ValueError(f"--config={config_file}: no such file; see configs/")
    config = _CONFIG.value.to_dict()
    workdir = _WORKDIR.value or default_workdir(config_file, config)
    print(device.describe())
    if warning := device.warning():
        print(warning)
    if _DRY_RUN.value:
        for line in report.dry_run(config):
            print(line, flush=True)
        return
    device.use_compilation_cache(cli.COMPILATION_CACHE.value)
    finished = Workdir(workdir).is_finished()
    model = trainer.train(config, workdir)
    print(f"{workdir} {'is finished already' if finished else 'is finished'}", end="; ")
    print(f"reconstruction RMSE {model.reconstruction_rmse():.4f} on [-1, 1]. To use it:")
    print(f"python sample.py --ckpt={workdir} {model.task.use}")


if __name__ == "__main__":
    cli.run(main)
