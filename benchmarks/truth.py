"""Do the labels name what a head really carries? `python benchmarks/truth.py [--json]` prints the README's table.

For each head of the last three layers of scenes-vit: the attribute that explains most of the variance of its effect
(ANOVA share over 5,000 fresh scenes), the attribute that TextSpan's texts name, and, causally, the attribute whose
change moves the head most in counterfactual pairs. Labels are made on other scenes than those that judge them.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

import summand
from summand.data import open_source
from summand.scenes import ATTRIBUTES, attribute_of
from summand.studies.truth import agreement, anova_shares, counterfactual_movement
from summand.survey import collect
from summand.text.labels import importance, label_heads, named_attribute
from summand.text.pools import pool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--count", type=int, default=5000, help="scenes that judge")
    parser.add_argument("--label-count", type=int, default=2000, help="scenes that the labels are made on")
    parser.add_argument("--layers", type=int, default=3)
    args = parser.parse_args()

    model = summand.load(args.model)
    texts = pool("scenes").texts
    embeddings = model.encode_text(texts)
    seen = collect(model, open_source(f"scenes:count={args.label_count},seed=101"), keep_layers=args.layers)
    labels = label_heads(seen.moments, seen.layers, texts, embeddings, importance(seen.moments, embeddings))
    judge = open_source(f"scenes:count={args.count},seed=202")
    fresh = collect(model, judge, keep_layers=args.layers)
    shares = anova_shares(fresh.kept, judge.attributes())
    moved = counterfactual_movement(model, 500, seed=303, layers=slice(seen.layers[0], None))

    named = [label.attribute for label in labels]
    first = [attribute_of(label.texts[0]) for label in labels]
    by_texts = agreement(shares, named)
    by_first = agreement(shares, first)
    of_all = agreement(shares, named, dominant=0.0)
    chance = random_labels(shares, texts)
    strong = shares.max(axis=1) >= 0.5
    # A change of shape and one of place are not equally large: compare heads by how each moves relative to all heads.
    relative = moved / moved.sum(axis=0)
    most = relative.idxmax(axis=1)
    causal = float(np.mean([a == b for a, b, s in zip(named, most, strong, strict=True) if s]))
    lift = {
        attribute: float(moved[attribute][here].mean() / moved[attribute][~here].mean())
        for attribute in ATTRIBUTES
        if (here := np.array([name == attribute for name in named])).any() and not here.all()
    }
    if args.json:
        heads = [
            {
                "head": label.name,
                "texts": label.texts[:3],
                "named": name,
                "true": shares.loc[i].idxmax(),
                "share": round(float(shares.loc[i].max()), 3),
                "moved_most_by": most[i],
            }
            for i, (label, name) in enumerate(zip(labels, named, strict=True))
        ]
        summary = {
            "heads": by_texts.heads,
            "dominant": by_texts.dominant,
            "agreement": by_texts.agreement,
            "agreement_first_text": by_first.agreement,
            "agreement_all_heads": of_all.agreement,
            "agreement_random_texts": chance,
            "agreement_causal": causal,
            "lift": lift,
        }
        print(json.dumps({"command": "truth", "model": args.model, "rows": heads, "summary": summary}))
        return
    print("| head | first texts | named | true attribute (share of variance) | moved most by |")
    print("|---|---|---|---|---|")
    for i, (label, name) in enumerate(zip(labels, named, strict=True)):
        truth = shares.loc[i].idxmax()
        share = shares.loc[i].max()
        print(f"| {label.name} | {'; '.join(label.texts[:3])} | {name} | {truth} ({share:.2f}) | {most[i]} |")
    print()
    print("| measure | scenes-vit |")
    print("|---|---|")
    of = f"{by_texts.dominant} of {by_texts.heads}"
    print(f"| heads of the last {args.layers} layers with a dominant attribute (≥ half of the variance) | {of} |")
    print(f"| of these, label names the dominant attribute | {by_texts.agree} ({by_texts.agreement:.0%}) |")
    print(f"| the very first text names it | {by_first.agree} ({by_first.agreement:.0%}) |")
    print(f"| random texts from the pool name it | {chance:.0%} |")
    print(f"| label is the attribute whose change moves the head most, relative to the other heads | {causal:.0%} |")
    print(f"| of all {of_all.heads} heads, label names the attribute with the largest share | {of_all.agree} |")
    for attribute, factor in lift.items():
        print(
            f"| changing {attribute}: movement of heads labelled {attribute} over that of the others | {factor:.1f} × |"
        )


def random_labels(shares, texts, draws: int = 200) -> float:
    """Mean agreement when every head is labelled with random texts of the pool."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        named = [named_attribute(rng.choice(texts, 3, replace=False), (0.4, 0.7, 0.9)) for _ in range(len(shares))]
        found.append(agreement(shares, named).agreement)
    return float(np.mean(found))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
