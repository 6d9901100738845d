"""A shortcut from place to shape, and every way to repair it, group by group."""

from __future__ import annotations

from pathlib import Path

import summand


def main(out: Path = Path("docs/images/debias.png"), count: int = 600) -> None:
    found = summand.debias(
        summand.load("scenes-vit-tied"),
        f"scenes:count={count},seed=5",
        f"scenes:count={count},seed=6,tie=shape/place/0.95",
        classes="shape",
        groups="place",
        allow_empty=True,
    )
    found.save(out)


if __name__ == "__main__":
    main()
