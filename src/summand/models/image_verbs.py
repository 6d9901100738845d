"""What a model is asked about images: embeddings, and the terms whose sum they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..effects.activations import activations, mean_activations
from ..effects.direct import Parts
from ..effects.effects import Effects
from ..effects.first_order import first_order
from ..effects.indirect import indirect
from ..effects.pairs import pairs
from ..effects.published import Parity
from ..effects.second_order import second_order
from ..errors import SummandError
from ..towers import Tower
from .ahead import begun
from .asked_again import AskedAgain
from .guard import anew, verified
from .made import WHILE, Made
from .pixels import check_pixels
from .state import State
from .training_mode import in_training

Answer = TypeVar("Answer")


@names_wrong_arguments
class ImageVerbs:
    """The questions to the image side of a `Model`."""

    name: str
    _image: Made[Any]

    @property
    def tower(self) -> Tower:
        """The image side as a sum, of the model as it is now; made anew where the model has changed."""
        return self._image.current()

    @property
    def device(self) -> torch.device:
        raise NotImplementedError

    @property
    def dtype(self) -> torch.dtype:
        raise NotImplementedError

    @torch.no_grad()
    def encode_image(self, x: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image embed"]:
        """The wrapped model's own numbers, not normalised."""
        return self._checked(x)[1].encode(x)

    def decompose(self, x: Float[Tensor, "image channel height width"], parity: Parity = None) -> Parts:
        """The terms whose sum is `encode_image(x)`. One forward pass, made when the first term is asked for (on a GPU
        begun at once, so that it works while the model is looked at).

        x: preprocessed pixels [image, 3, height, width] on the model's device. parity="paper": constants split evenly
        over the terms, as paper C's code does it (class-token transformers). Raises `SummandError` for a wrong
        shape, dtype or device, NaN or infinite pixels, an empty batch, or a model in training mode; where the terms do
        not sum to the model's own embedding; and, later, where the model was changed before a question is asked.
        """
        x = x.clone() if isinstance(x, Tensor) else x  # of which all that follows is
        found = begun(self._image, x, self._check)
        if found is None or found[0].verify("sum", x):
            found = verified(lambda: self._checked(x)[1], x, self._image.forget), None
        tower, ahead = found
        asked = AskedAgain(self._image, lambda: self.tower, tower.guard.state)
        return Parts(tower, x, tower.encode, parity, asked=asked, begun=ahead)

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
        progress: bool | None = False,
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
        self._check(x, state, tower)
        return state, tower

    def _check(self, x: Tensor, state: State, tower: Any) -> None:
        training = state.known("training", lambda: in_training(tower.visual))
        check_pixels(x, tower, self.name, self.dtype, self.device, training)

    def _asked(self, x: Tensor, ask: Callable[[Any], Answer]) -> Answer:
        """What the tower answers, where nothing has changed the model meanwhile: one look, behind the answer, but of a
        model that holds code of others, whose passes may change it."""

        def once() -> Answer:
            last = self._image.last
            if last is None or last[1].always_checked:
                return self._asked_once(x, ask)
            return self._image.at_once(lambda: self._asked_once(x, ask))

        return anew(once, lambda: self.tower, self._image.forget)

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
