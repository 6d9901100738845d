"""Are the words for units true of the images? `python benchmarks/truth.py [--json]` prints docs/benchmarks.md's.

Value: of the 20 fresh scenes furthest along the first proven end of each unit, how many show the value that its words
name; the same over directions that are proven at both ends, over ends whose words are shown as not proven, and how many
units are proven though the images were shuffled. Attribute, for each head of the last three layers of scenes-vit: the
one that explains most of the variance of its effect (ANOVA share over fresh scenes), the one that its label names, and,
causally, the one whose change moves the head most in counterfactual pairs. All of it is `summand.truth`; labels are
made on other scenes than those that judge them. Several --seed print a table each, and --units neurons:0-4 or, of
--model scenes-rn, pairs judges other units.
"""

from __future__ import annotations

import argparse

import summand


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--units", default="heads")
    parser.add_argument("--count", type=int, default=5000, help="scenes that judge")
    parser.add_argument("--label-count", type=int, default=2000, help="scenes that the labels are made on")
    parser.add_argument("--layers", type=int, default=3, help="how many of the last ones")
    parser.add_argument("--pairs", type=int, default=500, help="counterfactual pairs of scenes")
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    model = summand.load(args.model)
    last = model.tower.layers
    layers = range(max(0, last - args.layers), last)
    for seed in args.seed:
        more = {"count": args.count, "described": args.label_count, "pairs": args.pairs, "seed": seed}
        made = summand.truth(model, layers=layers, units=args.units, **more)
        if args.json:
            print(made.to_json())
            continue
        for table in made.tables():
            print("| " + " | ".join(column.header for column in table.columns) + " |")
            print("|---" * len(table.columns) + "|")
            for row in table.rows.to_dict("records"):
                print("| " + " | ".join(column.text(row[column.name]) for column in table.columns) + " |")
            print()


if __name__ == "__main__":
    main()
