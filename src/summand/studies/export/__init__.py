"""A repaired model as a file that runs without Summand."""
