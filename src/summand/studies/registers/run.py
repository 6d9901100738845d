"""Which neurons make a sink, and what neutralising them changes."""

from __future__ import annotations

from typing import Any

from ...models import Model
from ..given import images_of
from ..verb import verb
from .find import find_registers
from .options import RegistersOptions
from .result import Registers


@verb(RegistersOptions)
def registers(model: Model, images: Any, *, options: RegistersOptions) -> Registers:
    r"""Of an attention pool D_n = E_x[a_s(x) − a_s(x | z^n ← 0)], s the patch that is attended most (paper B's code);
    of a transformer D_n = (E|p_n| over outlying patches − E|p_n| over the others) ‖w_n‖ (Jiang et al. 2025): the `top`
    neurons of largest D_n, and the sink and the output without them. Three passes.

    images: a source string, a path, pictures in any form, or a survey, whose images are read again. What
    neutralising them costs a classifier: `summand.ablate`.

    Raises `SummandError` for towers that have no sinks of these kinds, and where no image can be read.
    """
    source = images_of(images, options.count).source
    found = find_registers(
        model, source, options.top,
        ratio=options.ratio, patch=options.patch, seed=options.seed, batch_size=options.batch_size,
        progress=None,
    )  # fmt: skip
    return Registers(found, options, model=model.name, data=source.label)
