"""The tool in a browser: the public functions, each behind a button."""
