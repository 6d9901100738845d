"""A CLIP that can be taken apart: pixels and texts in, embeddings and their terms out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from ..effects.activations import activations, mean_activations
from ..effects.direct import Parts
from ..effects.effects import Effects
from ..effects.first_order import first_order
from ..effects.indirect import indirect
from ..effects.pairs import pairs
from ..effects.published import Parity
from ..effects.second_order import second_order
from ..effects.text_parts import TextParts
from ..errors import SummandError
from ..towers import Tower, tower_of
from ..towers.text import TextTower
from .adapters import device_of, image_dtype
from .asked_again import AskedAgain
from .guard import Guard, anew, verified
from .made import WHILE, Made
from .origin import Origin
from .pixels import check_pixels, picture, preprocessed
from .state import State, image_state
from .texts import TEXT_BATCH, TextSide
from .world import World, world_of

Answer = TypeVar("Answer")


@runtime_checkable
class Ablating(Protocol):
    """Units that always are at their mean."""

    def on(self, tower: Any, name: str) -> Any:
        """The tower with these units ablated. Raises `SummandError` where they are not those of this tower."""
        ...


class Model:
    """A CLIP that can be taken apart. Made by `load` or `wrap`.

    clip: the wrapped model itself, never changed. name: what it was loaded as. random_weights: True where the weights
    are random and every explanation is of noise. origin: what `load` was asked for, None of a wrapped model. world:
    what it has seen and which words it knows.

    The model may be trained further, edited, moved, or have modules replaced: every question first looks whether it is
    as it was (`State`), and what was made of its weights is made anew where it is not. The first question of a state
    checks that the sum is the model's own embedding (`Guard`), and raises `SummandError` where it is not. Threads may
    share a model; copies and pickles take the wrapped model with them and nothing that was made of it.
    """

    def __init__(
        self,
        clip: nn.Module,
        preprocess: Callable[..., Any] | None,
        tokenizer: Callable[..., Any] | None,
        name: str,
        random_weights: bool = False,
        *,
        prefix: int | None = None,
        ablations: tuple[Ablating, ...] = (),
        origin: Origin | None = None,
        world: World | None = None,
    ) -> None:
        self._clip, self.name, self.random_weights, self.origin = clip, name, random_weights, origin
        self._preprocess, self._tokenizer = preprocess, tokenizer
        self._prefix, self._ablations = prefix, ablations
        self.world = world_of(preprocess, tokenizer) if world is None else world
        self._texts = TextSide(clip, tokenizer, name)
        self._image: Made[Any] = Made(lambda: image_state(clip), self._make_tower, name)
        self.tower  # what cannot be taken apart is refused at once

    def _make_tower(self, state: State) -> Any:
        tower: Any = tower_of(self.clip, self._prefix)
        tower.guard = Guard(self.clip, self.name, state)
        for ablation in self._ablations:
            tower = ablation.on(tower, self.name)
        return tower

    def __getstate__(self) -> dict[str, Any]:
        return {
            **{"clip": self.clip, "preprocess": self._preprocess, "tokenizer": self._tokenizer, "name": self.name},
            **{"random_weights": self.random_weights, "prefix": self._prefix, "ablations": self._ablations},
            "origin": self.origin,
            "world": self.world,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def __repr__(self) -> str:
        tower = self.tower
        weights = " with RANDOM weights" if self.random_weights else ""
        return (
            f"<summand.Model {self.name}{weights}: {tower.kind}, {tower.layers} × {tower.heads} heads, {tower.embed}-d>"
        )

    @property
    def clip(self) -> nn.Module:
        """The wrapped model itself. It may be changed; another one is wrapped anew."""
        return self._clip

    @clip.setter
    def clip(self, other: nn.Module) -> None:
        raise SummandError(f"{self.name} explains the model that it was made of; wrap the other model: summand.wrap(…)")

    @property
    def tower(self) -> Tower:
        """The image side as a sum, of the model as it is now; made anew where the model has changed."""
        return self._image.current()

    def refresh(self) -> None:
        """Forget everything that was made of the model's weights, and check its sums again at the next question.

        Needed only after an edit that nothing can see: single elements written past torch's count of edits (through
        `.data`, a numpy view, or memory that something else shares).
        """
        self._image.forget()
        self._texts.forget()

    def as_it_is(self) -> AbstractContextManager[None]:
        """For code that asks much of one batch: the image side is looked at on entering and when the block is left, and
        taken to stay as it is, in this thread, in between. Raises `SummandError` where it has not, on leaving."""
        return self._image.as_it_is()

    def at_once(self, work: Callable[[], Answer]) -> Answer:
        """What `work` gives, a function that asks much of one batch, as in `as_it_is` but with one look, behind it; it
        is called again where the model is no longer as it was last seen."""
        return self._image.at_once(work)

    def ablated(self, ablation: Ablating, what: str) -> Model:
        """The same model with some units always at their mean; what: these units, for its name."""
        return Model(
            self.clip,
            self._preprocess,
            self._tokenizer,
            f"{self.name}, {what} ablated",
            self.random_weights,
            prefix=self._prefix,
            ablations=(*self._ablations, ablation),
            world=self.world,
        )

    @property
    def device(self) -> torch.device:
        return device_of(self.clip)

    @property
    def dtype(self) -> torch.dtype:
        """What the image tower computes in. Its LayerNorms and positions may be kept in fp32 beside bf16 weights."""
        return image_dtype(self._image_module)

    @property
    def _image_module(self) -> nn.Module:
        found = (getattr(self.clip, name, None) for name in ("visual", "vision_model"))
        return next((module for module in found if isinstance(module, nn.Module)), self.clip)

    def preprocess(self, images: Image.Image | np.ndarray) -> Float[Tensor, "*image 3 height width"]:
        """A PIL image → [3, height, width]; a uint8 array [image, height, width, 3] → [image, 3, height, width]."""
        return preprocessed(self._preprocess, images, self.name)

    def picture(self, pixels: Float[Tensor, "image 3 height width"]) -> np.ndarray:
        """Preprocessed pixels back as the model sees them, uint8 [image, height, width, 3]."""
        return picture(pixels, self._preprocess, self._image_module)

    @torch.no_grad()
    def encode_image(self, x: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image embed"]:
        """The wrapped model's own numbers, not normalised."""
        return self._checked(x)[1].encode(x)

    def encode_text(self, texts: str | Sequence[str], progress: bool = False) -> Float[Tensor, "text embed"]:
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
        progress: bool = False,
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

    def decompose(self, x: Float[Tensor, "image channel height width"], parity: Parity = None) -> Parts:
        """The terms whose sum is `encode_image(x)`. One forward pass, made when the first term is asked for.

        x: preprocessed pixels [image, 3, height, width] on the model's device. parity="paper": constants split evenly
        over the terms, as paper C's code does it (class-token transformers). Raises `SummandError` for a wrong
        shape, dtype or device, NaN or infinite pixels, an empty batch, or a model in training mode; where the terms do
        not sum to the model's own embedding; and, later, where the model was changed before a question is asked.
        """
        tower = verified(lambda: self._checked(x)[1], x, self._image.forget)
        asked = AskedAgain(self._image, lambda: self.tower, tower.guard.state)
        return Parts(tower, x.clone(), tower.encode, parity, asked=asked)

    def pairs(
        self, x: Float[Tensor, "image channel height width"], positions: bool = True, parity: Parity = None
    ) -> Effects:
        """Effects of the neuron–head pairs of an attention pool (paper B): units (neuron, head), one path each.

        Exactly rank one: Σ_i a_i^h z_i^n times row n of W_VO^h. All pairs and `.rest` sum to `encode_image(x)`.
        positions=False leaves the pool's positional embedding out of z. parity="paper": value and output biases dealt
        out evenly over the pairs, as paper B's code does it (ModifiedResNet). Raises `SummandError` for a tower
        without an attention pool, and as `decompose` does.
        """
        return self._asked(x, lambda tower: pairs(tower, x, positions, parity))

    def second_order(
        self, x: Float[Tensor, "image channel height width"], layer: int, parity: Parity = None
    ) -> Effects:
        """Second-order effects of the MLP neurons of a layer (paper A): units (neuron,), a path for each later head.

        `.path_index` says which (layer, head) each path is. Layers count from 0; the last one has no later attention.
        parity="paper": constants dealt out evenly and 100 / ‖M(x)‖, as paper A's code does it (class-token
        transformers). Raises `SummandError` for a layer or a tower without second-order effects, and as `decompose`
        does.
        """
        return self._asked(x, lambda tower: second_order(tower, x, layer, parity))

    def first_order(self, x: Float[Tensor, "image channel height width"], layer: int) -> Effects:
        """What every MLP neuron of a layer writes to the pooled token itself (paper A): units (neuron,), one path.

        With the output bias they sum to `decompose(x).mlps()[:, layer]`. Raises `SummandError` for a layer or a tower
        without neurons, and as `decompose` does.
        """
        return self._asked(x, lambda tower: first_order(tower, x, layer))

    def activations(
        self, x: Float[Tensor, "image channel height width"], layer: int
    ) -> Float[Tensor, "image token neuron"]:
        """How active every MLP neuron of a layer is at every token, behind the non-linearity.

        Raises `SummandError` for a layer or a tower without neurons, and as `decompose` does.
        """
        return self._asked(x, lambda tower: activations(tower, x, layer))

    def mean_activations(
        self, batches: Iterable[Float[Tensor, "image channel height width"]], layer: int
    ) -> Float[Tensor, "token neuron"]:
        """Mean activation of every neuron at every token over a data set, fp64; one batch of pixels is held at a time.

        Raises `SummandError` for no images at all, and as `activations` does.
        """
        return mean_activations(self.activations(x, layer) for x in batches)

    def indirect(
        self,
        x: Float[Tensor, "image channel height width"],
        layer: int,
        neurons: Sequence[int],
        means: Float[Tensor, "token neuron"],
        batch_size: int = 64,
        progress: bool = False,
    ) -> Effects:
        """encode_image(x) − the same with one neuron held at its mean at every token, by a real pass (paper A).

        neurons: which of the layer's; means: [token, neuron] of the whole layer, from `mean_activations`. Units
        (neuron,), in the order given; paths: the dimensions of the output. Later blocks run once for each image and
        neuron, batch_size of them at a time. Raises `SummandError` for a layer, neuron or means that do not fit, and
        as `decompose` does.
        """
        return self._asked(x, lambda tower: indirect(tower, x, layer, neurons, means, batch_size, progress))

    def check_pixels(self, x: Tensor) -> None:
        """Raises `SummandError` unless x is what `encode_image` takes: [image, 3, height, width] of the tower's size,
        not empty, finite, in the model's dtype and on its device, and the model in eval mode."""
        self._checked(x)

    def _checked(self, x: Tensor) -> tuple[State, Any]:
        """The state of the model now, and the tower, for pixels that it can read."""
        state, tower = self._image.seen()
        check_pixels(x, tower, self.name, self.dtype, self.device)
        return state, tower

    def _asked(self, x: Tensor, ask: Callable[[Any], Answer]) -> Answer:
        """What the tower answers, where nothing has changed the model meanwhile."""
        return anew(lambda: self._asked_once(x, ask), lambda: self.tower, self._image.forget)

    def _asked_once(self, x: Tensor, ask: Callable[[Any], Answer]) -> Answer:
        state, tower = self._checked(x)
        unchanged = self._image.unchanged(state, WHILE)
        try:
            answer = ask(tower)
        except SummandError:
            raise
        except Exception:  # of a model that is half another one
            unchanged()
            raise
        unchanged()
        return answer
