"""The pages of the Python interface: every public name, its options and its result, rendered by mkdocstrings."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import summand
from summand.studies.result import Result
from summand.survey.make import survey as make_survey

PAGES = {
    "models": (
        "Models and their terms",
        "A CLIP at hand, and the sums that it is.",
        ("models", "effects", "towers", "unit"),
    ),
    "surveys": ("Surveys", "What one pass over pictures leaves.", ("survey",)),
    "verbs": (
        "Verbs",
        "What to do with a model: one function, one set of options, one result. Every option may also be given by its name, "
        "and every verb takes `progress=False`, which says nothing of how far it is.",
        ("studies", "report", "maps"),
    ),
    "mathematics": ("Statistics and texts", "The methods on plain tensors, without a model.", ("statistics", "text")),
    "scenes": ("Scenes", "The rendered world with known causes.", ("scenes",)),
    "errors": ("Errors", "What is raised and what is warned of.", ("errors",)),
}
"""A page: its title, what it is of, and the rooms whose public names stand on it."""

INDEX = """# Python

Everything public is a name of `summand`. Made of the docstrings: the formula first, then shapes, units and errors. Every verb
takes a model, images in any form and its options by name, and returns a `Result`: `.rows` (pandas), `.figure()`,
`.save(place)`, `.to_json()`, `.notes`, `.alarm`; a notebook shows it as a table with its figure. Every verb also takes
`progress`: what takes long says how far it is on stderr, as a bar on a terminal and a line a minute in a log; False says nothing.

| name | what it is |
|---|---|
"""


def public() -> dict[str, Any]:
    """Every public object by name."""
    found = {name: getattr(summand, name) for name in summand.__all__ if name != "__version__"}
    return {**found, "survey": make_survey}  # a package under the name of its one function


def page_of(name: str, thing: Any) -> str:
    """The page on which a public name stands. Raises `KeyError` for a room that no page has."""
    home = thing.__name__ if inspect.ismodule(thing) else thing.__module__
    room = home.split(".")[1]
    for page, (_, _, rooms) in PAGES.items():
        if room in rooms:
            return page
    raise KeyError(f"docs/making/api.py: no page for {name}, which is of the room {room!r}")


def pages() -> dict[str, str]:
    """Every page of the interface, by its name below api/."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, thing in sorted(public().items(), key=lambda one: (inspect.isclass(one[1]), one[0].lower())):
        names[page_of(name, thing)].append(name)
    made = {page: "\n".join(_page(page, names[page])) for page in PAGES}
    rows = (
        f"| [`{name}`]({page}.md#{_anchor(public()[name])}) | {first_sentence(public()[name])} |"
        for page in PAGES
        for name in names[page]
    )
    return {"index": INDEX + "\n".join(rows) + "\n", **made}


def first_sentence(thing: Any) -> str:
    """The first line of a docstring, fit for a cell of a table."""
    line = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    return "".join(f"\\{sign}" if sign in "|*_[]<>`" else sign for sign in line)


def _anchor(thing: Any) -> str:
    return thing.__name__ if inspect.ismodule(thing) else f"{thing.__module__}.{thing.__qualname__}"


def _page(page: str, names: list[str]) -> Iterator[str]:
    title, about, _ = PAGES[page]
    yield f"# {title}\n\n{about}\n"
    for name in names:
        thing = public()[name]
        if inspect.ismodule(thing):
            yield f"## summand.{name} {{ #{_anchor(thing)} }}\n\n{first_sentence(thing)}\n"
            yield from (_directive(getattr(thing, own)) for own in thing.__all__ if _documented(getattr(thing, own)))
        else:
            yield f"{_directive(thing)}    options:\n      heading: summand.{name}\n      heading_level: 2\n"
            yield from (_directive(one) for one in _beside(thing))


def _documented(thing: Any) -> bool:
    return inspect.isfunction(thing) or inspect.isclass(thing)


def _beside(verb: Any) -> list[type]:
    """The options of a verb, and the results that it returns."""
    inside = inspect.unwrap(verb)
    if not inspect.isfunction(inside) or "options" not in inspect.signature(inside).parameters:
        return []
    scope, signature = inside.__globals__, inspect.signature(inside)
    said = [str(signature.parameters["options"].annotation), *str(signature.return_annotation).split(" | ")]
    found = [scope.get(name.strip("'\"")) for name in said]
    kept = [one for one in found if inspect.isclass(one)]
    return [one for one in kept if issubclass(one, Result) or one.__module__.endswith("options")]


def _directive(thing: Any) -> str:
    return f"::: {thing.__module__}.{thing.__qualname__}\n"
