"""The page in gradio: what happens on a click. No numbers are made here, and nothing is kept but in the session's own
state."""

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
from .layout import laid_out
from .options import ExploreOptions
from .page import USUAL, Session
from .samples import Sample, samples

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
        parts = laid_out(known, shown, clicks)
        _wired(known, shown, parts, options, found.load)
    return found.queue(max_size=options.waiting, default_concurrency_limit=options.at_once, api_open=False)


_VIEWS = ("prediction", "maps", "waterfall", "heads", "head", "patch", "words", "neurons", "unit")


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
        return [*views_of(session), ""]

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

    everything = [*answer, parts["near"]]
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
    for part in ("heads", "head", "neurons", "unit"):
        on(parts[part].click, clicked, [parts["session"], *switches], [parts["off"], *answer])
    on(parts["maps"].click, point, [parts["session"]], answer)
    said = [parts["message"]]
    on(
        parts["find"].click,
        lambda session: views_of(page.with_moved(known, _asked(session))),
        [parts["session"]],
        answer,
    )
    on(parts["speak"].click, lambda session: views_of(page.with_words(_asked(session))), [parts["session"]], answer)
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
