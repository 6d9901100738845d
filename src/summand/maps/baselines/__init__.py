"""The methods that Summand is compared with, on one shared pass; each re-implemented from its paper's formulas.

`METHODS` names them; `baseline_maps(model, pixels, directions, name)` draws their maps. Several methods on the same
images share one `Capture`: `baseline_maps(…, shared=Capture(model, pixels, graph_from=0))`.
"""

from . import attention, dense, generic_attention, grad_eclip, gradcam, legrad, lrp, surgery  # noqa: F401 - they register
from .capture import Capture
from .method import METHODS, Method, baseline_maps

_IN_TABLES = (
    *("raw-attention", "rollout", "gradcam", "lrp", "partial-lrp", "transformer-attribution", "chefer", "legrad"),
    *("grad-eclip", "clip-surgery", "maskclip", "sclip", "clearclip", "random"),
)
for _name in _IN_TABLES:  # the order in which tables show them
    METHODS[_name] = METHODS.pop(_name)

__all__ = ["METHODS", "Capture", "Method", "baseline_maps"]
