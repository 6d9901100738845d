"""Whether maps are faithful: what the answer does while the patches that a map ranks are taken away or put back."""
