"""A CLIP that can be taken apart: pixels and texts in, embeddings and their terms out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from ..arguments import names_wrong_arguments
from ..effects.autoencoder import Autoencoder
from ..errors import SummandError
from ..towers import tower_of
from .adapters import device_of, image_dtype
from .guard import Guard
from .image_verbs import Answer, ImageVerbs
from .latent_verbs import LatentVerbs
from .made import Made
from .origin import Origin
from .pixels import picture, preprocessed
from .prepared import Prepared, cut_of
from .side_states import image_state
from .state import State
from .text_verbs import TextVerbs
from .texts import TextSide
from .world import World, world_of


@runtime_checkable
class Ablating(Protocol):
    """Units that always are at their mean."""

    def on(self, tower: Any, name: str) -> Any:
        """The tower with these units ablated. Raises `SummandError` where they are not those of this tower."""
        ...


@names_wrong_arguments
class Model(ImageVerbs, LatentVerbs, TextVerbs):
    """A CLIP that can be taken apart. Made by `load` or `wrap`.

    clip: the wrapped model itself, never changed. name: what it was loaded as. random_weights: True where the weights
    are random and every explanation is of noise. origin: what `load` was asked for, None of a wrapped model. world:
    what it has seen and which words it knows. alignment: of a model that `summand.align` made, what its map is worth.
    autoencoders: sparse autoencoders of its stream, by layer (`with_autoencoder`).

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
        autoencoders: Mapping[int, Autoencoder] | None = None,
    ) -> None:
        self._clip, self.name, self.random_weights, self.origin = clip, name, random_weights, origin
        self._preprocess, self._tokenizer = preprocess, tokenizer
        self._prefix, self._ablations = prefix, ablations
        self.world = world_of(preprocess, tokenizer) if world is None else world
        self.alignment: Any = None
        self.autoencoders = dict(autoencoders or {})
        self._recorded: frozenset[int] = frozenset()
        self._texts = TextSide(clip, tokenizer, name)
        self._image: Made[Any] = Made(lambda: image_state(clip), self._make_tower, name)
        self.tower  # what cannot be taken apart is refused at once

    def _make_tower(self, state: State) -> Any:
        tower: Any = tower_of(self.clip, self._prefix)
        tower.guard = Guard(self.clip, self.name, state)
        tower.recorded_batches = self._recorded
        for ablation in self._ablations:
            tower = ablation.on(tower, self.name)
        return tower

    def __getstate__(self) -> dict[str, Any]:
        return {
            **{"clip": self.clip, "preprocess": self._preprocess, "tokenizer": self._tokenizer, "name": self.name},
            **{"random_weights": self.random_weights, "prefix": self._prefix, "ablations": self._ablations},
            "origin": self.origin,
            "world": self.world,
            "autoencoders": self.autoencoders,
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
    def clip(self) -> Any:
        """The wrapped model itself, of another library. It may be changed; another one is wrapped anew."""
        return self._clip

    @clip.setter
    def clip(self, other: nn.Module) -> None:
        raise SummandError(f"{self.name} explains the model that it was made of; wrap the other model: summand.wrap(…)")

    def refresh(self) -> None:
        """Forget everything that was made of the model's weights, and check its sums again at the next question.

        Needed only after an edit that nothing can see: single elements written past torch's count of edits (through
        `.data`, a numpy view, or memory that something else shares).
        """
        self._image.forget()
        self._texts.forget()

    def compile(self, batch_size: int = 1) -> Model:
        """Write down the pass of so many images at its first use, and play it back from then on: a CUDA graph, one
        launch in place of a thousand; on a CPU the list of torch's own operations. Returns itself.

        Embeddings, heads, MLPs and every other term at the class token are then answered from a played pass (maps,
        tokens and neurons look inside a pass, which is made as ever, as are batches of other sizes). What was written
        down is thrown away when the model has changed, as all that is made of it. May be called for several sizes.

        Raises `SummandError` for another device, and for a model of which a pass cannot be written down: one that holds
        code of others, or whose output is no class token that every layer reads plainly.
        """
        if self.device.type not in ("cuda", "cpu"):
            raise SummandError(f"a pass is written down on cuda or on a CPU, {self.name} is on {self.device}")
        tower: Any = self.tower
        if not getattr(tower, "records", False) or tower.always_checked:
            raise SummandError(
                f"a pass of {self.name} ({tower.kind}) cannot be written down: only that of a class-token transformer "
                f"with plain pre-norm blocks and no hooks or code of your own; use it without compile"
            )
        if type(batch_size) is not int or batch_size < 1:
            raise SummandError(f"batch_size must be at least 1, got {batch_size!r}")
        self._recorded |= {batch_size}
        self._image.forget()
        return self

    def as_it_is(self) -> AbstractContextManager[None]:
        """For code that asks much of one batch: the image side is looked at on entering and when the block is left, and
        taken to stay as it is, in this thread, in between. Raises `SummandError` where it has not, on leaving."""
        return self._image.as_it_is()

    def at_once(self, work: Callable[[], Answer]) -> Answer:
        """What `work` gives, a function that asks much of one batch, as in `as_it_is` but with one look, behind it; it
        is called again where the model is no longer as it was last seen."""
        return self._image.at_once(work)

    def steer(self, steer: Any) -> Model:
        """M'(x) = M(x) + Σ_u (k_u − 1) φ_u(x): the same model with effects of units scaled, or set, at inference.

        steer: unit → factor, {"10.3": 0, "9:2914": 2.0}, or as text, "10.3=0,9:2914=2". 0 is a zero-ablation, 1 changes
        nothing. A unit is set, whatever the image is, by its coefficients in place of a factor: {"10.3": means[10, 3]}
        holds a head at its mean. The model is still a sum that is checked. Raises `SummandError` for units that it does
        not have.
        """
        from .ablations.steering import Steering  # it applies itself to models

        return Steering.of(self, steer).apply(self)

    def ablated(self, ablation: Ablating, what: str, done: str = "ablated") -> Model:
        """The same model with some units always at their mean, or steered; what: these units, for its name."""
        name = f"{self.name}, {what} {done}"
        return self._with(name=name, ablations=(*self._ablations, ablation), origin=None)

    def _with(self, **changes: Any) -> Any:
        """The same model with some of what it is made of changed."""
        return type(self)(**{**self.__getstate__(), **changes})

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

    @property
    def prepared(self) -> Prepared:
        """Its preprocessing in two halves: what readers of pictures do, and what is done on the model's device."""
        return Prepared(partial(preprocessed, self._preprocess, name=self.name), cut_of(self._preprocess))

    def picture(self, pixels: Float[Tensor, "image 3 height width"]) -> np.ndarray:
        """Preprocessed pixels back as the model sees them, uint8 [image, height, width, 3]."""
        return picture(pixels, self._preprocess, self._image_module)
