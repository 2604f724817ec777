"""The algorithm, and what a run keeps.

Stage by stage, iteration by iteration; logs, checkpoints, the directory of a run.
"""
