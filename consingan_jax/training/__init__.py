"""Trains one model on one image, stage by stage."""
