"""Table of methods: all differences between them that are no arithmetic.

The rooms that compute have tables by the same names: `generation.architecture.NETWORKS`,
`generation.enlarging.ENLARGERS`, `runs.inputs.PYRAMIDS` and `training.iterations.ITERATIONS`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

_Changes = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        title: its name.
        paper: its number on arXiv.
        tasks: the tasks that it has, and part of the names of its runs for each; empty: all tasks,
            with their own slugs.
        unused: fields of the configuration that it does not read.
        defaults: changes to the defaults of the fields.
        task_defaults: further changes for single tasks.
        variants: changes of each variant, instead of the task's; None: the task's.
        fixed_input: kind of z*_0, a key of `data.noise.INPUTS`; empty: that of the task.
        fixed_is_zero_above: whether z* is zero above stage 0.
        has_tiles: whether its samples can repeat without a seam.
        walk_start: share of noise at the start of an animation.
        rounding: makes a whole number of a lower stage's size in a picture of another size.
    """

    title: str
    paper: str
    tasks: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    unused: frozenset[str] = frozenset()
    defaults: _Changes = dataclasses.field(default_factory=dict, hash=False)
    task_defaults: Mapping[str, _Changes] = dataclasses.field(default_factory=dict, hash=False)
    variants: Mapping[str, _Changes] | None = dataclasses.field(default=None, hash=False)
    fixed_input: str = ""
    fixed_is_zero_above: bool = False
    has_tiles: bool = True
    walk_start: float = 0.01
    rounding: Callable[[float], int] = int


METHODS = {
    "consingan": Method(
        *("ConSinGAN", "2003.11512"),
        unused=frozenset({"scale_factor", "resampling", "z_star"}),
    ),
    "singan": Method(
        *("SinGAN", "1905.01164"),
        tasks={
            "generation": "singan",
            "animation": "singan-animation",
            "superres": "singan-superres",
        },
        unused=frozenset(
            {
                *("pyramid_rule", "activation", "batch_norm", "window", "windows", "train_depth"),
                *("lr_scale", "dtype", "remat", "naive", "fine_tune", "exclude"),
                *("loss", "gp_every", "ema_decay"),
            }
        ),
        defaults={"num_stages": 0, "num_filters": 32, "negative_slope": 0.2},
        task_defaults={"superres": {"scale_factor": 0.5 ** (1 / 3), "min_size": 18}},
        # Cheap enough for a first look on two cores; a smaller coarsest level copies the image.
        variants={"quick": {"max_size": 100, "num_filters": 16, "num_iters": 500}},
        fixed_input="gaussian",
        fixed_is_zero_above=True,
        has_tiles=False,
        walk_start=0.05,
        rounding=round,
    ),
}
