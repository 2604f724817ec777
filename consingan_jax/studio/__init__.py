"""The browser interface, over the public API."""
