"""Natural pictures that mislead a zero-shot classifier, from the words of its own neurons (paper A, §5.1)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urldefrag

import torch
from torch import Tensor

from ...errors import SummandError
from ...models import Model
from ...survey import Group
from ...text.pools import Pool
from ...towers.pool import PoolTower
from ...unit import split
from ..given import Given, neurons_of, of_scenes, readable_pool, reference_of, usual
from ..verb import Unfinished, verb
from . import synonyms
from .endpoint import EndpointWriter
from .generators import DiffusersGenerator, Generator, SceneGenerator
from .indirect_effects import indirect_directions
from .loop import mislead
from .mining import Words, class_embedding, indirect_words, random_words, second_order_words, similar_words
from .options import METHODS, AttackOptions
from .result import Attacked
from .writers import SceneWriter, TemplateWriter, TransformersWriter, Writer, instruction, keep


@verb(AttackOptions)
@torch.no_grad()
def attack(
    model: Model, image_of: str, classified_as: str, reference: Any = None, *, options: AttackOptions
) -> Attacked:
    r"""w_j = Σ_{n ∈ N} γ_j^n ⟨v, r_n⟩, v = M_text(classified as) − M_text(image of): the words of the neurons that
    speak most along v (Eq. 6), put into descriptions of `image_of`, drawn, and classified: ⟨M(x), v⟩ > 0 is a success.

    reference: images, or a survey, that the directions r_n are learnt from; for a model of scenes by default 1,000
    scenes. Try it on your own models: which innocent words in a picture of a dog make your classifier say deer?

    Raises `SummandError` for classes that cannot be told apart and another model without a reference or a generator,
    and `Unfinished`, which holds the words, where a language model or a pipeline fails.
    """
    synonyms.check_classes(image_of, classified_as)
    given, scenes = reference_of(model, reference, options.count), of_scenes(model)
    if options.generator is None and not scenes and options.repeats:
        raise SummandError("no generator: give a diffusers pipeline as generator=NAME, or repeats=0 for the words")
    groups, methods = neurons_of(model, options.layers), set(split(options.methods))
    _check_indirect(options, groups, methods)
    chosen, notes = readable_pool(model, options.pool or ("scenes" if scenes else "words-30k"))
    towards = class_embedding(model, classified_as) - class_embedding(model, image_of)
    embeddings = model.encode_text(chosen.texts, progress=None)
    drop, left_out_by = synonyms.usual(classified_as, scenes, split(options.avoid or ()))
    known = usual(model, given, groups, options.batch_size)
    mine = {"neurons": options.contributing, "size": options.size, "words": options.top}
    own = second_order_words(known, towards, chosen, embeddings, drop, **mine)
    made = partial(
        Attacked, options=options, model=model.name, data=given.name, words=own, image_of=image_of,
        classified_as=classified_as, instruction=instruction(own, image_of, classified_as), synonyms=left_out_by,
        groups=[group.name for group in groups], pool=chosen.name,
    )  # fmt: skip
    words = [{"word": word, "score": score} for word, score in zip(own.words, own.scores, strict=True)]
    try:
        writer, draw = _writer(options.llm, scenes, model), _generator(options, model)
        if draw is None:
            written = writer.write(own, image_of, classified_as, options.seed)
            kept = keep(written, image_of, classified_as, options.prompts, options.seed, drop)
            return made(words, prompts=kept, notes=notes)
        lists = {"second-order": lambda: own}
        if "random" in methods:
            lists["random"] = partial(random_words, known, towards, chosen, embeddings, drop, seed=options.seed, **mine)
        if "indirect" in methods and isinstance(model.tower, PoolTower):
            notes.append("no baseline of indirect effects: an attention pool's neurons have none")
        elif "indirect" in methods:
            lists["indirect"] = partial(
                _indirect, model, given, groups, options, towards, chosen, embeddings, drop, mine
            )
        if "similar" in methods:
            lists["similar"] = partial(similar_words, towards, chosen, embeddings, drop, words=options.top)
        found = [
            mislead(
                model, make(), towards, image_of, classified_as, writer, draw, prompts=options.prompts,
                per_prompt=options.pictures, repeats=options.repeats, seed=options.seed, drop=drop,
            )
            for name, make in lists.items() if name in methods
        ]  # fmt: skip
    except SummandError as error:
        raise Unfinished(str(error), made(words, prompts=[])) from error
    rows = [
        {"method": each.words.method, "success": each.mean, "std": each.std, "rates": list(each.rates),
         "pictures": len(each.pictures), "words": list(each.words.words), "scores": list(each.words.scores)}
        for each in found
    ]  # fmt: skip
    return made(rows, prompts=[list(some) for some in found[0].prompts], notes=notes, attacks=found)


def _check_indirect(options: AttackOptions, groups: Sequence[Group], methods: set[str]) -> None:
    if "indirect" in methods and options.repeats and options.indirect < len(groups):
        others = ",".join(method for method in METHODS if method in methods - {"indirect"})
        raise SummandError(
            f"indirect={options.indirect}: a neuron of each of the {len(groups)} layers is tried at least; give "
            f"{len(groups)} or more, or methods={others} for no such baseline"
        )


def _indirect(
    model: Model, given: Given, groups: Sequence[Group], options: AttackOptions, towards: Tensor, pool: Pool,
    texts: Tensor, drop: synonyms.Drop, mine: dict[str, Any],
) -> Words:  # fmt: skip
    tried = indirect_directions(
        model, given.source, groups, options.indirect, batch_size=options.batch_size, progress=None
    )
    return indirect_words(*tried, towards, pool, texts, drop, **mine)


def _writer(llm: str | None, scenes: bool, model: Model) -> Writer:
    """As `llm` says; http://…/v1#NAME is an endpoint and its model's name."""
    if llm is None:
        return SceneWriter() if scenes else TemplateWriter()
    if llm.startswith(("http://", "https://")):
        url, name = urldefrag(llm)
        return EndpointWriter(url, name or "default", os.environ.get("OPENAI_API_KEY"))
    return TransformersWriter.load(llm, str(model.device))


def _generator(options: AttackOptions, model: Model) -> Generator | None:
    if not options.repeats:
        return None
    if options.generator is None:
        return SceneGenerator()
    return DiffusersGenerator.load(options.generator, str(model.device))
