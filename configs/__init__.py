"""Configuration files for `--config=FILE.py`, one for each task."""
