"""The page in gradio: which part shows what, and what happens on a click. No numbers are made here, and nothing is kept
but in the session's own state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr

from ...errors import SummandError
from . import page, views
from .known import Known
from .nearest import ways
from .options import ExploreOptions
from .page import USUAL, Session
from .pictures import data_uri
from .samples import Sample, first_texts, samples

_SESSIONS = 64
"""Sessions whose answers are kept in memory; older ones ask again."""
_HOUR = 3600
_FONT = ("ui-sans-serif", "system-ui", "sans-serif")
_MONO = ("ui-monospace", "monospace")
_SOFT = ("body_text_color_subdued", "block_info_text_color", "block_label_text_color", "block_title_text_color")
"""Colours of gradio's that are too pale for many to read."""


def launched(known: Known, options: ExploreOptions, folder: Path) -> tuple[str, Any]:
    """The page's address, and what serves it. folder: for the pictures that are sent, and nothing else is served."""
    page = built(known, options)
    try:
        _, url, _ = page.launch(
            server_name=options.host, server_port=options.port, inbrowser=options.open, share=False, inline=False,
            prevent_thread_lock=True, quiet=True, max_file_size=f"{options.upload_mb}mb", allowed_paths=[str(folder)],
            state_session_capacity=_SESSIONS, max_threads=options.at_once + 4, footer_links=[], run_history=False,
            enable_monitoring=False, pwa=False, ssr_mode=False, mcp_server=False, theme=_theme(), css=_file("look.css"),
        )  # fmt: skip
    except OSError as error:
        place = f"{options.host}, port {options.port}"
        raise SummandError(f"cannot serve on {place}: {error}; give another port") from error
    return url, page


def _theme() -> Any:
    """Fonts of the reader's own machine: none is fetched."""
    from gradio.themes import Default

    soft: Any = dict.fromkeys(_SOFT, "*neutral_600") | {f"{name}_dark": "*neutral_300" for name in _SOFT}
    return Default(font=_FONT, font_mono=_MONO, primary_hue="slate", neutral_hue="slate").set(**soft)


def _file(name: str) -> str:
    return (files("summand.report.explorer") / name).read_text(encoding="utf-8")


def built(known: Known, options: ExploreOptions) -> Any:
    """The page, not yet served."""
    shown = samples(known)
    clicks = _file("clicks.js")
    title = f"Summand explorer: {known.model.name}"
    with gr.Blocks(title=title, analytics_enabled=False, fill_width=True, delete_cache=(_HOUR, _HOUR)) as found:
        parts = _laid_out(known, shown, clicks)
        _wired(known, shown, parts, options, found.load)
    return found.queue(max_size=options.waiting, default_concurrency_limit=options.at_once, api_open=False)


def _laid_out(known: Known, shown: Sequence[Sample], clicks: str) -> dict[str, Any]:
    """The components by name."""
    tower, parts = known.model.tower, {}
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
            info="heads, or neurons by name, such as 4:120" if tower.layers > 1 else "heads",
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
        with gr.Tab("Neurons", visible=known.profile is not None):
            parts["find"] = gr.Button("Which neurons does it move?", size="sm")
            parts["neurons"] = html()
        with gr.Tab("Nearest pictures", visible=known.survey is not None):
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


_VIEWS = ("prediction", "maps", "waterfall", "heads", "head", "patch")


