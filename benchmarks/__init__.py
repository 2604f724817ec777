"""Measurements; none of them is a test."""

from absl import logging

logging.set_verbosity(logging.WARNING)  # JAX tells which backends are not there
