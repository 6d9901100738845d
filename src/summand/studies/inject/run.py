"""Heads that carry the classes, strengthened (after Locate-Then-Correct, arXiv:2505.17425)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError
from ...models import Model
from ...unit import Group
from ..ablation.options import read_layers
from ..debias.spurious import NoUnits, choose
from ..debias.suspects import head_moments
from ..given import images_of
from ..verb import verb
from ..zeroshot import attribute_classes, classifier, named_classes, read_names, read_templates
from .options import InjectOptions
from .result import Injected


@verb(InjectOptions)
def inject(
    model: Model,
    images: Any,
    *,
    options: InjectOptions,
    batch_size: int = 64,
    count: int | None = None,
) -> Injected:
    r"""M'(x) = M(x) + (g − 1) Σ_{u ∈ P} φ_u(x), P the heads that vary along the classes' texts rather than along the
    attribute's over unlabelled images (`choose`, with the two in each other's place), g the gain.

    Locate-Then-Correct finds the heads of the class and of the spurious attribute, takes the second out and puts the
    class's own direction into the first; here their own effect is multiplied. The first step is `debias`, whose
    repaired model (`.model`) this takes as it takes any other. images: unlabelled, in any form, or a survey's.

    Raises `SummandError` where no head carries the classes rather than the attribute.
    """
    given = images_of(images, count)
    classes, attribute = (_directions(model, said, options) for said in (options.classes, options.attribute))
    layers = read_layers(options.layers)
    moments, where = head_moments(model, given.source, layers, batch_size, None, given.run)
    try:
        found = choose(moments, classes, attribute, where, options.cover)
    except NoUnits as error:
        raise SummandError(
            "no head varies more along the classes than along the attribute, so there is none to strengthen; give more "
            "images, or name heads with steer="
        ) from error
    steer = {Group("heads").unit(one.unit): options.gain for one in found}
    return Injected.of(model, model.steer(steer), found, steer, options, given.source.label)


def _directions(model: Model, said: str | Sequence[str], options: InjectOptions) -> Float[Tensor, "text embed"]:
    if isinstance(said, str) and options.templates is None and said in model.world.attributes:
        return classifier(model, attribute_classes(model.world, said))
    return classifier(model, named_classes(read_names(said), read_templates(options.templates, model)))
