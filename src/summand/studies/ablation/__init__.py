"""What a classifier loses when terms of the sum are held at their mean."""
