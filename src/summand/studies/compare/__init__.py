"""What changed from one model to another, in words."""
