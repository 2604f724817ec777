"""The algorithm: one model learned from one image, stage by stage."""
