"""What comes out: a trained model, and all that is made with it.

Samples, reconstructions, animations, harmonized and edited composites.
"""
