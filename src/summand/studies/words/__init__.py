"""Which word of a text makes it similar to an image, or to another text."""
