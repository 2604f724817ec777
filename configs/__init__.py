"""Configurations, one file a task."""
