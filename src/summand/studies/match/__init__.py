"""Which part of an image or a text goes with which part of another."""
