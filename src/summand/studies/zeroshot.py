"""Zero-shot classification: what a model makes of class names, without a single labelled image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..data.labelled import Labelled
from ..data.labelled_lists import as_labelled
from ..data.schemes import scheme_of
from ..errors import SummandError, listed
from ..models import Model, World
from ..text.phrases import fill


@dataclass(frozen=True)
class Classes:
    """Names of classes and the texts that describe each one."""

    names: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.names)


def named_classes(names: Sequence[str], templates: Sequence[str | Callable[[str], str]]) -> Classes:
    """Every name in every template ("{}" stands for it, "{a}" for it after its article)."""
    if not names:
        raise SummandError("expected at least one class name, got none")
    twice = sorted({name for name in names if list(names).count(name) > 1}) if len(names) < 5000 else []
    if twice and len(twice) > len(names) // 50:  # ImageNet itself has a few
        raise SummandError(f"the class names {listed(twice)} are given more than once; name each class once")
    written = [
        tuple(template(name) if callable(template) else fill(template, name) for template in templates)
        for name in names
    ]
    return Classes(tuple(names), tuple(written))


def attribute_classes(world: World, attribute: str) -> Classes:
    """The values of an attribute that a world knows, each with its own prompts."""
    texts = world.prompts_of(attribute)
    return Classes(tuple(texts), tuple(tuple(row) for row in texts.values()))


def read_names(spec: str | Sequence[str]) -> list[str]:
    """`imagenet` (open_clip's 1,000 names), a text file with a name a line, or names with commas between them; a list
    stays one."""
    if not isinstance(spec, str):
        return [str(name) for name in spec]
    if spec == "imagenet":
        from open_clip import IMAGENET_CLASSNAMES

        return list(IMAGENET_CLASSNAMES)
    if Path(spec).suffix or "/" in spec:
        return _lines(Path(spec), "class names")
    names = [name.strip() for name in spec.split(",")]
    if not all(names):
        raise SummandError(f"an empty class name in {spec!r}; names are separated by single commas")
    return names


def read_templates(spec: str | Sequence[str] | None, model: Model) -> list[str | Callable[[str], str]]:
    """`openai` (open_clip's 80 ImageNet templates), `simple` (its 7), a text file with a template a line, or one
    template; a list stays one; by default those of the model's world."""
    import open_clip

    if spec is None:
        return list(model.world.class_templates())
    if spec in ("openai", "simple"):
        return list(open_clip.OPENAI_IMAGENET_TEMPLATES if spec == "openai" else open_clip.SIMPLE_IMAGENET_TEMPLATES)
    if not isinstance(spec, str):
        lines = [str(line) for line in spec]
    else:
        lines = [spec] if "{" in spec else _lines(Path(spec), "templates")
    wrong = [line for line in lines if "{}" not in line and "{a}" not in line]
    if wrong:
        raise SummandError(f"a template must hold {{}} or {{a}} where the class name goes; {wrong[0]!r} does not")
    return list(lines)


def _lines(path: Path, what: str) -> list[str]:
    try:
        lines = [line.strip() for line in path.expanduser().read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SummandError(f"cannot read {what} from {path}: {error}; give a UTF-8 text file, one a line") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise SummandError(f"{path} holds no {what}; give one a line")
    return lines


def classifier(model: Model, classes: Classes, progress: bool | None = False) -> Float[Tensor, "class embed"]:
    r"""t_c = m / ‖m‖, m = Σ_k E(text_{c,k}) / K over the K texts of a class, E of unit norm (Radford et al., 2021)."""
    flat = model.encode_text([text for texts in classes.texts for text in texts], progress=progress)
    means = [rows.mean(dim=0) for rows in flat.split([len(texts) for texts in classes.texts])]
    return F.normalize(torch.stack(means), dim=1)


def read_labelled(data: Any, classes: str | Sequence[str] | None = None, **more: Any) -> Labelled:
    """`as_labelled`; class names are read as `read_names` does, before anything is opened."""
    names = (
        classes if classes is None or (isinstance(data, str) and scheme_of(data) is not None) else read_names(classes)
    )
    return as_labelled(data, names, **more)


def classifier_of(
    model: Model, data: Labelled, templates: str | Sequence[str] | None = None
) -> Float[Tensor, "class embed"]:
    """The classifier of the classes of these images; of an attribute that the model's world knows, its own prompts."""
    if templates is None and data.attribute in model.world.attributes:
        return classifier(model, attribute_classes(model.world, data.attribute))
    return classifier(model, named_classes(data.classes, read_templates(templates, model)))


def predict(
    outputs: Float[Tensor, "image embed"],
    weights: Float[Tensor, "class embed"],
    bias: Float[Tensor, " class"] | None = None,
) -> Int[Tensor, " image"]:
    """argmax_c ⟨M(x), t_c⟩ (+ b_c): the length of the representation does not matter where there is no bias."""
    scores = outputs @ weights.to(outputs).T
    return (scores if bias is None else scores + bias.to(scores)).argmax(dim=1)
