"""A quantity that a replay of a recording compares, and its limit."""

import dataclasses


@dataclasses.dataclass
class Check:
    """One compared quantity."""

    name: str
    error: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the error is within the limit; a NaN is not."""
        return self.error <= self.limit
