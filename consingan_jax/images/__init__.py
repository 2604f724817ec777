"""Image files: reading them in any format, their meaning, and writing them."""
