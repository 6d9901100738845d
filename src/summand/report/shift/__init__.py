"""The page of a shift report."""
