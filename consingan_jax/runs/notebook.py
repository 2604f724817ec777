"""Shows the newest sample grid in a notebook while a training runs."""

import sys
from collections.abc import Callable
from typing import Any


class LivePicture:
    """Shows a picture below the running cell, and later ones in its place.

    Outside of a notebook it does nothing.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, png: Callable[[], bytes]) -> None:
        """Shows the picture that `png` returns, which is called in a notebook only."""
        if not is_here():
            return
        import IPython.display

        picture = IPython.display.Image(data=png(), format="png")
        if self._handle is None:
            self._handle = IPython.display.display(picture, display_id=True)
        else:
            self._handle.update(picture)


def is_here() -> bool:
    """Returns whether this process serves a notebook."""
    if "IPython" not in sys.modules:  # no notebook runs without it, and its import takes long
        return False
    return hasattr(sys.modules["IPython"].get_ipython(), "kernel")
