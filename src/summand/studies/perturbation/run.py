"""Whether maps are faithful, on pictures without masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from ...data import Skipped
from ...data.adapters import open_images
from ...data.sources import batches
from ...errors import SummandError
from ...maps.methods import MapMethod, choose, default_methods, needs_reference, prepare
from ...maps.references import learnt_from
from ...models import Model, pixels_of
from ...progress import Progress
from ...unit import split
from ..verb import verb
from .curves import AREAS, perturbation_curves
from .options import PerturbationOptions
from .result import Perturbation


@verb(PerturbationOptions)
def perturb(model: Model, images: Any, texts: Sequence[str], *, options: PerturbationOptions) -> Perturbation:
    r"""area = ∫ answer(x with the share s of its patches missing) ds, the patches ranked by the map of the text that
    the model itself says of the picture (Petsiuk et al. 2018; in both orders: Chefer et al. 2021, section 4).

    images: a source string, a path, pictures in any form. texts: two or more, among which the model chooses. About 20
    passes a picture and method. With true classes: `summand.segment(…, perturbation=True)`.

    Raises `SummandError` for methods that do not apply to the model, and where no picture can be read.
    """
    given = [texts] if isinstance(texts, str) else list(texts)
    if len(given) < 2:
        raise SummandError(f"expected two texts or more, among which the model chooses; got {len(given)}")
    source = open_images(images, options.count)
    names, refused = choose(model, default_methods(model) if options.methods is None else split(options.methods))
    learnt = learnt_from(model, options.reference)[0] if needs_reference(names) else None
    ready = [prepare(model, name, learnt) for name in names]
    encoded = model.encode_text(given)
    rows: list[dict[str, Any]] = []
    sums: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    skipped: list[Skipped] = []
    images_seen, shares = 0, np.zeros(0)
    with Progress("perturb", len(source) * len(ready), "maps") as bar:
        for batch in batches(source, options.batch_size, skipped):
            pixels = pixels_of(model, batch.images)
            with model.as_it_is():
                which = (model.encode_image(pixels).to(encoded) @ encoded.T).argmax(dim=1)
                images_seen += len(which)
                for method in ready:
                    found = perturbation_curves(
                        model, pixels, _maps(method, pixels, encoded, which), encoded, which, options
                    )
                    shares, areas = found.shares, found.areas()
                    for name in AREAS:
                        total = getattr(found, name).sum(axis=0)
                        sums[method.name][name] = total + sums[method.name].get(name, 0)
                    rows += [
                        {"image": source.name(index), "method": method.name, "text": given[int(which[i])]}
                        | {name: float(areas[name][i]) for name in AREAS}
                        for i, index in enumerate(batch.indices)
                    ]
                    bar.update(len(which))
    if not rows:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in skipped[:3])
        raise SummandError(f"{source.label}: not one picture could be read ({reasons})")
    curves = {name: {key: (total / images_seen).tolist() for key, total in of.items()} for name, of in sums.items()}
    more = {"images": images_seen, "shares": shares.tolist(), "curves": curves, "refused": refused, "skipped": skipped}
    notes = [f"{len(skipped)} pictures were skipped ({skipped[0].name}: {skipped[0].reason} …)"] if skipped else []
    titles = {method.name: method.title for method in ready}
    return Perturbation(pd.DataFrame(rows), titles, options, model=model.name, data=source.label, notes=notes, **more)


def _maps(method: MapMethod, pixels: Tensor, texts: Tensor, which: Tensor) -> Tensor:
    """The signed map of each picture's text."""
    return method.of_one(pixels, method.directions(texts), which)
