"""Natural pictures that mislead a zero-shot classifier, from the words of its own neurons (paper A, §5.1)."""
