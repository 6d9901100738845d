"""Whether the labels of heads name what the heads really carry, on scenes, where the truth is known."""
