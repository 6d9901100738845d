"""Find what carries a spurious attribute, and hold it at its mean."""
