"""Table of tasks: all differences between them (paper, sections 3 and 4)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

Changes = Mapping[str, Any]
"""Values of configuration fields that differ from the paper's defaults, by name."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        slug: name of its file in configs/, and part of the names of its runs.
        border_growing: see `nn.layers.Architecture`.
        pyramid_rule: a key of `data.pyramid.RULES`.
        random_input: kind of z_0 in training, a key of `data.noise.INPUTS`.
        fixed_input: kind of z*_0, likewise.
        composite_input: kind of z_0 for a composite, likewise; None: it takes no composites.
        mask_radius: dilation of a composite's mask, in pixels at a long side of 250.
        can_animate: whether its models make animations.
        can_enlarge: whether its models enlarge their image.
        sample_hint: flags of `consingan sample` to suggest for its models.
        defaults: changes to the paper's defaults.
        variants: further changes of each variant, by name.
    """

    slug: str
    border_growing: bool
    pyramid_rule: str
    random_input: str
    fixed_input: str
    composite_input: str | None = None
    mask_radius: int = 0
    can_animate: bool = False
    can_enlarge: bool = False
    sample_hint: str = "--num_samples=8 --width=2x"
    defaults: Changes = dataclasses.field(default_factory=dict, hash=False)
    variants: Mapping[str, Changes] = dataclasses.field(default_factory=dict, hash=False)


# A first result on a laptop's CPU, with the single critic step of `fast`, and at the top stage its
# windows and one update. A smaller coarsest level copies the image; twice the paper's learning
# rates lose the balance of generator and critic.
_QUICK_SAMPLES = {
    **{"num_stages": 4, "min_size": 20, "max_size": 128, "num_iters": (1000, 750, 550)},
    **{"lr_generator": 7e-4, "lr_critic": 7e-4, "sample_every": 350},
    **{"window": (0, 64), "d_steps": 1, "g_steps": (3, 1), "on_divergence": "retry"},
}
# The paper's size in a seventh of its time: one critic step an iteration instead of three, which
# takes half as long and costs a stage nothing, and windows of half the side at the top stage. A
# single generator update would save no time (docs/performance.md).
_FAST = {
    **{"window": (0, 0.5), "num_iters": (2000, 1600, 1600), "d_steps": 1},
    "on_divergence": "retry",
}
# These tasks train on whole images only, so that a quick variant must be small.
_QUICK_EDITS = {
    **{"num_stages": 4, "min_size": 16, "max_size": 64, "num_filters": 32},
    **{"num_iters": 300, "sample_every": 150},
}
_QUICK_HARMONY = {**_QUICK_EDITS, "num_stages": 3, "min_size": 40, "max_size": 100}

TASKS = {
    "generation": Task(
        *("unconditional", True, "new", "gaussian", "real"),
        can_animate=True,
        variants={"quick": _QUICK_SAMPLES, "fast": _FAST},
    ),
    "retarget": Task(
        *("retarget", False, "new", "gaussian", "real"), variants={"quick": _QUICK_SAMPLES}
    ),
    "animation": Task(
        *("animation", True, "new", "gaussian", "gaussian"),
        can_animate=True,
        sample_hint="--animate",
        defaults={"min_size": 20},
        variants={"quick": _QUICK_SAMPLES},
    ),
    "harmonization": Task(
        *("harmonization", False, "geometric", "augmented", "real", "real"),
        mask_radius=7,
        sample_hint="--naive=COMPOSITE",
        defaults={
            "num_stages": 3,
            "min_size": 120,
            "num_iters": 1000,
            "negative_slope": 0.3,
            "batch_norm": True,
        },
        variants={"quick": _QUICK_HARMONY},
    ),
    "editing": Task(
        *("editing", False, "new", "shuffled", "noisy_real", "noisy_real"),
        mask_radius=20,
        sample_hint="--naive=COMPOSITE",
        defaults={"num_iters": 1000, "batch_norm": True},
        variants={"quick": _QUICK_EDITS},
    ),
    "superres": Task(
        *("superres", False, "geometric", "noisy_real", "real"),
        can_enlarge=True,
        sample_hint="--scale=4",
        # The pyramid grows by about two, so that its top and bottom look alike.
        defaults={"num_stages": 3, "min_size": 90, "rec_weight": 100.0},
        variants={"quick": _QUICK_HARMONY},
    ),
}


def names(
    *, takes_composite: bool = False, can_animate: bool = False, can_enlarge: bool = False
) -> str:
    """Returns the tasks that take composites, can animate or can enlarge, joined by "and"."""
    found = [
        name
        for name, task in TASKS.items()
        if (takes_composite and task.composite_input)
        or (can_animate and task.can_animate)
        or (can_enlarge and task.can_enlarge)
    ]
    return " and ".join(found)
