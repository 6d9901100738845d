"""What changed between two sets of pictures, in words: 30 % were moved to the sea."""

from __future__ import annotations

from pathlib import Path

import summand


def main(out: Path = Path("docs/images/shift.png"), count: int = 400) -> None:
    before, after = f"scenes:count={count},seed=1", f"scenes:count={count},seed=2,shift=place/sea/0.3"
    summand.shift(before, after, model=summand.load("scenes-vit")).save(out)


if __name__ == "__main__":
    main()
