"""What goes in: pictures, the levels of their pyramid, noise.

The only room that opens image files.
"""
