"""Everything in which the tasks differ, in one table (paper, sections 3 and 4)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        border_growing: the generator makes the picture's edge itself (else: zero padding).
        pyramid_rule: a key of `pyramid.RULES`.
        random_input: what z_0 is while training, a key of `noise.INPUTS`.
        fixed_input: what z*_0 is, a key of `noise.INPUTS`.
        composite_input: what z_0 is for a composite, a key of `noise.INPUTS`; None: takes none.
        mask_radius: dilation of a composite's mask in pixels at a long side of 250.
        walks: whether it makes animations.
    """

    border_growing: bool
    pyramid_rule: str
    random_input: str
    fixed_input: str
    composite_input: str | None = None
    mask_radius: int = 0
    walks: bool = False

    @property
    def use(self) -> str:
        """The flags of sample.py that show what such a model is for."""
        return "--naive=COMPOSITE" if self.composite_input else "--num_samples=8 --width=2x"


TASKS = {
    "generation": Task(True, "new", "gaussian", "real", walks=True),
    "retarget": Task(False, "new", "gaussian", "real"),
    "animation": Task(True, "new", "gaussian", "gaussian", walks=True),
    "harmonization": Task(False, "geometric", "augmented", "real", "real", mask_radius=7),
    "editing": Task(False, "new", "shuffled", "noisy_real", "noisy_real", mask_radius=20),
}


def names(*, takes_composite: bool = False, walks: bool = False) -> str:
    """Returns the tasks that take composites, or that walk, in words."""
    found = [
        name
        for name, task in TASKS.items()
        if (takes_composite and task.composite_input) or (walks and task.walks)
    ]
    return " and ".join(found)
