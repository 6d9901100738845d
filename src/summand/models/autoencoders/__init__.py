"""Sparse autoencoders from files, and trained."""

from __future__ import annotations

from .files import at_layer, read_autoencoder, write_autoencoder

__all__ = ["at_layer", "read_autoencoder", "write_autoencoder"]
