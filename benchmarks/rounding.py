"""What rounding is the model's own in half precision? `python benchmarks/rounding.py [--rows NAME,PRECISION …]`

For each model and precision, the range over single images of three distances, as shares of the largest number: of
the sum to the model's own `encode_image`, of `encode_image` to what the same weights give in fp32, and of the sum to
that. Weights are random, so are pixels. On two CPU cores about four minutes, most of them for fp16.
"""

from __future__ import annotations

import argparse
import copy

import torch
from torch import Tensor

import summand
from summand.border import foreign

ROWS = ("ViT-B-16,bf16", "ViT-B-16,fp16", "ViT-L-14,bf16")


def off(found: Tensor, other: Tensor) -> float:
    return float((found.float() - other.float()).abs().max() / other.float().abs().max())


@torch.no_grad()
def row(name: str, precision: str, images: int) -> str:
    torch.manual_seed(0)
    model = summand.load(name, random_init=True, precision=foreign(precision))
    wide = copy.deepcopy(model.clip).float()
    found: list[tuple[float, float, float]] = []
    for _ in range(images):
        x = torch.randn(1, 3, *model.tower.image_size).to(model.dtype)
        total, own, truth = model.decompose(x).total(), model.clip.encode_image(x), wide.encode_image(x.float())
        found.append((off(total, own), off(own, truth), off(total, truth)))
    cells = " | ".join(f"{min(each):.1e} – {max(each):.1e}" for each in zip(*found, strict=True))
    return f"| {name} | {precision} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    args = parser.parse_args()
    print("| model | precision | sum to encode_image | encode_image to fp32 | sum to fp32 |\n|---|---|---|---|---|")
    for each in args.rows:
        name, _, precision = each.partition(",")
        print(row(name, precision, args.images), flush=True)


if __name__ == "__main__":
    main()
