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

from importlib.metadata import PackageNotFoundError, version

from . import scenes
from .decomposition import Parts
from .effects import Effects
from .errors import SummandError
from .loading import load
from .models import Model, wrap
from .moments import Moments
from .rank_one import RankOne, rank_one
from .studies.heatmap import Heatmap, heatmap
from .text.sparse import SparseCode, sparse_code
from .text.textspan import TextSpan, textspan
from .top_images import TopImages

try:
    __version__ = version("summand")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Effects",
    "Heatmap",
    "Model",
    "Moments",
    "Parts",
    "RankOne",
    "SparseCode",
    "SummandError",
    "TextSpan",
    "TopImages",
    "__version__",
    "heatmap",
    "load",
    "rank_one",
    "scenes",
    "sparse_code",
    "textspan",
    "wrap",
]
