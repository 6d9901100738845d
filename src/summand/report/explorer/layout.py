"""The page in gradio: which part stands where, and what it holds at first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from ...towers.pool import PoolTower
from ..words import script
from . import views
from .known import Known
from .nearest import ways
from .page import USUAL
from .pictures import data_uri
from .samples import Sample, first_texts


def laid_out(known: Known, shown: Sequence[Sample], clicks: str) -> dict[str, Any]:
    """The components by name."""
    parts: dict[str, Any] = {}
    plain = partial(gr.HTML, apply_default_css=False, js_on_load=None)
    html = partial(plain, js_on_load=clicks)
    gr.Markdown(f"# Explore {known.model.name}\n{_about(known)}")
    parts["session"] = gr.State(None)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            parts["picture"] = gr.Image(
                type="filepath", format="png", label="Picture", sources=["upload", "clipboard"], height=240
            )
            parts["picture"].preprocess = lambda payload: None if payload is None else payload.path  # read by us
            thumbnails = [(data_uri(one.picture, 112), one.name) for one in shown]
            parts["examples"] = html(views.examples(thumbnails), visible=bool(shown))
            parts["texts"] = gr.Textbox(first_texts(known), label="Texts, one a line", lines=4, max_lines=20)
            parts["ask"] = gr.Button("Take it apart", variant="primary")
            parts["message"] = plain()
        with gr.Column(scale=3, min_width=320):
            parts["prediction"] = plain(views.note("Drop a picture, or take an example."))
            with gr.Row():
                parts["text"] = gr.Dropdown([], label="Explain", interactive=True)
                parts["versus"] = gr.Dropdown([USUAL], value=USUAL, label="versus", interactive=True)
            parts["maps"] = html()
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            parts["waterfall"] = plain()
        with gr.Column(scale=1, min_width=320):
            parts["heads"] = html()
            parts["head"] = html()
    with gr.Row():
        units = [(f"{unit}  {known.said(unit)}".strip(), unit) for unit in known.heads]
        parts["off"] = gr.Dropdown(
            units, value=[], multiselect=True, allow_custom_value=True, label="Switch off", min_width=320,
            info=_switches(known),
        )  # fmt: skip
        kinds = [(f"{kind} ({len(heads)})", kind) for kind, heads in known.properties.items()]
        parts["properties"] = gr.CheckboxGroup(
            kinds,
            label="Switch off all heads labelled",
            visible=bool(kinds),
            min_width=320,
            info="with how many there are",
        )
    with gr.Tabs():
        with gr.Tab("Patch"):
            parts["patch"] = plain(views.note("Click a patch of the map above."))
        with gr.Tab("Words"):
            parts["speak"] = gr.Button("Which word goes with which patch?", size="sm")
            parts["words"] = plain(js_on_load=f"{script()}\nsummandWords(element);")
        with gr.Tab(known.smaller.capitalize() or "Neurons", visible=known.profile is not None):
            parts["find"] = gr.Button(f"Which {known.smaller or 'neurons'} does it move?", size="sm")
            parts["unit"] = html()
            parts["neurons"] = html()
        with gr.Tab("Nearest", visible=known.survey is not None):
            with gr.Row():
                parts["way"] = gr.Dropdown(ways(known), label="alike in", interactive=True)
                parts["search"] = gr.Button("Find them", size="sm")
            parts["near"] = plain()
    return parts


def _about(known: Known) -> str:
    random = (
        " **The weights are RANDOM: what follows says nothing about images.**" if known.model.random_weights else ""
    )
    if known.survey is None:
        return f"No survey is open, so units have no words, and what is switched off is set to nothing.{random}"
    proven = sum(words.verdict == "proven" for words in known.words.values())
    return (
        f"Words come from a survey of {len(known.survey.images):,} images: {proven:,} of {len(known.words):,} units "
        f"have words that held-out images prove.{random}"
    )


def _switches(known: Known) -> str:
    """What can be switched off besides the heads in the list."""
    tower, found = known.model.tower, []
    if isinstance(tower, PoolTower):
        found.append("pairs, such as 62x3")
    elif tower.layers > 1:
        found.append(f"neurons, such as {tower.layers - 2}:120")
    found += [f"latents, such as {layer}#7" for layer in list(known.model.autoencoders)[:1]]
    return "heads" + (f"; by name also {' and '.join(found)}" if found else "")
