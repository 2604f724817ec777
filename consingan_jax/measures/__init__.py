"""How good samples are, how different, and how much of them is a copy.

Knows trained models and image files, not how a model came to be.
"""
