"""Does `find` find units that know a property, and does an audit see which do not? `python benchmarks/find.py [--json]`

Find: for the value of every attribute of scenes, the 5 units found first by its text ("a forest"): how well x_n tells
the scenes that have it from those that have not (AUC, turned as the cosine says), on the images that the survey kept
aside, by the scenes' true causes. Beside it the same of 5 units at random (turned to be at least one half), and of the
5 best of 500 units at random.

Audit: of clear and unclear units, of one thing and of several, how much more often the value that a unit's strongest
images share most stands there than anywhere: max (share − chance) / (1 − chance).
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import summand
from summand.survey import Survey
from summand.text.poles import images_of_an_end

FIRST, SEED = 5, 6161
_SOME = 500  # units that are looked at for chance and for the best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--models", default="scenes-vit,scenes-rn")
    parser.add_argument("--count", type=int, default=1500, help="scenes of the survey")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in args.models.split(","):
        source = f"scenes:count={args.count},seed={SEED}"
        survey = summand.survey(summand.load(name), source, progress=False)
        rows.append(
            {"model": name, "units": len(survey.units), **found(survey, args.count), **audited(survey, args.count)}
        )
    if args.json:
        print(json.dumps({"command": "find benchmark", "rows": rows}))
        return
    print("| AUC of the first 5 units | by cosine | by evidence | at random | the best of 500 |\n|---|---|---|---|---|")
    for row in rows:
        numbers = (f"{row[key]:.2f}" for key in ("cosine", "evidence", "random", "best"))
        print(f"| {row['model']}, {row['units']:,} units | {' | '.join(numbers)} |")
    print("\n| shared by a unit's strongest images | unclear | clear | two things | one thing |\n|---|---|---|---|---|")
    for row in rows:
        numbers = (f"{row[key][0]:.2f} ({row[key][1]:,})" for key in ("unclear", "clear", "several", "one"))
        print(f"| {row['model']} | {' | '.join(numbers)} |")


def truth_of(survey: Survey, count: int) -> dict[tuple[str, str], np.ndarray]:
    """(attribute, value) → which of the images kept aside have it."""
    table = summand.scenes.sample(count, seed=SEED).attributes.iloc[survey.held_out_images]
    return {(name, str(value)): (table[name] == value).to_numpy() for name in table for value in table[name].unique()}


def signals_of(survey: Survey) -> dict[str, np.ndarray]:
    x = torch.cat([survey.held_out(group).flatten(1) for group in survey.groups], dim=1).numpy()
    return dict(zip(survey.units, x.T, strict=True))


def found(survey: Survey, count: int) -> dict[str, float]:
    signals, rng = signals_of(survey), np.random.default_rng(SEED)
    scores: dict[str, list[float]] = {"cosine": [], "evidence": [], "random": [], "best": []}
    for (name, value), has in truth_of(survey, count).items():
        text = next(said[0] for own, said in summand.scenes.prompts(name).items() if str(own) == value)
        for by in ("cosine", "evidence"):
            for row in survey.find(text, top=FIRST, by=by).to_dict("records"):
                scores[by].append(float(roc_auc_score(has, np.sign(row["cosine"]) * signals[row["unit"]])))
        some = rng.choice(list(signals), size=min(_SOME, len(signals)), replace=False)
        each = sorted(max(auc, 1 - auc) for auc in (float(roc_auc_score(has, signals[unit])) for unit in some))
        scores["random"] += list(rng.choice(each, size=FIRST))
        scores["best"] += each[-FIRST:]
    return {name: float(np.mean(values)) for name, values in scores.items()}


def audited(survey: Survey, count: int) -> dict[str, tuple[float, int]]:
    truth = np.stack(list(truth_of(survey, count).values()), axis=1)
    chance, signals, k = truth.mean(axis=0), signals_of(survey), images_of_an_end(len(truth))
    table = survey.audit(most=1500)
    shared = np.array([
        ((truth[np.argsort(-signals[unit], kind="stable")[:k]].mean(axis=0) - chance) / (1 - chance)).max()
        for unit in table["unit"]
    ])  # fmt: skip
    clear, several = table["clear"].to_numpy(), table["several"].to_numpy()
    which = {"unclear": ~clear, "clear": clear, "several": several, "one": clear & ~several}
    return {name: (float(shared[some].mean()), int(some.sum())) for name, some in which.items()}


if __name__ == "__main__":
    main()
