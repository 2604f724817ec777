"""Input data: image files, the pyramid, noise, training windows."""
