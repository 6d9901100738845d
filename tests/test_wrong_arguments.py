"""No public function lets an argument of a wrong kind through to where Python stumbles over it."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand import SummandError

SCENES = "scenes:count=24,seed=1"
PICTURE = Image.new("RGB", (64, 64), (100, 90, 80))
X = torch.zeros(1, 3, 64, 64)
SWITCHES = ("bool", "bool | None")  # true or false, whatever they are
Call = tuple[Callable[..., Any], dict[str, Any]]


@pytest.fixture(scope="module")
def run(vit, tmp_path_factory):
    found = summand.survey(
        vit,
        "scenes:count=44,seed=1",
        units="heads",
        keep="heads",
        held_out=0.5,
        out=tmp_path_factory.mktemp("arguments") / "run",
    )
    found.label()
    return found


@pytest.fixture(scope="module")
def tied():
    return summand.load("scenes-vit-tied")


@pytest.fixture(scope="module")
def parts(vit):
    return vit.decompose(X)


CALLS: dict[str, Callable[[Any], Call]] = {
    "load": lambda at: (summand.load, {"name": "scenes-vit"}),
    "wrap": lambda at: (summand.wrap, {"clip": at("vit").clip}),
    "survey": lambda at: (
        summand.survey,
        {"model": at("vit"), "images": "scenes:count=8", "units": "heads", "held_out": 0},
    ),
    "open": lambda at: (summand.open, {"path": at("run").path}),
    "match": lambda at: (summand.match, {"model": at("vit"), "a": PICTURE, "b": "a red circle"}),
    "compare": lambda at: (
        summand.compare,
        {"a": at("vit"), "b": at("tied"), "images": "scenes:count=40,seed=1", "units": "heads", "draws": 20},
    ),
    "align": lambda at: (summand.align, {"vision": torch.nn.Linear(2, 2), "clip": at("vit"), "images": SCENES}),
    "export": lambda at: (summand.export, {"model": at("vit"), "to": at("tmp_path") / "model.txt"}),
    "inject": lambda at: (
        summand.inject,
        {"model": at("tied"), "images": SCENES, "classes": "shape", "attribute": "place"},
    ),
    "debias": lambda at: (
        summand.debias,
        {
            **{"model": at("tied"), "data": SCENES, "classes": "shape", "attribute": "place"},
            **{"groups": "place", "draws": 1, "allow_empty": True},
        },
    ),
    "segment": lambda at: (
        summand.segment,
        {"model": at("vit"), "data": "scenes:count=2", "methods": "raw-attention"},
    ),
    "shift": lambda at: (summand.shift, {"reference": at("run"), "current": "scenes:count=8", "permutations": 9}),
    "reproduce": lambda at: (summand.reproduce, {"row": "list", "model": at("vit")}),
    "heatmap": lambda at: (summand.heatmap, {"model": at("vit"), "images": PICTURE, "texts": "a circle"}),
    "retrieve": lambda at: (summand.retrieve, {"model": at("vit"), "images": SCENES, "query": PICTURE}),
    "concepts": lambda at: (
        summand.concepts,
        {"model": at("vit"), "image": PICTURE, "reference": at("run"), "maps": 0, "layers": "4", "pool": "scenes"},
    ),
    "subconcepts": lambda at: (
        summand.subconcepts,
        {"model": at("resnet"), "images": SCENES, "unit": "62x3", "pool": "scenes"},
    ),
    "ablate": lambda at: (
        summand.ablate,
        {"model": at("vit"), "data": SCENES, "classes": "shape", "keep": "5", "what": "mlps"},
    ),
    "registers": lambda at: (summand.registers, {"model": at("vit"), "images": SCENES}),
    "perturb": lambda at: (
        summand.perturb,
        {
            **{"model": at("vit"), "images": PICTURE, "texts": ["a star", "a ring"], "methods": "raw-attention"},
            "steps": 2,
        },
    ),
    "train_autoencoder": lambda at: (
        summand.train_autoencoder,
        {"model": at("vit"), "images": SCENES, "latents": 8, "top_k": 2, "epochs": 1, "tokens": 500},
    ),
    "truth": lambda at: (summand.truth, {"model": at("vit"), "count": 30, "described": 20, "pairs": 5}),
    "words": lambda at: (summand.words, {"model": at("vit"), "text": "a red circle"}),
    "atlas": lambda at: (
        summand.atlas,
        {"images": at("run"), "out": at("tmp_path") / "site", "pictures": 1, "no_images": True, "layers": "5"},
    ),
    "attack": lambda at: (
        summand.attack,
        {
            **{"model": at("vit"), "image_of": "star", "classified_as": "cross", "reference": "scenes:count=20"},
            **{"methods": "random", "repeats": 0, "layers": "4"},
        },
    ),
    "rank_one": lambda at: (summand.rank_one, {"source": at("run").moments("heads")}),
    "textspan": lambda at: (
        summand.textspan,
        {"source": at("run").moments("heads"), "texts": torch.ones(20, 128), "size": 2},
    ),
    "sparse_code": lambda at: (
        summand.sparse_code,
        {"targets": torch.ones(2, 128), "atoms": torch.eye(9, 128), "size": 2},
    ),
    "Monitor": lambda at: (summand.Monitor, {"reference": at("run"), "model": at("vit"), "permutations": 9}),
    "Monitor.update": lambda at: (summand.Monitor(at("run"), at("vit")).update, {"images": [PICTURE]}),
    "Model.steer": lambda at: (at("vit").steer, {"steer": {"3.1": 2.0}}),
    "Model.with_autoencoder": lambda at: (at("vit").with_autoencoder, {"sae": "none"}),
    "Model.compile": lambda at: (summand.load("scenes-vit").compile, {}),
    "Model.autoencoder": lambda at: (at("vit").autoencoder, {"layer": 3}),
    "Model.latents": lambda at: (at("vit").latents, {"x": X, "layer": 3}),
    "Model.reconstruction": lambda at: (at("vit").reconstruction, {"x": X, "layer": 3}),
    "Model.preprocess": lambda at: (at("vit").preprocess, {"images": PICTURE}),
    "Model.picture": lambda at: (at("vit").picture, {"pixels": X}),
    "Model.encode_image": lambda at: (at("vit").encode_image, {"x": X}),
    "Model.decompose": lambda at: (at("vit").decompose, {"x": X}),
    "Model.activations": lambda at: (at("vit").activations, {"x": X, "layer": 3}),
    "Model.second_order": lambda at: (at("vit").second_order, {"x": X, "layer": 3}),
    "Model.first_order": lambda at: (at("vit").first_order, {"x": X, "layer": 3}),
    "Model.indirect": lambda at: (
        at("vit").indirect,
        {"x": X, "layer": 3, "neurons": [1], "means": at("vit").mean_activations([X], 3)},
    ),
    "Model.pairs": lambda at: (at("resnet").pairs, {"x": torch.zeros(1, 3, 128, 128)}),
    "Model.encode_text": lambda at: (at("vit").encode_text, {"texts": ["a"]}),
    "Model.text_batch": lambda at: (at("vit").text_batch, {"texts": ["a"]}),
    "Model.text_tokens": lambda at: (at("vit").text_tokens, {"texts": ["a"]}),
    "Model.decompose_text": lambda at: (at("vit").decompose_text, {"texts": ["a"]}),
    "Model.mean_activations": lambda at: (at("vit").mean_activations, {"batches": [X], "layer": 3}),
    "Parts.toward": lambda at: (at("parts").toward, {"directions": torch.ones(1, 128)}),
    "Parts.heads_toward": lambda at: (at("parts").heads_toward, {"directions": torch.ones(1, 128)}),
    "Parts.tokens_toward": lambda at: (at("parts").tokens_toward, {"directions": torch.ones(1, 128), "layers": [4]}),
    "Parts.head_tokens_toward": lambda at: (
        at("parts").head_tokens_toward,
        {"directions": torch.ones(1, 128), "layer": 4, "head": 1},
    ),
    "Parts.top_tokens": lambda at: (at("parts").top_tokens, {"directions": torch.ones(1, 128), "count": 2}),
    "Parts.token_effects": lambda at: (at("parts").token_effects, {"layers": [4]}),
    "Parts.waterfall": lambda at: (at("parts").waterfall, {"direction": torch.ones(128)}),
    "Parts.plot": lambda at: (at("parts").plot, {"direction": torch.ones(128)}),
    "Effects.toward": lambda at: (at("vit").second_order(X, 3).toward, {"directions": torch.ones(1, 128)}),
    "Effects.select": lambda at: (at("vit").second_order(X, 3).select, {"index": [0]}),
    "Survey.find": lambda at: (at("run").find, {"what": "a circle"}),
    "Survey.label": lambda at: (at("run").label, {"size": 1}),
    "Survey.audit": lambda at: (at("run").audit, {}),
    "Survey.__getitem__": lambda at: (at("run").__getitem__, {"unit": "3.1"}),
    "Survey.save": lambda at: (at("run").save, {"folder": at("tmp_path") / "saved"}),
    "Survey.plot": lambda at: (at("run").plot, {"group": "heads"}),
    "Survey.load_model": lambda at: (at("run").load_model, {}),
    "Survey.check_model": lambda at: (at("run").check_model, {"model": at("vit")}),
    "Survey.check_unit": lambda at: (at("run").check_unit, {"group": "heads", "index": (3, 1)}),
    **{
        f"Survey.{name}": lambda at, name=name: (getattr(at("run"), name), {"group": "heads"})
        for name in (
            *("group", "holds", "dataset", "moments", "rank_one", "shape", "thresholds", "top_images"),
            *("held_out", "held_out_coefficients", "coefficients"),
        )
    },
    "UnitView.show": lambda at: (at("run")["3.1"].show, {}),
    "Moments.load": lambda at: (summand.Moments.load, {"path": at("tmp_path") / "none"}),
    "Moments.save": lambda at: (at("run").moments("heads").save, {"path": at("tmp_path") / "moments"}),
    "Moments.select": lambda at: (at("run").moments("heads").select, {"index": [0]}),
    "Moments.variance_along": lambda at: (
        at("run").moments("heads").variance_along,
        {"directions": torch.ones(1, 128)},
    ),
    "TopImages.save": lambda at: (at("run").top_images("heads").save, {"path": at("tmp_path") / "top"}),
    "TopImages.load": lambda at: (summand.TopImages.load, {"path": at("tmp_path") / "none"}),
    "TopImages.quantile": lambda at: (at("run").top_images("heads").quantile, {"q": 0.5}),
    "TextSpan.first": lambda at: (
        summand.textspan(at("run").moments("heads"), torch.ones(20, 128), 2).first,
        {"size": 1},
    ),
    "Heatmap.save": lambda at: (
        summand.heatmap(at("vit"), PICTURE, "a circle").save,
        {"path": at("tmp_path") / "map.png"},
    ),
    "Result.save": lambda at: (summand.words(at("vit"), "a red star").save, {"place": at("tmp_path") / "result"}),
    "Unit.parse": lambda at: (summand.Unit.parse, {"text": "3.1"}),
    "scenes.sample": lambda at: (summand.scenes.sample, {"count": 2, "seed": 1}),
    "scenes.counterfactuals": lambda at: (
        summand.scenes.counterfactuals,
        {"count": 2, "attribute": "shape", "seed": 1},
    ),
    "scenes.draw_causes": lambda at: (summand.scenes.draw_causes, {"count": 2, "seed": 1}),
    "scenes.captions": lambda at: (
        summand.scenes.captions,
        {"causes": summand.scenes.draw_causes(2, 1), "seed": 1},
    ),
    "scenes.contact_sheet": lambda at: (
        summand.scenes.contact_sheet,
        {"images": summand.scenes.sample(2, 1).images},
    ),
    "scenes.describe": lambda at: (summand.scenes.describe, {"text": "a red star"}),
    "scenes.parse": lambda at: (summand.scenes.parse, {"text": "a red star"}),
    "scenes.attribute_of": lambda at: (summand.scenes.attribute_of, {"text": "a red star"}),
    "scenes.parse_source": lambda at: (summand.scenes.parse_source, {"text": SCENES}),
    "scenes.prompts": lambda at: (summand.scenes.prompts, {"attribute": "shape"}),
    "scenes.write_folder": lambda at: (
        summand.scenes.write_folder,
        {"scenes": summand.scenes.sample(2, 1), "folder": at("tmp_path") / "scenes"},
    ),
}
"""Name → a public function, and arguments with which it works, in little time."""

BAD: dict[str, Any] = {
    **{"int": 3, "negative": -1, "none": 0, "float": 2.5, "NaN": float("nan"), "infinite": float("inf")},
    **{"large": 2**62, "larger": 10**30, "complex": 1j, "true": True, "None": None, "": "", "word": "nonesuch"},
    **{"long": "x" * 5000, "NUL": "a\0b", "surrogate": "a\ud800b", "nobody's home": "~nobody-of-this-name/x"},
    **{"bytes": b"abc", "path": Path("no/such/path"), "empty": [], "[int]": [3], "[None]": [None], "mixed": ["a", 3]},
    **{"tuple": (1, 2, 3), "set": {1, 2}, "dictionary": {"a": 1}, "type": int, "array": np.zeros((2, 3))},
    **{"empty array": np.zeros(0), "number as an array": np.array(3), "tensor": torch.zeros(2, 3)},
}
WORK = ("draws", "repeats", "steps", "permutations", "epochs", "prompts", "pictures", "indirect", "pairs")
LONG: dict[tuple[str, str], tuple[str, ...]] = {
    ("survey", "workers"): ("int",),
    ("attack", "reference"): ("None",),
    ("concepts", "reference"): ("None",),
    **dict.fromkeys([("debias", "split"), ("compare", "images")], tuple(BAD)),
}
"""Work that is meant, and much of it; what is read by nothing."""
SLOW = (
    *("survey", "match", "compare", "inject", "debias", "segment", "shift", "retrieve", "concepts", "subconcepts"),
    *("ablate", "registers", "perturb", "train_autoencoder", "truth", "atlas", "attack", "Monitor", "Survey.label"),
)
FEW = ("float", "infinite", "None", "NUL", "bytes", "[None]", "dictionary", "array")
"""Of functions that take long where a value is one that works."""
LEFT = {"Effects.select": ("index = large: IndexError",), "Effects.toward": ("directions = tensor: RuntimeError",),
        "Moments.variance_along": ("directions = tensor: RuntimeError",)}  # fmt: skip
"""A number beyond the last and rows of another width are of the right kind, and torch says which."""
REFUSED = ("export", "align", "Model.with_autoencoder", "Model.autoencoder", "Model.latents", "Model.reconstruction",
           "Moments.load", "TopImages.load")  # fmt: skip
"""Calls that are refused behind the look at their arguments, where work would begin that takes long."""


def parameters(function: Callable[..., Any]) -> list[str]:
    own = inspect.signature(function).parameters.values()
    return [
        one.name
        for one in own
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and str(one.annotation) not in SWITCHES
    ]


def bare(name: str, call: Call) -> list[str]:
    """What came of every bad value in the place of every argument that was no `SummandError`."""
    function, working = call
    values = {what: BAD[what] for what in (FEW if name in SLOW else BAD)}
    found = []
    for argument in parameters(function):
        skip = LONG.get((name, argument), ()) + (("large", "larger") if argument in WORK else ())
        for what, value in values.items():
            if what in skip or (value is None and inspect.signature(function).parameters[argument].default is None):
                continue
            try:
                function(**{**working, argument: value})
            except SummandError:
                pass
            except Exception as error:
                found.append(f"{argument} = {what}: {type(error).__name__}: {str(error)[:100]}")
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", CALLS)
def test_nothing_bare_comes_out_whatever_goes_in(name, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = CALLS[name](request.getfixturevalue)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = bare(name, call)
    unnamed = [line for line in found if not line.startswith(LEFT.get(name, ("left",)))]
    assert not unnamed, "\n".join(unnamed)


def test_every_public_function_is_asked():
    functions = {name for name in summand.__all__ if inspect.isfunction(getattr(summand, name))}
    assert functions - set(CALLS) == {"explore"}  # which opens a server
    methods = {
        f"{name}.{own}"
        for name in ("Model", "Monitor", "Parts", "Survey")
        for own, made in inspect.getmembers(getattr(summand, name), inspect.isfunction)
        if not own.startswith("_") and len(inspect.signature(made).parameters) > 1
    }
    inner = {"Model.ablated", "Model.at_once", "Model.check_pixels", "Parts.share"}  # what a user has no value for
    assert methods - set(CALLS) == inner


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", CALLS)
def test_what_works_works(name, request, tmp_path, monkeypatch):
    """The calls that the walk begins with are right ones."""
    monkeypatch.chdir(tmp_path)
    function, working = CALLS[name](request.getfixturevalue)
    with contextlib.suppress(*([SummandError] if name in REFUSED else [])):
        function(**working)
