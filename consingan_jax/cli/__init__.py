"""The command line: parses flags, calls the rooms below, reports errors in one line."""
