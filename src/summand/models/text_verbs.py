"""What a model is asked about texts."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..effects.text_parts import TextParts
from ..towers.text import TextTower
from .texts import TEXT_BATCH, TextSide


@names_wrong_arguments
class TextVerbs:
    """The questions to the text side of a `Model`."""

    random_weights: bool
    _texts: TextSide

    def encode_text(self, texts: str | Sequence[str], progress: bool | None = False) -> Float[Tensor, "text embed"]:
        """Unit-norm embeddings of texts, fp32 or better. progress: a bar on stderr for many texts.

        A text that was read before is not encoded again while the text side stays as it is, and is kept on disk for the
        next time, but for random weights (see `text_batch`). Raises `SummandError` for an empty list, an empty
        text, a text longer than the model's context, or a model in training mode.
        """
        disk = False if self.random_weights else None
        return self._texts.kept(self._texts.checked(texts), progress=progress, disk=disk)

    def text_batch(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = TEXT_BATCH,
        progress: bool | None = False,
        cache: bool = True,
    ) -> Float[Tensor, "text embed"]:
        """`encode_text` for many texts: each text once, in batches, kept on disk for the next time.

        progress: a bar on stderr. cache: look up and keep embeddings in memory and in `SUMMAND_CACHE` (else in the
        platform's cache folder), by a hash of the text side, and the text's tokens; random weights in memory alone.
        Nothing is kept where functions of your own take part (hooks, classes), which no hash can tell apart.
        """
        texts = self._texts.checked(texts)
        if not cache:
            return self._texts.without_memory(texts, batch_size, progress)
        return self._texts.kept(texts, batch_size=batch_size, progress=progress, disk=not self.random_weights)

    def text_tokens(self, texts: str | Sequence[str]) -> Int[Tensor, "text token"]:
        """What the model's tokenizer makes of texts. Raises `SummandError` as `encode_text` does."""
        return self._texts.tokens(self._texts.checked(texts))

    def decompose_text(self, texts: str | Sequence[str]) -> TextParts:
        """The terms whose sum is the text's embedding before it is normalised: heads, words (tokens), MLPs.

        The vocabulary is that of `decompose`, with texts in the place of images and words in the place of patches.
        Raises `SummandError` as `encode_text` does, and for a text tower that cannot be taken apart.
        """
        return self._texts.parts(self._texts.checked(texts))

    @property
    def text_tower(self) -> TextTower:
        """The text side as a sum; made when first asked for."""
        return self._texts.tower
