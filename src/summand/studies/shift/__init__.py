"""Which units read differently in two sets of images, in words."""
