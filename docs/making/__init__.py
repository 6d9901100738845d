"""Pages of the site that are made of the code itself, so that they cannot fall behind it."""
