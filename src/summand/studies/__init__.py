"""What to do with the terms of the sum."""
