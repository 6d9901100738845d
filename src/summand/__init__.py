"""Summand: a CLIP representation is a sum. Compute the terms, say what each one means, show where it comes from.

>>> import summand
>>> model = summand.load("scenes-vit")
>>> scenes = summand.scenes.sample(4, seed=1)
>>> x = model.preprocess(scenes.images)
>>> parts = model.decompose(x)
>>> tuple(parts.heads().shape)
(4, 6, 8, 128)
>>> bool((parts.total() - model.encode_image(x)).abs().max() < 1e-4)
True
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from .errors import SummandError, SummandWarning

if TYPE_CHECKING:
    from . import scenes
    from .effects.direct import Parts
    from .effects.effects import Effects
    from .effects.text_parts import TextParts
    from .maps.heatmap import Heatmap
    from .models import Model, wrap
    from .models.load import load
    from .report.explorer.run import explore
    from .report.site.run import atlas
    from .statistics.moments import Moments
    from .statistics.principal_direction import RankOne, rank_one
    from .statistics.top_images import TopImages
    from .studies.ablation.run import ablate
    from .studies.align.run import align
    from .studies.attack.run import attack
    from .studies.compare.run import compare
    from .studies.concepts.run import concepts
    from .studies.debias.run import debias
    from .studies.export.run import export
    from .studies.heatmap.run import heatmap
    from .studies.inject.run import inject
    from .studies.match.run import match
    from .studies.perturbation.run import perturb
    from .studies.registers.run import registers
    from .studies.reproduce.run import reproduce
    from .studies.retrieve.run import retrieve
    from .studies.sae.run import train_autoencoder
    from .studies.segmentation.run import segment
    from .studies.shift.monitor import Monitor
    from .studies.shift.run import shift
    from .studies.subconcepts.run import subconcepts
    from .studies.truth.run import truth
    from .studies.words.run import words
    from .survey.make import survey
    from .survey.opening import open_survey as open
    from .survey.survey import Survey
    from .text.sparse import SparseCode, sparse_code
    from .text.textspan import TextSpan, textspan
    from .unit import Unit

try:
    __version__ = version("summand-clip")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Effects",
    "Heatmap",
    "Model",
    "Moments",
    "Monitor",
    "Parts",
    "RankOne",
    "SparseCode",
    "SummandError",
    "SummandWarning",
    "Survey",
    "TextParts",
    "TextSpan",
    "TopImages",
    "Unit",
    "__version__",
    "ablate",
    "align",
    "atlas",
    "attack",
    "compare",
    "concepts",
    "debias",
    "explore",
    "export",
    "heatmap",
    "inject",
    "load",
    "match",
    "open",
    "perturb",
    "rank_one",
    "registers",
    "reproduce",
    "retrieve",
    "scenes",
    "segment",
    "shift",
    "sparse_code",
    "subconcepts",
    "survey",
    "textspan",
    "train_autoencoder",
    "truth",
    "words",
    "wrap",
]

# Public names are imported when they are first used, so that `summand --help` need not wait for torch.
_HOMES = {
    "Effects": ".effects.effects",
    "Heatmap": ".maps.heatmap",
    "Model": ".models",
    "Monitor": ".studies.shift.monitor",
    "Moments": ".statistics.moments",
    "Parts": ".effects.direct",
    "RankOne": ".statistics.principal_direction",
    "SparseCode": ".text.sparse",
    "Survey": ".survey.survey",
    "TextParts": ".effects.text_parts",
    "TextSpan": ".text.textspan",
    "TopImages": ".statistics.top_images",
    "Unit": ".unit",
    "ablate": ".studies.ablation.run",
    "align": ".studies.align.run",
    "atlas": ".report.site.run",
    "explore": ".report.explorer.run",
    "debias": ".studies.debias.run",
    "export": ".studies.export.run",
    "heatmap": ".studies.heatmap.run",
    "inject": ".studies.inject.run",
    "attack": ".studies.attack.run",
    "compare": ".studies.compare.run",
    "concepts": ".studies.concepts.run",
    "load": ".models.load",
    "match": ".studies.match.run",
    "open": ".survey.opening",
    "perturb": ".studies.perturbation.run",
    "rank_one": ".statistics.principal_direction",
    "registers": ".studies.registers.run",
    "reproduce": ".studies.reproduce.run",
    "segment": ".studies.segmentation.run",
    "retrieve": ".studies.retrieve.run",
    "shift": ".studies.shift.run",
    "sparse_code": ".text.sparse",
    "subconcepts": ".studies.subconcepts.run",
    "textspan": ".text.textspan",
    "train_autoencoder": ".studies.sae.run",
    "truth": ".studies.truth.run",
    "words": ".studies.words.run",
    "wrap": ".models",
}
_OTHER_NAMES = {"open": "open_survey"}


def __getattr__(name: str) -> Any:
    if name in ("scenes", "survey"):  # the package `survey` is its own function
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'summand' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name], __name__), _OTHER_NAMES.get(name, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
