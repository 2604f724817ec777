"""A trained model and everything that is generated with it."""
