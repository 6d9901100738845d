"""What is said of the commands that inspect; they have no options of their own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DoctorOptions:
    """Check what is installed, and every identity that explanations of a model rest on: what to paste into an issue.

    Of a model that is named, the identities alone. Exits with 0 where all holds and with 1 where something does not.

    Examples:

    - summand doctor
    - summand doctor ViT-B-16 -p laion2b_s34b_b88k
    """


@dataclass(frozen=True)
class ModelsOptions:
    """List every model by name, with its image tower, the terms of its sum, and whether the sum is exact.

    Examples:

    - summand models
    - summand models --json
    """


@dataclass(frozen=True)
class PoolsOptions:
    """List the description pools, or the texts of one.

    Examples:

    - summand pools
    - summand pools general | head

    Parameters
    ----------
    pool
        Print the texts of this pool, or of a text file.
    """
