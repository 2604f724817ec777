"""Images of any size, computed and written tile by tile."""
