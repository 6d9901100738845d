"""Words for units: description pools and the algorithms that choose from them."""
