"""Networks and their arithmetic as functions of arrays."""
