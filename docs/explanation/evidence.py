"""Why words count as proven: the held-out pictures along a head, beside the same with shuffled pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import summand
from summand.report import figures


def main(out: Path = Path("docs/images/evidence.png"), count: int = 1200) -> None:
    survey = summand.survey(summand.load("scenes-vit"), f"scenes:count={count}", units="heads")
    labels = survey.label()
    with figures.style():
        figure, (shown, sizes) = figures.panels(2, width=4.4, height=3.6)
        ends = [end for poles in labels["poles"] for end in poles if end["words"]]
        colours = {"proven": "#2f7d4f", "not proven": "#c0501f", "cannot be tested": "#999999"}
        for verdict, colour in colours.items():
            some = [end for end in ends if end["verdict"] == verdict]
            shown.scatter(
                [end["chance"] for end in some], [end["shown"] for end in some], s=14, color=colour, label=verdict
            )
        shown.plot([0, 1], [0, 1], color="black", linestyle=(0, (1, 1)), linewidth=1)
        shown.axhline(0.85, color="black", linewidth=0.8)
        shown.set(
            title="every end of every head",
            xlabel="share among all pictures",
            ylabel="share among its furthest pictures",
        )
        shown.legend(loc="lower right")
        counts = labels.groupby("layer")["verdict"].value_counts().unstack(fill_value=0)
        below = np.zeros(len(counts))
        for verdict, colour in colours.items():
            if verdict in counts:
                sizes.bar(counts.index, counts[verdict], bottom=below, color=colour)
                below += np.asarray(counts[verdict])
        sizes.set(title="heads by layer", xlabel="layer", ylabel="heads")
        figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
