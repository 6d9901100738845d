"""Paper A, what neurons are good for: pictures that mislead (Table 3) and segmentation (Table 4)."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ..ablation.accuracy import measure
from ..attack.result import Attacked
from ..attack.run import attack
from ..zeroshot import classifier_of
from .job import Job
from .maps import MEASURES, best_of, scored, segmented, with_reason
from .paper_c_maps import METHODS as RIVALS
from .row import B32, Claim, Found, Row
from .sets import scenes

_PAIRS = (("horse", "automobile"), ("dog", "deer"), ("bird", "frog"), ("ship", "truck"), ("ship", "automobile"))
_METHODS = {
    "random neurons": (1.0, 0.3, 0.3, 0.0, 1.3),
    "indirect effects": (2.8, 6.3, 1.0, 0.0, 0.0),
    "similar words": (1.0, 3.3, 5.0, 0.0, 1.3),
    "second-order": (5.3, 22.7, 8.0, 5.7, 7.0),
}
_MOST = 4  # pairs of scenes
_SEED = 1841
_SHARE = 200 / (3 * 3072)  # of the neurons of ViT-B-32's layers 8 to 10 that a text is drawn by


def adversarial(job: Job) -> Found:
    """Table 3: of 100 pictures of the one class, drawn from the words of neurons along the other, those that are called
    the other; beside words of random neurons, of indirect effects, and the most similar ones."""
    found = Found()
    pairs = _confused(job) if job.scenes else list(_PAIRS)
    drawn = job.scenes or job.options.generator is not None
    rates: dict[str, list[float]] = {}
    for image_of, called in pairs:
        made = _attacked(job, image_of, called, drawn)
        found.words.append((f"{image_of} to {called}", " · ".join(made.words.words[:10])))
        for row in made.rows.to_dict("records") if drawn else []:
            found.numbers[f"{image_of} to {called}, {row['method']}"] = 100 * row["success"]
            rates.setdefault(row["method"], []).append(100 * row["success"])
    if not drawn:
        found.notes.append(
            "words alone: pictures need a text-to-image model (--generator), descriptions a language model (--llm)"
        )
        return found
    means = {method: float(np.mean(each)) for method, each in rates.items()}
    for method in [name for name in means if name != "second-order"]:
        found.claims.append(
            Claim(
                f"second-order words mislead more than those of {method}",
                means["second-order"] > means[method],
                f"{means['second-order']:.1f} against {means[method]:.1f} of 100, mean of {len(pairs)} pairs",
                "the one shortcut of this world, the place, is found by either effect of its neurons",
            )
        )
    return found


def _attacked(job: Job, image_of: str, called: str, drawn: bool) -> Attacked:
    if job.scenes:
        more = {"repeats": 3, "prompts": 10, "pictures": 10, "top": 10, "reference": scenes(job.count(600), _SEED)}
        if job.count(600) < 600:
            more |= {"repeats": 2, "prompts": 3, "pictures": 3, "indirect": 30}
    else:
        options = job.options
        more = {"reference": job.usual(), "llm": options.llm, "generator": options.generator, "pool": options.pool}
        more |= {"repeats": 3 if drawn else 0, "size": 128, "contributing": 100, "top": 25}
    return attack(job.model(), image_of, called, batch_size=job.options.batch_size, **more)


def _confused(job: Job) -> list[tuple[str, str]]:
    """The pairs of shapes that the model confuses most often on plain scenes: shown, called."""
    model, task = job.model(), job.tasks()[0]
    made = measure(model, task, classifier_of(model, task), [], progress=None)
    wrong = zip(made.labels, made.guesses[0], strict=True)
    pairs = Counter((task.classes[int(a)], task.classes[int(b)]) for a, b in wrong if a != b).most_common(_MOST)
    return [pair for pair, _ in pairs] or [("star", "cross")]


_NAMES = {**RIVALS, "decomposition": "TextSpan", "neurons": "neurons"}


def segmentation(job: Job) -> Found:
    """Table 4: the mean activation of the 200 neurons of layers 8 to 10 that are nearest to the class."""
    found = scored(segmented(job, "imagenet-seg", _NAMES), _NAMES)
    claims = best_of(found, "neurons", [name for name in _NAMES.values() if name != "neurons"], list(MEASURES.values()))
    if job.scenes:
        names = {"neurons": "neurons, as small a share"}
        tower = job.model().tower
        every = 3 * tower.neuron_directions(tower.layers - 2).shape[0]  # type: ignore[attr-defined]
        fewer = scored(segmented(job, "imagenet-seg", names, neurons_per_text=round(_SHARE * every)), names)
        found.numbers |= fewer.numbers
        reached = ", ".join(
            f"{what} {value:.1f}" for what, value in zip(MEASURES.values(), fewer.numbers.values(), strict=True)
        )
        why = (
            f"200 neurons are {200 / every:.0%} of these layers', {_SHARE:.0%} in ViT-B-32; as small a share: {reached}"
        )
        claims = with_reason(claims, f"{why}; and token maps are nearly perfect on scenes")
    found.claims += claims
    return found


_PUBLISHED = {
    "partial-LRP": (55.0, 35.5, 66.9),
    "rollout": (61.8, 42.6, 74.0),
    "LRP": (62.9, 35.8, 68.5),
    "GradCAM": (67.3, 39.3, 61.9),
    "Chefer et al.": (68.9, 49.1, 79.7),
    "raw attention": (69.6, 49.8, 80.0),
    "TextSpan": (76.5, 58.1, 84.1),
    "neurons": (78.1, 59.0, 84.9),
}
ROWS = (
    Row(
        "A:table3",
        "pictures that mislead",
        adversarial,
        (B32,),
        ("imagenet-train",),
        on_scenes=("scenes-vit-tied",),
        passes=3,
        published={
            f"{a} to {b}, {name}": values[i] for name, values in _METHODS.items() for i, (a, b) in enumerate(_PAIRS)
        },
        images=5_124,
        deviates=(
            "no picture is sorted out by hand",
            "the paper's language and image models are not ours to ship: --llm, --generator",
        ),
    ),
    Row(
        "A:table4",
        "segmentation by neurons",
        segmentation,
        (B32,),
        ("imagenet-seg",),
        passes=22,
        published={
            f"{name}, {measure}": value
            for name, values in _PUBLISHED.items()
            for measure, value in zip(MEASURES.values(), values, strict=True)
        },
        images=4_276,
        deviates=(
            "directions are learnt from the pictures that are scored, unless --data reference=FOLDER is given",
            "the image is cropped and the mask stretched, as in the released code, so the two do not quite fit",
        ),
    ),
)
