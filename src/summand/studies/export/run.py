"""A repaired model as a file that runs without Summand."""

from __future__ import annotations

from pathlib import Path

from ...models import Model
from ...models.export import check_place, export_model
from ..verb import verb
from ..zeroshot import Classes, attribute_classes, classifier, named_classes, read_names, read_templates
from .options import ExportOptions
from .result import Export


@verb(ExportOptions)
def export(model: Model, to: str | Path, *, options: ExportOptions) -> Export:
    """Write the image side of a model, all its edits in it, to a .pt2, an .onnx or a .safetensors file.

    The file's answers are held against the model's before it takes its place, to 1e-4 of the largest number. Needs the
    extra `export` for ONNX. Raises `SummandError` for a tower that torch.export cannot trace, and for .safetensors
    where the edit is not one of weights alone.
    """
    path = check_place(to)
    classes = None if options.classes is None else _classes(model, options)
    texts = None if classes is None else classifier(model, classes)
    written = export_model(model, path, texts, () if classes is None else classes.names, options.batch)
    return Export.of(written, options, model, classes)


def _classes(model: Model, options: ExportOptions) -> Classes:
    asked = options.classes
    assert asked is not None
    if isinstance(asked, str) and options.templates is None and asked in model.world.attributes:
        return attribute_classes(model.world, asked)
    return named_classes(read_names(asked), read_templates(options.templates, model))
