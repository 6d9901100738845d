"""What is kept of effects over a data set: moments, top images, norms, and the direction of each unit."""
