"""Tests; the files mirror those of the package."""
