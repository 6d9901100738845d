"""Every method on the same pictures, which are read once, against their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ...data import Skipped
from ...data.masks import UNLABELLED, Masked, MaskSource
from ...errors import SummandError
from ...maps.methods import Batches, MapMethod, prepare
from ...maps.placing import placed, share_of
from ...maps.sound import check_sound
from ...maps.windows import cut, fitted, fitted_mask, scale_of, stitched
from ...models import Model, pixels_of
from ...progress import Progress
from ..perturbation.curves import AREAS, perturbation_curves
from ..perturbation.options import PerturbationOptions
from .batches import batches_of
from .costs import Costs
from .metrics import ClassScores, FigureScores, rescaled
from .protocol import Example, Protocol, Scores, of_figures
from .texts import class_texts


def score(
    model: Model,
    source: MaskSource,
    methods: Sequence[str] | Sequence[MapMethod],
    protocol: Protocol | None = None,
    *,
    reference: Batches | None = None,
    batch_size: int = 32,
    examples: int = 0,
    perturbation: PerturbationOptions | None = None,
    progress: bool | None = False,
) -> Scores:
    """Scores of every method on the same pictures, which are read and preprocessed once.

    Figures (scenes, ImageNet-Segmentation): each picture's map against its figure. Semantic masks: all classes at once,
    each pixel the class of its largest map (where there is a background: what stays below the threshold of the
    largest map, scaled); with asked="predicted", the predicted class's map against everything but the background.
    Pictures that cannot be read are skipped and reported; one without a figure is left out, unless all is to be as
    published (protocol.paper).

    perturbation: also the areas under each figure map's deletion and insertion curves (of the signed map, on its own
    grid), which ask the model and no mask; about 20 passes a picture and method.

    Raises `SummandError` before any work for methods or protocols that do not fit the source.
    """
    protocol = protocol or Protocol()
    figures = of_figures(source, protocol, perturbation)
    made = [m if isinstance(m, MapMethod) else prepare(model, m, reference, protocol.paper) for m in methods]
    if not made:
        raise SummandError("expected at least one method")
    texts = class_texts(model, source, protocol.paper)
    job = _Job(model, source, made, protocol, texts, examples, figures, perturbation)
    skipped: list[Skipped] = []
    with Progress("segment", len(source), "pictures", progress) as bar:
        for batch in batches_of(source, batch_size, skipped):
            job.take(batch)
            bar.update(batch[-1][0] + 1 - bar.done)
    if job.images == 0:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in skipped[:3])
        raise SummandError(f"{source.label}: no picture could be segmented ({reasons or 'no mask has a figure'})")
    return Scores(
        scores={
            m.name: {**job.scores[m.name].compute(), **job.areas(m.name), "cost": job.costs.of(m.name)} for m in made
        },
        per_image=pd.DataFrame(job.rows),
        examples=job.examples,
        images=job.images,
        skipped=tuple(skipped),
        protocol=protocol,
        task="figures" if figures else "classes",
    )


class _Job:
    def __init__(
        self,
        model: Model,
        source: MaskSource,
        methods: list[MapMethod],
        protocol: Protocol,
        texts: Tensor,
        examples: int,
        figures: bool,
        perturbation: PerturbationOptions | None,
    ) -> None:
        self.model, self.source, self.methods, self.protocol, self.texts = model, source, methods, protocol, texts
        self.figures, self.wanted, self.perturbation = figures, examples, perturbation
        self.things = source.things
        self.size = model.tower.image_size
        self.costs, self.images = Costs(model, methods), 0
        self.rows: list[dict[str, Any]] = []
        self.examples: list[Example] = []
        self.directions = {method.name: method.directions(texts) for method in methods}
        self.scores: dict[str, Any] = {m.name: self._empty(m) for m in methods}

    def _empty(self, method: MapMethod) -> Any:
        if not self.figures:
            return ClassScores(len(self.source.classes), self.source.background)
        threshold = method.threshold if self.protocol.threshold is None else self.protocol.threshold
        return FigureScores(threshold, self.protocol.paper)

    def found(self, name: str) -> dict[str, float]:
        """All that is said of a method."""
        return {**self.scores[name].compute(), **self.areas(name), "cost": self.costs.of(name)}

    def areas(self, name: str) -> dict[str, float]:
        """Mean areas under the curves of a method, where they were asked for."""
        rows = [row for row in self.rows if row["method"] == name] if self.perturbation else []
        return {key: float(np.mean([row[key] for row in rows])) for key in AREAS if rows}

    def take(self, batch: list[tuple[int, Masked]]) -> None:
        found = [item for _, item in batch if self._counts(item)]
        if found:
            with self.model.as_it_is():
                self._take(found)

    def _take(self, found: list[Masked]) -> None:
        self.images += len(found)
        fit = self.protocol.fit
        pictures = [fitted(item.image, scale_of(self.model, self.size), fit) for item in found]
        if fit == "windows":
            for item, picture in zip(found, pictures, strict=True):
                self._windowed(item, picture)
            return
        pixels = pixels_of(self.model, pictures)
        embeddings = self.costs.time("encode_image", self.model.encode_image, pixels)
        shared, which = self.costs.shared(pixels), self._asked(found, embeddings)
        masks = [fitted_mask(self._mask(item), self.size, fit) for item in found]
        for method in self.methods:
            along = self.directions[method.name]
            areas: dict[str, np.ndarray] = {}
            if self.figures:
                signed = self.costs.time(method.name, method.of_one, pixels, along, which, shared)
                # published: up-sampled first, then clipped
                maps = signed[:, None] if self.protocol.paper else method.shaped(signed)[:, None]
                if self.perturbation:
                    texts = self.texts.to(pixels)
                    areas = perturbation_curves(self.model, pixels, signed, texts, which, self.perturbation).areas()
            else:
                maps = self.costs.time(method.name, method.of_all, pixels, along, shared)
            for i, item in enumerate(found):
                grown = placed(maps[i][None], self.size, share_of(self.model))[0]
                grown = method.shaped(grown) if self.figures and self.protocol.paper else grown
                found_areas = {key: float(values[i]) for key, values in areas.items()}
                self._score(method, item, grown.cpu(), masks[i], int(which[i]), pictures[i], found_areas)

    def _windowed(self, item: Masked, picture: Image.Image) -> None:
        size = scale_of(self.model, self.size)
        places, pieces = cut(picture, size)
        pixels = pixels_of(self.model, pieces)
        embeddings = self.costs.time("encode_image", self.model.encode_image, pixels)
        shared, which = self.costs.shared(pixels), self._asked([item], embeddings.mean(dim=0, keepdim=True))
        mask = self._mask(item)
        for method in self.methods:
            along = self.directions[method.name]
            along = along[which] if self.figures else along
            maps = self.costs.time(method.name, method.of_all, pixels, along, shared)
            whole = stitched(maps.cpu(), places, size, (picture.height, picture.width), share_of(self.model))
            grown = F.interpolate(whole[None], size=mask.shape, mode="bilinear", align_corners=False)[0]
            self._score(method, item, grown, mask, int(which[0]), item.image)

    def _counts(self, item: Masked) -> bool:
        mask = self._mask(item)
        return bool((mask == 1).any() if self.figures and not self.protocol.paper else (mask != UNLABELLED).any())

    def _mask(self, item: Masked) -> np.ndarray:
        if self.source.figures or not self.figures:
            return item.mask
        ground = item.mask == self.source.background
        return np.where(item.mask == UNLABELLED, UNLABELLED, np.where(ground, 0, 1)).astype(np.int32)

    def _asked(self, items: list[Masked], embeddings: Tensor) -> Tensor:
        """The thing whose map is drawn, a row of the texts for each picture."""
        predicted = (embeddings.to(self.texts) @ self.texts.T).argmax(dim=1)
        if self.protocol.asked == "predicted" or not self.figures:
            return predicted
        missing = next((item.name for item in items if item.asked is None), None)
        if missing is not None:
            raise SummandError(
                f"{self.source.label} does not say which class a picture is of ({missing}); ask for the predicted one"
            )
        return torch.tensor(
            [self.things.index(item.asked) for item in items if item.asked is not None], device=predicted.device
        )

    def _score(
        self,
        method: MapMethod,
        item: Masked,
        maps: Tensor,
        mask: np.ndarray,
        which: int,
        picture: Image.Image,
        areas: dict[str, float] | None = None,
    ) -> None:
        check_sound(self.model, maps, f"the map of {method.name}")
        truth = torch.from_numpy(np.array(mask))
        row: dict[str, Any] = {
            "image": item.name,
            "method": method.name,
            "asked": self.source.classes[self.things[which]],
        }
        if self.figures:
            shown = rescaled(maps[0])
            found = self.scores[method.name].update(shown, truth)
            row |= {"pixel_accuracy": found.pixel_accuracy, "iou": found.iou, "ap_two_channel": found.two_channel}
            row |= {"ap_figure": found.figure}
        else:
            best, place = maps.max(dim=0)
            things = torch.tensor(self.things)[place]
            said, shown = things, things
            if self.source.background is not None:
                scaled, threshold = rescaled(best), self.protocol.threshold
                least = 0.5 if threshold is None else float(scaled.mean() if threshold == "mean" else threshold)
                said = torch.where(scaled > least, things, self.source.background)
                shown = said
            self.scores[method.name].update(said, things, truth)
            counts = truth != UNLABELLED
            row |= {"pixel_accuracy": float((said == truth)[counts].double().mean())}
        self.rows.append(row | (areas or {}))
        self._remember(method, item, row["asked"], mask, shown, picture)

    def _remember(
        self, method: MapMethod, item: Masked, asked: str, mask: np.ndarray, shown: Tensor, picture: Image.Image
    ) -> None:
        known = next((example for example in self.examples if example.name == item.name), None)
        if known is None:
            if len(self.examples) >= self.wanted:
                return
            text = asked if self.figures else "classes"
            known = Example(item.name, np.asarray(picture), text, mask, {})
            self.examples.append(known)
        known.maps[method.name] = shown.numpy()
