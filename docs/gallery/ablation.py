"""Accuracy with one kind of term after the other held at its mean: late heads write the representation, MLPs hardly."""

from __future__ import annotations

from pathlib import Path

import summand


def main(out: Path = Path("docs/images/ablation.png"), count: int = 400) -> None:
    data, kinds = f"scenes:count={count},seed=3", "mlps,attention,class-token,second-order"
    summand.ablate(summand.load("scenes-vit"), data, classes="shape", what=kinds).save(out)


if __name__ == "__main__":
    main()
