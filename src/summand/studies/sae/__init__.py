"""Sparse autoencoders of a model's stream, trained."""
