"""What there is, and whether it is sound: models, description pools, one model."""
