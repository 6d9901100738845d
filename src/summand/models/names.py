"""What somebody may have meant by a name or a tag that is not known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import listed, nearest

_FORMS = {
    "hf": "hf:org/name or hf:FOLDER, for a model of transformers",
    "hf-hub": "hf-hub:org/name, for a model of open_clip on the hub",
    "local-dir": "local-dir:FOLDER, for a folder of open_clip",
}


def unknown_model(name: str, others: Sequence[str] = ()) -> str:
    """The message for a name that open_clip does not know. others: names besides open_clip's, to suggest."""
    import open_clip

    known = [*others, *open_clip.list_models()]
    hint = _form(name) or _with_tag(name, open_clip.list_models()) or nearest(name, known)
    return f"unknown model {name!r}{hint or ', no similar name is known'} (`summand models` lists all {len(known)})"


def _form(name: str) -> str:
    """A location without its prefix, a prefix without its location, or one that is misspelt."""
    prefix, colon, rest = name.strip().partition(":")
    bare = prefix.lower().replace("_", "-").rstrip("/").replace("huggingface", "hf")
    if bare in _FORMS:
        return f": write {bare}:{rest}" if colon and rest else f": write {_FORMS[bare]}"
    address = name.partition("huggingface.co/")[2].strip("/")
    if address:
        return _on_the_hub("/".join(address.split("/")[:2]))
    place = Path(name).expanduser()
    if name and place.is_dir():
        return f", which is a folder: {_folder(name, place)}"
    if name and place.is_file():
        return ", which is a file: give the name of its architecture, and the file as checkpoint= (--pretrained FILE)"
    org, slash, rest = name.partition("/")
    ours = any(known.lower().startswith(org.lower()) for known in _open_clip_names())  # OpenAI wrote ViT-B/32
    return _on_the_hub(name) if org and slash and rest and "/" not in rest and not ours else ""


def _on_the_hub(place: str) -> str:
    return f": write hf:{place} (in the layout of transformers) or hf-hub:{place} (in that of open_clip)"


def _folder(name: str, place: Path) -> str:
    if (place / "open_clip_config.json").is_file():
        return f"write local-dir:{name}"
    if (place / "config.json").is_file():
        return f"write hf:{name}"
    return "a model's folder holds config.json (hf:FOLDER) or open_clip_config.json (local-dir:FOLDER)"


def _open_clip_names() -> list[str]:
    import open_clip

    return open_clip.list_models()


def _with_tag(name: str, known: Sequence[str]) -> str:
    """A name with a tag behind it, as "ViT-B-32-openai" or "ViT-B-32/laion2b_e16"."""
    import open_clip

    for start in sorted(known, key=len, reverse=True):
        if name.lower().startswith(start.lower()) and name[len(start) : len(start) + 1] in (
            "-",
            "/",
            ":",
            "_",
            ",",
            " ",
        ):
            tag = name[len(start) + 1 :].strip()
            if open_clip.is_pretrained_cfg(start, tag):
                return f": write {start} and, as pretrained=, the tag {tag!r}"
    return ""


def hint_of_tag(name: str, tag: str) -> str:
    """The nearest tags of a model, else the models that have this very tag."""
    import open_clip

    own = open_clip.list_pretrained_tags_by_model(name)
    if hint := nearest(tag, own):
        return hint
    elsewhere = open_clip.list_pretrained_models_by_tag(tag)
    if elsewhere:
        return f", which is a tag of {listed(elsewhere, most=6)}"
    alike = f"{name}-{tag}"
    return f", did you mean the model {alike!r}?" if alike in open_clip.list_models() else ""
