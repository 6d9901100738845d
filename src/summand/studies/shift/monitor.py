"""Drift of a stream: the tests of `shift`, of images that come bit by bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...arguments import names_wrong_arguments
from ...data import ImageSource, Skipped
from ...data.sources import batches
from ...errors import SummandError
from ...models import Model, pixels_of
from ..given import Given, images_of, unread
from ..verb import at_least
from .compare import compare
from .options import ShiftOptions, check
from .pixels import PIXELS, of_pixels
from .readings import Measured, read_pixels
from .result import Compared, Shift, shift_of
from .run import opened, reference_of, usual_model
from .statistics import FEWEST


@names_wrong_arguments(options=ShiftOptions)
class Monitor:
    """Watches a stream of images against a reference.

    >>> import summand
    >>> monitor = summand.Monitor("scenes:count=60,seed=1", permutations=99)
    >>> for seed in (2, 3):
    ...     monitor.update(summand.scenes.sample(20, seed=seed).images)
    >>> report = monitor.report()
    >>> report.images, report.alarm
    ({'reference': 60, 'current': 40}, False)

    reference: images in any form, a survey, or a saved reference. model: as in `shift`. on_alarm: called with the
    report after every update at which there is an alarm. window: compare only so many of the latest images. Options
    are those of `shift`, whole as `options=` or by name. Each look is a test at `alpha` of its own: a stream that is
    looked at often needs a smaller one.
    """

    def __init__(
        self,
        reference: Any,
        model: Model | None = None,
        *,
        on_alarm: Callable[[Shift], None] | None = None,
        window: int | None = None,
        options: ShiftOptions | None = None,
        **given: Any,
    ) -> None:
        self.options = replace(options or ShiftOptions(), **given)
        if self.options.by is not None:
            raise SummandError("by=COLUMN is of images in a table; a stream has none: report batch after batch")
        at_least("window", window, FEWEST)
        saved = opened(reference)
        check(self.options, reference, (), saved is not None)
        before = None if saved is not None else images_of(reference, self.options.count)
        self.model = model or usual_model(saved, before)
        self.reference, self._notes = reference_of(self.model, saved or before, self.options)
        self._before, self.window, self.on_alarm = before, window, on_alarm
        self.reset()

    def __repr__(self) -> str:
        watched = self.reference.readings.group.name
        return f"<Monitor of {watched} against {self.reference.label}: {len(self)} images>"

    def __len__(self) -> int:
        """How many images a report compares."""
        return len(self._names)

    def reset(self) -> None:
        """Forget the stream, and keep the reference."""
        columns, embed = self.reference.measured.readings.shape[1], self.reference.measured.embeddings.shape[1]
        named = 0 if self.reference.named is None else self.reference.named.scores.shape[1]
        measures = np.zeros((0, len(PIXELS)))
        self._read = np.zeros((0, columns)), np.zeros((0, embed), np.float32), np.zeros((0, named)), measures
        self._names: list[str] = []
        self._seen = 0
        self._skipped: list[Skipped] = []

    def update(self, images: Any) -> None:
        """Read more images: a source in any form, pictures, uint8 arrays [image, height, width, 3], or preprocessed
        pixels [image, 3, height, width]. Files that cannot be read are left out, and named in the report."""
        for pixels, names, measures in self._pixels(images):
            readings, embeddings = read_pixels(self.model, pixels, self.reference.readings)
            named = self.reference.named
            scores = np.zeros((len(pixels), 0))
            if named is not None:
                scores = named.units.scores(self.model, pixels).cpu().numpy()
            if not (np.isfinite(readings).all() and np.isfinite(embeddings).all()):
                raise SummandError("images of this update read as NaN or infinite numbers; check them")
            more = readings, embeddings, scores, measures
            first = -self.window if self.window is not None else None
            self._read = tuple(np.concatenate(both)[first:] for both in zip(self._read, more, strict=True))  # type: ignore[assignment]
            self._names = [*self._names, *names][first:]
            self._seen += len(names)
        if self.on_alarm is not None and len(self) >= FEWEST and (found := self.report()).alarm:
            self.on_alarm(found)

    def report(self) -> Shift:
        """What changed, over all images since the start or the last `reset` (or in the window): as `shift` says it.

        Raises `SummandError` for fewer than 8 images.
        """
        readings, embeddings, scores, measures = self._read
        current = Measured(readings, embeddings, np.arange(len(self)), tuple(self._skipped), measures)
        options = self.options
        result = compare(
            self.reference, current, alpha=options.alpha, permutations=options.permutations, seed=options.seed
        )
        named, label = self.reference.named, f"a stream of {self._seen} images"
        skipped = (*self.reference.measured.skipped, *self._skipped)
        return shift_of(
            Compared(
                result, self.reference, current, None, self._before.source if self._before else None, label,
                self.model.random_weights,
            ),
            options, self._names.__getitem__, model=self.model.name, data=label, skipped=skipped,
            concepts=[] if named is None else named.rows(scores), notes=[*self._notes, *unread(skipped)],
        )  # fmt: skip

    def _pixels(self, images: Any) -> Iterator[tuple[Tensor, list[str], np.ndarray]]:
        """Preprocessed batches, what their images are called, and the measures of their pixels."""
        size = self.options.batch_size
        if isinstance(images, Image.Image):
            images = [images]
        if isinstance(images, Tensor):
            self._check(images)
            for some in images.split(size):
                measures = of_pixels(self.model, some)
                yield some.to(self.model.device, self.model.dtype), self._numbers(len(some)), measures
        elif isinstance(images, (str, os.PathLike, Given, ImageSource)):
            source = images_of(images).source
            for batch in batches(source, size, self._skipped):
                names = [source.name(i) for i in batch.indices]
                yield pixels_of(self.model, batch.images), names, of_pixels(self.model, batch.images)
        elif isinstance(images, (list, tuple)) or (isinstance(images, np.ndarray) and images.ndim):
            for start in range(0, len(images), size):
                some = images[start : start + size]
                some = some if isinstance(some, np.ndarray) else list(some)
                yield pixels_of(self.model, some), self._numbers(len(some)), of_pixels(self.model, some)
        else:
            raise SummandError(
                f"expected images (a source, pictures, an array) or preprocessed pixels, got {type(images).__name__}"
            )

    def _numbers(self, count: int) -> list[str]:
        return [f"image {self._seen + i}" for i in range(count)]

    @staticmethod
    def _check(pixels: Tensor) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != 3 or not torch.is_floating_point(pixels):
            raise SummandError(
                f"expected preprocessed pixels [image, 3, height, width] as floats, got {pixels.dtype} "
                f"{list(pixels.shape)}"
            )
