"""Paper A, the neurons of one layer: Table 1 and Figure 4."""

from __future__ import annotations

from ...text.pools import pool as read_pool
from ..ablation.neurons import Indirect, SecondOrder, SparseSecondOrder
from ..ablation.variance import explained
from .job import Job, Runs, some
from .paper_a import BOTH, NORMS, PLOTTED, all_neurons, studied_layer
from .row import B32, NOTHING, Claim, Curve, Found, Row

_SIZES, _SIZES_OF_SCENES = (4, 8, 16, 32, 64, 128), (2, 4, 8, 16, 32, 64)


def indirect(job: Job) -> Found:
    """Table 1: all neurons of layer 9 ablated by their second-order or their indirect effects, and how much of either
    the first principal component explains."""
    model, usual, layer = job.model(), job.usual(), studied_layer(job)
    known = (
        job.survey(model, f"neurons:{layer}", usual) if not job.scenes else job.survey(model, all_neurons(model), usual)
    )
    others = [at for at in range(model.tower.layers - 1) if at != layer] if job.scenes else []  # why, where it fails
    families = [SecondOrder(layer, len(usual)), *(Indirect(at) for at in sorted([layer, *others]))]
    runs = job.runs(model, families, means=usual, survey=known)
    shares = {}
    few = some(usual, 300) if job.scenes else usual
    for kind in ("second-order", "indirect"):
        neurons = min(job.options.neurons, 40) if job.scenes else job.options.neurons
        chosen = None if kind == "second-order" and not job.scenes else neurons
        made = explained(
            model,
            few,
            kind,
            layer,
            chosen,
            top=100,
            batch_size=job.options.batch_size,
            progress=None,
            survey=None if job.scenes else known,
        )
        shares[kind] = 100 * made.row()["largest"]
    second = runs.of("all mean-ablated", layer)
    direct = runs.of("indirect effects mean-ablated", layer)
    found = Found(
        numbers={
            "as it is": runs.base,
            "accuracy without indirect effects": direct,
            "accuracy without second-order effects": second,
            "explained of indirect effects": shares["indirect"],
            "explained of second-order effects": shares["second-order"],
        }
    )
    found.claims += [
        Claim(
            "second-order ablation hurts more than indirect",
            second < direct,
            f"{second:.1f} against {direct:.1f} %",
            _indirect_by_layer(runs),
        ),
        Claim(
            "one component explains more of them",
            shares["second-order"] > shares["indirect"],
            f"{shares['second-order']:.1f} against {shares['indirect']:.1f} %",
        ),
    ]
    return found


def _indirect_by_layer(runs: Runs) -> str:
    """What tells where the cost of indirect ablation comes from: it falls with the number of layers behind."""
    x, y = runs.line("indirect effects mean-ablated")
    costs = ", ".join(f"{layer:.0f}: {runs.base - accuracy:.0f}" for layer, accuracy in zip(x, y, strict=True))
    return (
        f"in points, indirect ablation costs by layer {costs}: least with one layer behind, so most of the cost is "
        f"what goes wrong there, in MLPs and attention patterns, and nothing in a model this shallow makes up for it"
    )


def sparse(job: Job) -> Found:
    """Figure 4: the effects of layer 9 along the best approximation of each r_n by m texts."""
    model, usual, layer = job.model(), job.usual(), studied_layer(job)
    if job.scenes:
        words = [word for word in (model.world.vocabulary or tuple)() if word.isalpha()]
        pools = {"sentences": list(job.pool("scenes", model).texts), "words": words}
    else:
        own = None if job.options.pool is None else job.pool("words-30k", model).texts
        names = {"10k words": "words-10k", "30k words": "words-30k", "class descriptions": "classes"}
        pools = {name: list(read_pool(source).texts) for name, source in names.items()}
        pools |= {"given pool": list(own)} if own else {}
    texts = {name: model.encode_text(lines, progress=None) for name, lines in pools.items()}
    sizes = _SIZES_OF_SCENES if job.scenes else _SIZES
    units = all_neurons(model) if job.scenes else f"neurons:{layer}"
    known = job.survey(model, units, usual)
    families = [SparseSecondOrder(layer, len(usual), texts, sizes, parity="paper"), SecondOrder(layer, len(usual))]
    runs = job.runs(model, families, every=10, means=usual, survey=known)
    without = runs.of("all mean-ablated", layer)
    found = Found(numbers={"as it is": runs.base, f"layer {layer} without all": without})
    lines = {}
    for name in pools:
        x, y = runs.line(name)
        lines[name] = y
        found.curves.append(Curve("each neuron by m texts", name, x, y, "texts a neuron"))
        found.numbers |= {f"{size:.0f} {name} a neuron": value for size, value in zip(x, y, strict=True)}
    sentences = lines["sentences" if job.scenes else "class descriptions"]
    others = lines["words" if job.scenes else "30k words"]
    lost = runs.base - without
    why = f"all effects of the layer are worth {lost:.1f} points here, so that no code of them can be told from another"
    found.claims += [
        Claim(
            f"{sizes[-1]} texts come near the model as it is",
            runs.base - sentences[-1] <= NOTHING * runs.base,
            f"{sentences[-1]:.1f} against {runs.base:.1f} %",
        ),
        Claim(
            "sentences are better than words where few are taken",
            sentences[0] > others[0],
            f"{sentences[0]:.1f} against {others[0]:.1f} % with {sizes[0]}",
            why if lost < 5 else "",
        ),
        Claim(
            "the gap vanishes with many",
            abs(sentences[-1] - others[-1]) <= max(1.0, abs(sentences[0] - others[0])),
            f"{sentences[-1]:.1f} and {others[-1]:.1f} % with {sizes[-1]}",
        ),
    ]
    return found


_WORDS = "common words of wordfreq and class descriptions of our own: the released lists are not ours to ship (--pool)"
ROWS = (
    Row(
        "A:table1",
        "second-order against indirect effects",
        indirect,
        (B32,),
        BOTH,
        passes=30,
        stored="layer",
        published={
            "accuracy without indirect effects": 52.3,
            "accuracy without second-order effects": 29.6,
            "explained of indirect effects": 11.0,
            "explained of second-order effects": 48.2,
        },
        deviates=(
            NORMS,
            "indirect effects of --neurons of the layer, spread over it, and not of all 3,072: a pass each",
        ),
    ),
    Row(
        "A:fig4",
        "neurons by sparse codes of texts",
        sparse,
        (B32,),
        BOTH,
        stored="layer",
        images=5_000,
        deviates=(PLOTTED, _WORDS),
    ),
)
