"""What does a repaired model cost once it is exported? `python benchmarks/export.py [--json] [--rounds N]`

The ablated model and the plain one, both exported and both run by the same runtime on the same pixels, in turn in one
process; each round gives one ratio. CPU seconds of the process, so that other work on the machine counts for nothing.
Weights are random where the model is not shipped: times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import summand
from summand.models.ablations import Ablation, AxisRemoval, NeuronAblation

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.overhead import ratio

MODELS = (("scenes-vit", 64), ("scenes-rn", 64), ("ViT-B-32", 8))


def edits(model: summand.Model) -> dict[str, summand.Model]:
    """The ways that a repair takes, each of the size that repairs have."""
    tower: Any = model.tower
    means = torch.zeros(tower.layers, tower.heads, tower.channels)
    heads = [(layer, head) for layer in range(max(0, tower.layers - 4), tower.layers) for head in range(2)]
    axes = torch.eye(tower.embed)[:1]
    found = {
        "heads": Ablation.of(model, heads, means).apply(model),
        "heads, axis only": AxisRemoval.of(model, axes, axes[0], "heads", heads).apply(model),
        "all terms, axis only": AxisRemoval.of(model, axes, axes[0], "terms").apply(model),
        "embedding, axis only": AxisRemoval.of(model, axes, axes[0]).apply(model),
    }
    if tower.layers > 1:
        layer = tower.layers - 3
        paths = torch.zeros(tower.blocks[layer].neuron_output().shape[1], 2 * tower.heads)
        found["8 neurons"] = NeuronAblation.of(model, layer, list(range(8)), paths).apply(model)
    return found


def runs(file: Path) -> Callable[[torch.Tensor], object]:
    """The exported model as whoever has no Summand calls it."""
    if file.suffix == ".pt2":
        return torch.export.load(file).module()
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels.numpy()})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--formats", default=".pt2,.onnx")
    parser.add_argument("--models", default=",".join(name for name, _ in MODELS))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, count in MODELS:
        if name not in chosen.models.split(","):
            continue
        model = summand.load(name, random_init=name not in ("scenes-vit", "scenes-rn"))
        pixels = torch.randn(count, 3, *model.tower.image_size)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            for suffix in chosen.formats.split(","):
                whole = own(model, Path(folder) / f"plain{suffix}")
                for way, edited in edits(model).items():
                    file = summand.export(edited, Path(folder) / f"patched{suffix}").path
                    plain, patched = runs(whole), runs(file)
                    cost = ratio(lambda: plain(pixels), lambda: patched(pixels), chosen.rounds, time.process_time)  # noqa: B023
                    rows.append({"model": name, "format": suffix, "way": way, "images": count, "cost": cost.median,
                                 "fastest": cost.fastest, "plain_ms": 1e3 * cost.base})  # fmt: skip
                    if not chosen.json:
                        print("{model} | {format} | {way} | {cost:.3f} | {fastest:.3f} | {plain_ms:.0f}".format(
                            **rows[-1]), flush=True)  # fmt: skip
    if chosen.json:
        print(json.dumps(rows))


def own(model: summand.Model, file: Path) -> Path:
    """The network's own forward, exported by torch alone."""

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = model.clip.visual

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.visual(pixels)

    pixels = torch.randn(3, 3, *model.tower.image_size)
    sizes = ({0: torch.export.Dim("image", min=1, max=4096)},)
    program = torch.export.export(Plain().eval(), (pixels,), dynamic_shapes=sizes, strict=False)
    if file.suffix == ".pt2":
        with open(file, "wb") as place:
            torch.export.save(program, place)
    else:
        found: Any = torch.onnx.export(program, dynamo=True, input_names=["pixels"], verbose=False)
        found.save(str(file))
    return file


if __name__ == "__main__":
    main()
