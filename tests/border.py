"""The border of the tests to other libraries: what their types do not say is read by name.

open_clip takes configurations as dictionaries, and the modules that it builds are known by no type checker.
"""

from __future__ import annotations

from typing import Any

import open_clip as _open_clip
from scipy import linalg as _linalg
from scipy import stats as _stats

open_clip: Any = _open_clip
CLIP: Any = _open_clip.CLIP
linalg: Any = _linalg
stats: Any = _stats


def configuration(name: str) -> dict[str, Any]:
    """One of open_clip's."""
    found = _open_clip.get_model_config(name)
    assert found is not None, name
    return found
