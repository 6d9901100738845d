"""Where in a picture something is said: maps of tokens, neurons and pairs, and the methods they are compared with."""
