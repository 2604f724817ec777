"""Run directories: their files, lock, inputs, logs and report page."""
