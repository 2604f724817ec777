import numpy as np
import pytest

from consingan_jax.tiled.preview import Preview


def test_parts_in_any_order():
    """Parts of any size give the means over squares; those at the edge are cut."""
    pixels = np.random.default_rng(0).integers(0, 256, (2000, 2051, 1), np.uint8)
    preview = Preview(2000, 2051, 1)
    for left in (700, 0, 1401):
        for top in (1999, 0, 3):
            bottom = {0: 3, 3: 1999, 1999: 2000}[top]
            preview.add(top, left, pixels[top:bottom, left : {0: 700, 700: 1401}.get(left, 2051)])
    small = preview.pixels()
    assert small.shape == (667, 684, 1)  # of 3x3 px
    assert small[1, 2, 0] == pixels[3:6, 6:9].mean()
    assert small[-1, -1, 0] == pixels[1998:, 2049:].mean()
    assert small.mean() == pytest.approx(pixels.mean(), abs=0.1)
    assert Preview(1024, 5, 1).pixels().shape == (1024, 5, 1)
