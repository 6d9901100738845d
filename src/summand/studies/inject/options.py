"""What can be asked of `inject`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..verb import OptionError, at_least


@dataclass(frozen=True)
class InjectOptions:
    """Strengthen the heads that carry the classes rather than a spurious attribute: what follows a removal.

    Heads whose variance on unlabelled images lies along the classes' texts rather than along the attribute's are found,
    and their effects multiplied by --gain. It is the second step behind summand debias (give its file as --ablation);
    the result names the heads as --steer takes them.

    Examples:

    - summand inject scenes:count=400,seed=6,tie=shape/place/0.95 --classes shape --attribute place --gain 1.25
      --model scenes-vit-tied --ablation repaired/ablation.npz
    - summand inject birds/ --classes landbird,waterbird --attribute "on land,on water" --gain 2 --model ViT-L-14
      --pretrained laion2b_s32b_b82k

    Parameters
    ----------
    images
        Unlabelled images: a folder, a table, hf:NAME or scenes[:…].
    """

    classes: str | Sequence[str] = ()
    """Names with commas between them, a text file with a name a line, or an attribute of the model's world."""
    attribute: str | Sequence[str] = ()
    """The spurious attribute: its values as texts with commas between, or an attribute of the model's world."""
    gain: float = 1.0
    """What the heads' effects are multiplied by; choose it on labelled images held out. 1 strengthens nothing and only
    finds the heads."""
    cover: float = 0.9
    """Heads are chosen until they carry this share of the classes."""
    layers: str | Sequence[int] | None = None
    """Of which layers: 8-11 [default: all]."""
    templates: str | Sequence[str] | None = None
    """openai (80), simple (7), a text file, or one such as 'a photo of {}' [default: the model's own]."""

    def __post_init__(self) -> None:
        for name in ("classes", "attribute"):
            if not getattr(self, name):
                raise OptionError(name, "must say what the images show, in texts or by an attribute's name")
        if not 0 < self.cover <= 1:
            raise OptionError("cover", f"must be a share above 0 and up to 1, got {self.cover}")
        at_least("gain", self.gain, 1)
