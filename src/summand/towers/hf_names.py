"""Models of transformers that are like a CLIP and cannot be taken apart, each with the reason."""

from __future__ import annotations

_NO_PROJECTION = (
    "it is an image tower without the projection into the space that texts share; load the whole model, or its "
    "…VisionModelWithProjection"
)
_TEXT_ALONE = "it is a text tower alone, without an image tower"
_CLASSIFIER = "it classifies: its output is class scores, not an embedding that texts are compared with"
_BLIP = "BLIP writes captions and matches texts by attention across both; its outputs are not one sum over image tokens"

# By the beginning of a class's name, the first that fits; beside it the model_type of its configurations.
_FAMILIES: tuple[tuple[str, str, str], ...] = (
    ("AltCLIPVisionModel", "altclip_vision_model", _NO_PROJECTION),
    ("AltCLIPTextModel", "altclip_text_model", _TEXT_ALONE),
    ("AltRobertaModel", "altclip_text_model", _TEXT_ALONE),
    ("ChineseCLIPVisionModel", "chinese_clip_vision_model", _NO_PROJECTION),
    ("ChineseCLIPTextModel", "chinese_clip_text_model", _TEXT_ALONE),
    ("MetaClip2ForImageClassification", "", _CLASSIFIER),
    ("MetaClip2VisionModel", "", _NO_PROJECTION),
    ("MetaClip2TextModel", "metaclip_2_text_model", _TEXT_ALONE),
    ("CLIPSeg", "clipseg", "CLIPSeg is a CLIP with a decoder that paints masks; take apart the CLIP that it came from"),
    ("CLIPForImageClassification", "", _CLASSIFIER),
    ("CLIPVisionModel", "", _NO_PROJECTION),
    ("CLIPTextModel", "clip_text_model", _TEXT_ALONE),
    ("SiglipForImageClassification", "", _CLASSIFIER),
    ("SiglipTextModel", "siglip_text_model", _TEXT_ALONE),
    ("Siglip2ForImageClassification", "", _CLASSIFIER),
    ("Siglip2TextModel", "siglip2_text_model", _TEXT_ALONE),
    ("XCLIP", "xclip", "X-CLIP reads videos: its output mixes the frames, and is no sum over the tokens of one image"),
    ("OwlViT", "owlvit", "OWL-ViT finds objects: it reads out an embedding for each patch, not one for the image"),
    ("Owlv2", "owlv2", "OWLv2 finds objects: it reads out an embedding for each patch, not one for the image"),
    ("Align", "align", "ALIGN's image tower is an EfficientNet: its output is a mean of convolutional features"),
    ("Blip2", "blip-2", _BLIP),
    ("Blip2", "blip_2", _BLIP),
    ("Blip", "blip", _BLIP),
    ("InstructBlip", "instructblip", _BLIP),
    ("Flava", "flava", "FLAVA's towers end in a multimodal encoder; its image embedding is another than a CLIP's"),
    ("GroupViT", "groupvit", "GroupViT merges tokens into groups between its stages, so early layers have no own path"),
    ("Git", "git", "GIT writes captions; it has no embedding that texts are compared with"),
    ("Clap", "clap", "CLAP reads sound, not images"),
    ("VisionTextDualEncoder", "vision-text-dual-encoder", "it joins two towers of any kind, which are not read"),
)


def why_not(class_name: str) -> str | None:
    """Why a class of transformers cannot be taken apart; None for one that is not known here."""
    return next((reason for start, _, reason in _FAMILIES if class_name.startswith(start)), None)


def why_not_type(model_type: str) -> str | None:
    """The same by the model_type of a configuration."""
    found = (reason for _, kind, reason in _FAMILIES if kind and model_type.startswith(kind))
    return next(found, None)
