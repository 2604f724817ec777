"""Everything in which the tasks differ, in one table (paper, sections 3 and 4)."""

import dataclasses

from consingan_jax import noise


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        border_growing: the generator makes the picture's edge itself (else: zero padding).
        pyramid_rule: a key of `pyramid.RULES`.
        random_input: what z_0 is while training, a key of `noise.INPUTS`.
        fixed_input: what z*_0 is, a key of `noise.INPUTS`.
        mask_radius: dilation of a mask in pixels at a long side of 250; None: takes no mask.
    """

    border_growing: bool
    pyramid_rule: str
    random_input: str
    fixed_input: str
    mask_radius: int | None = None


TASKS = {
    "generation": Task(True, "new", "gaussian", "real"),
    "retarget": Task(False, "new", "gaussian", "real"),
    "animation": Task(True, "new", "gaussian", "gaussian"),
    "harmonization": Task(False, "geometric", "augmented", "real", mask_radius=7),
    "editing": Task(False, "new", "shuffled", "noisy_real", mask_radius=20),
}


def trainable() -> list[str]:
    """Returns the names of the tasks whose random input can be drawn."""
    return [name for name, task in TASKS.items() if task.random_input in noise.INPUTS]
