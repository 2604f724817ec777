"""`consingan export`: writes a trained model as one portable program, with a model card."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import flags as absl_flags

from consingan_jax.cli import resolve_run
from consingan_jax.cli.flags import Command, Flags
from consingan_jax.errors import InputError
from consingan_jax.files import whole, write_text
from consingan_jax.generation import export, restore, sampling
from consingan_jax.generation.model import Model
from consingan_jax.images import display

USAGE = """Exports a model as a program that samples without this package, and a model card.

  consingan export [RUN] --out=DIR
  consingan export RUN --height=400 --width=2x --out=DIR

DIR holds sampler.jax_export (StableHLO for CPU and CUDA, one size), a model card (README.md) with
samples.png, and model/, which this package loads at any size. Without a RUN the last is taken."""

_CARD = """---
library_name: consingan_jax
pipeline_tag: unconditional-image-generation
tags: [single-image, gan, consingan, jax, flax]
---

# {title}

A {method} ([arXiv {paper}](https://arxiv.org/abs/{paper})) learned from one image, with
consingan_jax: it makes new images that look like it.

![The training image at the top left, and samples](samples.png)

| | |
|---|---|
| task | {task} |
| resolution | {size} px (height x width), {channels} channels |
| stages | {stages} |
| parameters | {parameters:,} |
| reconstruction RMSE | {rmse:.4f} on [-1, 1] |
| settings that differ from the task's defaults | {settings} |

## Any size, with consingan_jax

```python
import consingan_jax

model = consingan_jax.load("model")
images = model.sample(seed=0, num_samples=4, width="2x")  # [4, H, W, C], float32 in [-1, 1]
```

## {height}x{width} px, with jax and flatbuffers alone

```python
import pathlib
import jax.export
import numpy as np

program = jax.export.deserialize(bytearray(pathlib.Path("sampler.jax_export").read_bytes()))
image = program.call(np.uint32(0))  # [{height}, {width}, {channels}], float32 in [-1, 1]
```

Lowered for: {platforms}. The same seed gives the same image both ways, up to rounding.

`sampler.jax_export` was written by jax {jax}. Later versions of jax read such a file for half a
year and refuse it afterwards ([compatibility](https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees));
`model` stays readable: export it again.
"""


def _define(flags: Flags, _: Sequence[str]) -> None:
    a, to = absl_flags, dict[str, Any](flag_values=flags)
    a.DEFINE_string("ckpt", None, "RUN, as a flag: directory of a run or of a model.", **to)
    a.DEFINE_string("width", None, "Pixels (600) or a factor (2x) [the model's own].", **to)
    a.DEFINE_string("height", None, "Pixels (400) or a factor (1.5x) [the model's own].", **to)
    a.DEFINE_string("out", "", "Directory to make.", **to)


def _main(flags: Flags, arguments: Sequence[str]) -> None:
    out = pathlib.Path(flags.out)
    if not flags.out:
        raise InputError("--out is missing: give the directory to make")
    if out.exists():
        raise InputError(f"--out={out} exists already: use another directory")
    model = restore.load(resolve_run.run_or_last(flags.ckpt, arguments))
    size = {"height": flags.height, "width": flags.width}
    program = export.sampler(model, **size)
    out.mkdir(parents=True)
    with whole(out / "sampler.jax_export") as part:
        part.write_bytes(program)
    pictures = (np.asarray(picture) for picture in (model.real[0], *model.samples(0, 5)))
    grid = display.grid([display.shrunk(picture, display.CELL) for picture in pictures])
    display.save(out / "samples.png", grid)
    model.save(out / "model")
    height, width = sampling.stage_sizes(model.sizes, **size)[-1]
    write_text(out / "README.md", _card(model, height, width))
    print(f"{out}: images of {height}x{width} px (height x width), {len(program):,} bytes")


def _card(model: Model, height: int, width: int) -> str:
    changes = [f"{field['name']}={field['value']}" for field in model.config.changes()]
    return _CARD.format(
        title=f"{pathlib.Path(model.config.image).name}: {model.task.slug}",
        task=model.config.task,
        size="x".join(map(str, model.size)),
        channels=model.arch.channels,
        stages=", ".join(f"{h}x{w}" for h, w in model.sizes),
        method=model.config.method_spec.title,
        paper=model.config.method_spec.paper,
        parameters=model.num_params(),
        rmse=model.reconstruction_rmse(),
        settings=", ".join(changes) or "none",
        height=height,
        width=width,
        platforms=" and ".join(export.PLATFORMS),
        jax=jax.__version__,
    )


COMMAND = Command(USAGE, _define, _main)
