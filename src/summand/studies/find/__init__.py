"""Units by a text or an image, and where a reviewer of all units should look."""