def _wired(
    known: Known, shown: Sequence[Sample], parts: dict[str, Any], options: ExploreOptions, page_load: Any
) -> None:
    """What happens when."""
    chosen = [parts["text"], parts["versus"]]
    answer = [*(parts[name] for name in ("session", "message", *_VIEWS)), *chosen]
    switches = [parts["off"], parts["properties"]]

    def on(event: Any, work: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        event(
            _told(work, len(outputs), outputs.index(parts["message"])), inputs, outputs, concurrency_id="model",
            concurrency_limit=options.at_once, show_progress="minimal", api_visibility="private",
            trigger_mode="always_last",
        )  # fmt: skip

    def views_of(session: Session) -> list[Any]:
        found = page.shown(known, session)
        return [session, "", *(getattr(found, name) for name in _VIEWS), *_choices(session)]

    def ask(picture: Any, texts: str, units: list[str], properties: list[str]) -> list[Any]:
        session = page.asked(known, picture, texts, units, properties)
        return [*views_of(session), "", ""]

    def take(event: gr.EventData) -> list[Any]:
        return begin(int(event.example))

    def begin(place: int = 0) -> list[Any]:
        sample = shown[place % len(shown)]
        return [sample.picture, sample.texts, [], [], *ask(sample.picture, sample.texts, [], [])]

    def changed(session: Session | None, *given: Any, how: Callable[..., Session]) -> list[Any]:
        return views_of(how(_asked(session), *given))

    def set_off(session: Session | None, units: list[str], properties: list[str]) -> list[Any]:
        if session is None or page.switched_alike(known, session, units, properties):  # told of what we did ourselves
            return [gr.skip()] * len(answer)
        return views_of(page.switched(known, session, units, properties))

    def switch(session: Session | None, units: list[str], event: gr.EventData, properties: list[str]) -> list[Any]:
        units = page.toggled(units, str(event.off))
        return [units, *views_of(page.switched(known, _asked(session), units, properties))]

    def clicked(session: Session | None, units: list[str], properties: list[str], event: gr.EventData) -> list[Any]:
        if event.off is not None:
            return switch(session, units, event, properties)
        return [units, *views_of(page.looked_at(known, _asked(session), str(event.unit)))]

    def point(session: Session | None, event: gr.EventData) -> list[Any]:
        asked = _asked(session)
        if event.move is not None:
            return views_of(page.moved_by(asked, *event.move))
        return views_of(page.pointed(asked, event.x, event.y))

    everything = [*answer, parts["neurons"], parts["near"]]
    question = [parts["picture"], parts["texts"], *switches]
    for event in (parts["ask"].click, parts["picture"].upload):
        on(event, ask, question, everything)
    whole = [parts["picture"], parts["texts"], *switches, *everything]
    on(parts["examples"].click, take, [], whole)
    if shown:
        on(page_load, begin, [], whole)
    for part in chosen:
        on(part.input, partial(changed, how=page.compared), [parts["session"], *chosen], answer)
    for part in switches:  # not `input`, which a name that is typed into the list does not cause
        on(part.change, set_off, [parts["session"], *switches], answer)
    for part in ("heads", "head", "neurons"):
        on(parts[part].click, clicked, [parts["session"], *switches], [parts["off"], *answer])
    on(parts["maps"].click, point, [parts["session"]], answer)
    said = [parts["message"]]
    on(parts["find"].click, lambda session: [page.neurons(known, _asked(session)), ""], [parts["session"]],
       [parts["neurons"], *said])  # fmt: skip
    near = [parts["session"], parts["way"]]
    for event in (parts["search"].click, parts["way"].input):
        on(event, lambda session, way: [page.near(known, _asked(session), way), ""], near, [parts["near"], *said])


def _choices(session: Session) -> list[Any]:
    """The texts to explain, and those to compare with."""
    texts, along = list(session.reading.texts), session.along
    other = USUAL if along.versus is None else texts[along.versus]
    return [gr.Dropdown(choices=texts, value=texts[along.text]), gr.Dropdown(choices=[USUAL, *texts], value=other)]


def _asked(session: Session | None) -> Session:
    if session is None:
        raise SummandError("press “Take it apart” first")
    return session


def _told(work: Callable[..., Any], count: int, message: int) -> Callable[..., Any]:
    """An error of ours as a message on the page, with everything else as it was."""

    @wraps(work)
    def told(*given: Any) -> Any:
        try:
            found = work(*given)
        except SummandError as error:
            found: list[Any] = [gr.skip()] * count
            found[message] = views.alert(str(error))
        return found[0] if count == 1 else found

    return told
