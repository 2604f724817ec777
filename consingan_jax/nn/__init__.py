"""Arrays to arrays: the two networks and their arithmetic.

Nothing here knows a file, a configuration or a task.
"""
