"""Sparse autoencoders from files, and trained."""

from __future__ import annotations

from .files import read_autoencoder, write_autoencoder
from .stored import at_layer

__all__ = ["at_layer", "read_autoencoder", "write_autoencoder"]
