"""One style for every figure: readable in grey, lines told apart by dash and marker before colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import SummandError
from ..visible import drawn

STYLES = (
    {"color": "#1b4f8a", "linestyle": "-", "marker": "o"},
    {"color": "#c0501f", "linestyle": "--", "marker": "s"},
    {"color": "#2f7d4f", "linestyle": "-.", "marker": "^"},
    {"color": "#7a4fa3", "linestyle": ":", "marker": "D"},
    {"color": "#555555", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
)
BASE_LINE = {"color": "black", "linestyle": (0, (1, 1)), "linewidth": 1.0}
BAR = {"color": "#9db8d6", "edgecolor": "#1b4f8a", "linewidth": 0.8}
SECOND_BAR = {"color": "white", "edgecolor": "#c0501f", "linewidth": 0.8, "hatch": "////"}
FORMATS = (".png", ".pdf", ".svg", ".jpg")
_RULES: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's settings for the duration of one figure."""
    import matplotlib

    with matplotlib.rc_context(_RULES):
        yield


def panels(count: int, width: float = 3.6, height: float = 3.0, columns: int = 3) -> tuple[Any, list[Any]]:
    """A figure with `count` axes in rows; call it, and everything that draws, within `style()`."""
    from ..plots import Plot

    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Plot(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def line(axes: Any, place: int, x: Sequence[float], y: Sequence[float], label: str) -> None:
    """One series; `place` chooses its dash, marker and colour."""
    axes.plot(x, y, label=label, **STYLES[place % len(STYLES)])


def check_format(path: str | Path) -> Path:
    """A picture's path, before the work: its ending and its place."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise SummandError(f"cannot write a picture to {path}: the name must end in {', '.join(FORMATS)}")
    return check_place(path)


def check_place(path: Path, what: str = "cannot write") -> Path:
    """A file's path, before the work: its folder is there, and it is none itself. what: how the error begins."""
    if not path.parent.is_dir():
        raise SummandError(f"{what} {path}: there is no folder {path.parent}; create it or choose another one")
    if path.is_dir():
        raise SummandError(f"{what} {path}: it is a folder; give the name of a file")
    return path


def short(text: str, most: int) -> str:
    """A label of at most so many letters, the last of a cut one being …"""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def save(figure: Any, path: str | Path) -> None:
    """Write a figure; the format follows the file name."""
    path = check_format(path)
    try:
        drawn(figure).savefig(path, dpi=130)
    except OSError as error:
        raise SummandError(f"cannot write {path}: {error.strerror or error}") from error
