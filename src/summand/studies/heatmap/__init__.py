"""Which parts of a picture speak for a text."""
