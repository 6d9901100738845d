"""Do the labels name what a head really carries? `python benchmarks/truth.py [--json]` prints the README's table.

For each head of the last three layers of scenes-vit: the attribute that explains most of the variance of its effect
(ANOVA share over 5,000 fresh scenes), the attribute that TextSpan's texts name, and, causally, the attribute whose
change moves the head most in counterfactual pairs: `summand.truth`. Labels are made on other scenes than those that
judge them.
"""

from __future__ import annotations

import argparse

import summand


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--count", type=int, default=5000, help="scenes that judge")
    parser.add_argument("--label-count", type=int, default=2000, help="scenes that the labels are made on")
    parser.add_argument("--layers", type=int, default=3, help="how many of the last ones")
    args = parser.parse_args()
    model = summand.load(args.model)
    last = model.tower.layers
    layers = range(max(0, last - args.layers), last)
    made = summand.truth(model, layers=layers, count=args.count, described=args.label_count)
    if args.json:
        print(made.to_json())
        return
    for table in made.tables():
        print("| " + " | ".join(column.header for column in table.columns) + " |")
        print("|---" * len(table.columns) + "|")
        for row in table.rows.to_dict("records"):
            print("| " + " | ".join(column.text(row[column.name]) for column in table.columns) + " |")
        print()


if __name__ == "__main__":
    main()
