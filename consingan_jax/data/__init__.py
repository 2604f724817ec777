"""Training data: pyramids, noise, augmentation, sampling of windows."""
