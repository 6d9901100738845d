"""Summand's own methods by name, and how the methods of the field are treated."""

from __future__ import annotations

from typing import Any

OWN = {
    "decomposition": ("token decomposition", "paper C"),
    "neurons": ("neurons of the text", "paper A, section 5.2"),
    "second-order": ("neurons through later heads", "paper A, Eq. 5, patch by patch"),
    "neurons-both": ("neurons, effect and activation", "the two above, multiplied"),
    "pairs": ("neuron × head pairs", "paper B"),
    "pairs-neuron": ("pairs, neuron map alone", "paper B"),
    "pairs-similarity": ("pairs, head similarity alone", "paper B"),
}
"""Summand's own methods: name → (title, where it is from)."""

TREATMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "stream": {
        "gradcam": {"contrast": True, "shape": "root", "options": {"features": "attention"}},
        "legrad": {"options": {"first_layer": -2}},
        "lrp": {"shape": "clipped"},
        "partial-lrp": {"contrast": True, "options": {"rule": "epsilon"}},
        "transformer-attribution": {"contrast": True, "shape": "root"},
        "chefer": {"contrast": True, "shape": "root"},
        "grad-eclip": {"contrast": True},
        "clip-surgery": {"shape": "clipped"},
        "maskclip": {"shape": "clipped", "options": {"mlp": False}},
        "sclip": {"shape": "clipped", "options": {"mlp": False}},
        "clearclip": {"contrast": True, "shape": "clipped"},
    },
    "pool": {
        "gradcam": {"contrast": True},
        "chefer": {"contrast": True},
        "legrad": {"contrast": True},
        "grad-eclip": {"contrast": True},
        "clip-surgery": {"contrast": True, "shape": "clipped"},
        "maskclip": {"contrast": True, "shape": "clipped"},
        "sclip": {"contrast": True, "shape": "clipped"},
        "clearclip": {"contrast": True, "shape": "clipped"},
    },
}
"""How baselines are treated unless they are to be as published: what benchmarks/segmentation.py chose on scenes for
scenes-vit (a stream of tokens) and scenes-rn (an attention pool), as it did for Summand's own methods; but for CLIP
Surgery's feature surgery, which that chose for scenes-rn (+.5 mAP, −.1 mIoU) and which a single class does not have."""
