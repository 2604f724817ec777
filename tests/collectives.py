"""What a compiled program sends between devices."""

import collections
import re

_CALL = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)


def collectives(text: str) -> dict[str, int]:
    """Returns how many collectives of each name the text of a compiled program has."""
    return dict(collections.Counter(_CALL.findall(text)))
