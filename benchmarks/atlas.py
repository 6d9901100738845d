"""How long atlases take, how large they get, how much memory. `python benchmarks/atlas.py [scenes large heads]`

scenes: scenes-vit on 1,000 scenes, heads and the neurons of two layers, from nothing. large: a tower of ViT-L-14's form
(24 × 16 heads, 4,096 neurons a layer, 16 × 16 patches, 4 layers of neurons) but narrow, with random weights, on noise:
so many units, pages and maps without a GPU. heads: 100 × 100 heads. Of each: seconds of CPU and of the clock, from
images to the site; peak memory; pages, files and size of the site, of its largest page and of what the search loads.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

import summand

TEXT: Any = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
LARGE: Any = {"image_size": 64, "patch_size": 4, "layers": 24, "width": 64, "head_width": 4, "mlp_ratio": 64}
HEADS: Any = {"image_size": 32, "patch_size": 8, "layers": 100, "width": 100, "head_width": 1, "mlp_ratio": 1}


def squashed(side: int):
    def pixels(image: Image.Image) -> torch.Tensor:
        return torch.tensor(np.asarray(image.convert("RGB").resize((side, side)))).permute(2, 0, 1).float() / 255

    return pixels


def random_model(vision: Any) -> summand.Model:
    torch.manual_seed(0)
    clip = open_clip.CLIP(embed_dim=64, vision_cfg=vision, text_cfg=TEXT).eval()
    tokenizer = open_clip.SimpleTokenizer(context_length=32)
    return summand.wrap(clip, preprocess=squashed(int(vision["image_size"])), tokenizer=tokenizer, name="random")


def noise(count: int, side: int) -> np.ndarray:
    """Pictures that differ: noise of another colour and grain each."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 4, 4, 3)).repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    return (0.7 * coarse + 0.3 * rng.integers(0, 256, (count, side, side, 3))).astype(np.uint8)


def built(what: str, count: int, out: Path) -> summand.studies.result.Result:
    if what == "scenes":
        return summand.atlas(f"scenes:count={count},seed=7", out, model=summand.load("scenes-vit"))
    model = random_model(LARGE if what == "large" else HEADS)
    pictures = noise(count, LARGE["image_size"] if what == "large" else HEADS["image_size"])
    units = "heads,neurons:19-22" if what == "large" else "heads"
    survey = summand.survey(model, pictures, units=units)
    return summand.atlas(survey, out, model=model)


def measure(what: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out, began, cpu = Path(folder) / "atlas", time.monotonic(), time.process_time()
        found = built(what, count, out)
        took, spent = time.monotonic() - began, time.process_time() - cpu
        files = [path for path in out.rglob("*") if path.is_file()]
        sizes = {path: path.stat().st_size for path in files}
        pages = [path for path in files if path.suffix == ".html"]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        index = sum(size for path, size in sizes.items() if path.parent.name == "data")
        print(
            f"| {what} | {count:,} | {sum(found.pages.values()):,} | {took:.0f} | {spent:.0f} | {found.seconds:.0f} | "
            f"{peak:.1f} | {len(files):,} | {sum(sizes.values()) / 1e6:.1f} | {sizes[out / 'index.html'] / 1e3:.0f} | "
            f"{max(sizes[page] for page in pages if page.name != 'index.html') / 1e3:.0f} | {index / 1e3:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", nargs="*", default=["scenes", "large", "heads"])
    parser.add_argument("--count", type=int, help="images [default: 1,000; of the random towers 240]")
    parser.add_argument("--here", action="store_true", help="in this process: the peak of memory is of all of them")
    args = parser.parse_args()
    if not args.here:
        print(
            "| atlas | images | units | s | CPU s | site s | GB | files | MB | front kB | largest page kB | search kB |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for what in args.what:
        count = args.count or (1000 if what == "scenes" else 240)
        if args.here:
            measure(what, count)
        else:
            subprocess.run([sys.executable, __file__, what, "--here", "--count", str(count)], check=True)  # noqa: S603 - our own file


if __name__ == "__main__":
    main()
