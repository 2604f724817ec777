"""The networks and their arithmetic, as functions of arrays."""
