"""Metrics of samples: quality, diversity and copying."""
