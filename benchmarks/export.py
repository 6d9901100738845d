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
from functools import partial
from pathlib import Path
from typing import Any

import torch

import summand
from summand.effects.autoencoder import Autoencoder
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
    if tower.layers == 1:
        found["steered: 2 heads, 8 pairs"] = model.steer(
            {"0.0": 0.5, "0.1": 0, **{f"{neuron}x2": 0 for neuron in range(8)}}
        )
        return found
    layer = tower.layers - 3
    paths = torch.zeros(tower.blocks[layer].neuron_output().shape[1], 2 * tower.heads)
    found["8 neurons"] = NeuronAblation.of(model, layer, list(range(8)), paths).apply(model)
    found["steered: 2 heads, 8 neurons"] = model.steer(
        {f"{layer}.0": 0.5, f"{layer + 1}.1": 0, **{f"{layer}:{neuron}": 2 for neuron in range(8)}}
    )
    width = len(tower.blocks[0].attention.out.weight)
    made = torch.randn(width, 2 * width, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(2 * width)
    latents = Autoencoder(layer, made, zero, made.T.contiguous(), zero[:width], zero[:width], top_k=8)
    steered = model.with_autoencoder(latents).steer({f"{layer}#{latent}": 0 for latent in range(8)})
    found[f"steered: 8 of {2 * width} latents"] = steered
    found["neurons within heads within latents"] = NeuronAblation.of(model, layer, list(range(8)), paths).apply(
        Ablation.of(model, heads, means).apply(steered)
    )
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--formats", default=".pt2,.onnx")
    parser.add_argument("--models", default=",".join(name for name, _ in MODELS))
    parser.add_argument("--edits", nargs="*", help="only these")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    formats, rows = chosen.formats.split(","), []
    if not chosen.json:
        print(
            f"| model, images a pass | edit | {' | '.join(formats)} | plain, ms |\n" + "|---" * (len(formats) + 3) + "|"
        )
    for name, count in MODELS:
        if name not in chosen.models.split(","):
            continue
        model = summand.load(name, random_init=name not in ("scenes-vit", "scenes-rn"))
        pixels = torch.randn(count, 3, *model.tower.image_size)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            plain = {suffix: runs(own(model, Path(folder) / f"plain{suffix}")) for suffix in formats}
            for way, edited in edits(model).items():
                if chosen.edits and way not in chosen.edits:
                    continue
                found = {}
                for suffix in formats:
                    patched = runs(summand.export(edited, Path(folder) / f"patched{suffix}").path)
                    works = partial(plain[suffix], pixels), partial(patched, pixels)
                    found[suffix] = ratio(*works, chosen.rounds, time.process_time)
                about = {"model": name, "way": way, "images": count}
                rows += [
                    {**about, "format": suffix, "cost": cost.median, "fastest": cost.fastest, "plain": cost.base}
                    for suffix, cost in found.items()
                ]
                if not chosen.json:
                    said = " | ".join(f"{found[suffix].median:.2f}" for suffix in formats)
                    print(f"| {name}, {count} | {way} | {said} | {1e3 * found[formats[0]].base:.0f} |", flush=True)
    if chosen.json:
        print(json.dumps({"command": "export", "options": vars(chosen), "rows": rows}))


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
