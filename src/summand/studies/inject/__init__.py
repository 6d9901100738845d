"""Heads that carry the classes, strengthened."""
