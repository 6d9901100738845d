"""One head: its words, and the pictures furthest along what it writes."""

from __future__ import annotations

from pathlib import Path

import summand


def main(out: Path = Path("docs/images/start-unit.png"), count: int = 600) -> None:
    survey = summand.survey(summand.load("scenes-vit"), f"scenes:count={count}", units="heads")
    survey.label()
    survey["5.0"].show().savefig(out, dpi=110)


if __name__ == "__main__":
    main()
