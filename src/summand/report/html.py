"""What every page that the package writes shares: a template, a stylesheet, how numbers are put."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .palette import variables


@cache
def pages(package: str) -> Environment:
    """Templates of a package above the shared ones. Everything that is put into them is escaped."""
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("summand.report")])
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {"percent": percent, "signed": signed, "data": as_data}
    found.globals |= {"style": Markup(stylesheet()), "version": own_version()}  # noqa: S704 (our own)
    return found


@cache
def stylesheet() -> str:
    """The one stylesheet, with its colours."""
    return variables() + (files("summand.report") / "templates" / "style.css").read_text(encoding="utf-8")


def own_version() -> str:
    try:
        return version("summand-clip")
    except PackageNotFoundError:
        return "unknown"


def percent(share: float | None, digits: int = 0) -> str:
    """A share as people read it; a dash where it is not known. Nothing has no sign."""
    if share is None or share != share:
        return "–"
    said = f"{100 * share:.{digits}f}"
    return f"{said.lstrip('-') if not float(said) else said.replace('-', '−')}\u00a0%"


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign; nothing is neither plus nor minus."""
    if not float(f"{value:.{digits}f}"):
        return f"{0:.{digits}f}"
    return f"{value:+.{digits}f}".replace("-", "−")


def as_data(value: Any) -> Markup:
    """JSON that may stand inside a script element, whatever texts are in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)  # noqa: S704 (escaped above)
