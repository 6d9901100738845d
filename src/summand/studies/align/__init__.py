"""Any vision transformer in words: its output mapped into the space of a CLIP."""
