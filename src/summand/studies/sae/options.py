"""What can be asked of `sae`."""

from __future__ import annotations

from dataclasses import dataclass

from ..verb import at_least


@dataclass(frozen=True)
class SaeOptions:
    """Train a sparse autoencoder on the stream that leaves a layer: `summand sae train IMAGES`.

    Its latents are then units as neurons are: --sae FOLDER in every command, latents:LAYER in --units, 9#1234 for one.
    The k largest latents of every token are kept. Folders of SAELens, Prisma, saev and overcomplete are read as --sae
    too; this is for models that have none.

    Examples:

    - summand sae train scenes:count=3000,seed=9 --layer 3 --latents 512 --top-k 8 --out saes/layer3
    - summand survey scenes --sae saes/layer3 --units latents --out run

    Parameters
    ----------
    action
        train.
    images
        Unlabelled images: a folder, a table, hf:NAME or scenes[:…].
    """

    layer: int | None = None
    """The layer whose stream it reads [default: the last but two]."""
    latents: int = 1024
    """How many."""
    top_k: int = 16
    """Latents that a token may use."""
    epochs: int = 4
    """Times every token is seen."""
    tokens: int = 400_000
    """At most so many tokens are kept in memory, spread over the images."""
    seed: int = 0
    """Of the first latents and the order of the tokens."""

    def __post_init__(self) -> None:
        for name in ("latents", "top_k", "epochs", "tokens"):
            at_least(name, getattr(self, name), 1)
        at_least("layer", self.layer, 0)
        at_least("seed", self.seed, 0)
