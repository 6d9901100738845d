"""What a survey leaves, as results: its groups of units, their labels, and one unit."""
