"""Divides an image into tiles of one size, so that one compiled program renders all of them."""

import dataclasses
from collections.abc import Iterator

from consingan_jax.nn.resize import Size


@dataclasses.dataclass(frozen=True)
class TileGrid:
    """Tiles of one size that cover a canvas, row by row.

    Along each axis they start at 0, t, 2t, ..., except that the last one is moved inside, where it
    overlaps the one before.

    Attributes:
        canvas: (height, width) of the image.
        tile: requested (height, width); a smaller canvas has tiles of its own size.
    """

    canvas: Size
    tile: Size

    @property
    def size(self) -> Size:
        """(height, width) of each tile."""
        return min(self.canvas[0], self.tile[0]), min(self.canvas[1], self.tile[1])

    @property
    def grid(self) -> Size:
        """Number of tiles down and across."""
        return -(-self.canvas[0] // self.size[0]), -(-self.canvas[1] // self.size[1])

    def place(self, number: int) -> tuple[int, int]:
        """Returns (top, left) of a tile."""
        top, left = self.new(number)[:2]
        return min(top, self.canvas[0] - self.size[0]), min(left, self.canvas[1] - self.size[1])

    def places(self) -> Iterator[tuple[int, int]]:
        """Yields (top, left) of every tile."""
        return map(self.place, range(self.grid[0] * self.grid[1]))

    def new(self, number: int) -> tuple[int, int, int, int]:
        """Returns (top, left, height, width) of the part of a tile that no earlier one covers."""
        row, column = divmod(number, self.grid[1])
        top, left = row * self.size[0], column * self.size[1]
        height, width = self.canvas[0] - top, self.canvas[1] - left
        return top, left, min(height, self.size[0]), min(width, self.size[1])
