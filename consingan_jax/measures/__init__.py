"""Metrics: quality, diversity and copying of samples."""
