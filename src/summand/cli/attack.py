"""`summand attack`: natural pictures that mislead a zero-shot classifier, from the words of its own neurons."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..errors import SummandError
from .common import (
    ActivationOption,
    BatchOption,
    CheckpointOption,
    DeviceOption,
    JsonOption,
    OwnModelOption,
    PretrainedOption,
    RandomOption,
    app,
    emit,
    escape,
    pool_for,
    stderr,
    wait,
    warn_of_strange,
    wide_console,
)
from .inputs import model_for, open_images

_PICTURES = 16


@app.command(
    epilog="Examples:\n\n"
    "  summand attack --image-of star --classified-as cross\n\n"
    "  summand attack --image-of horse --classified-as automobile --images photos/ --model ViT-B-32 "
    "--pretrained openai --words-only\n\n"
    "  summand attack --image-of dog --classified-as deer --images run/ --llm http://localhost:8000/v1 "
    "--llm-model llama-3-8b --generator stabilityai/sdxl-turbo --device cuda"
)
def attack(
    image_of: Annotated[str, typer.Option("--image-of", help="What the pictures show.")],
    classified_as: Annotated[str, typer.Option("--classified-as", help="What the model should say instead.")],
    images: Annotated[
        str | None, typer.Option("--images", "-i", help="What the neurons are profiled on: images or a run folder.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", help="Of the neurons, such as 8-10 [default: the last three].")
    ] = None,
    neurons: Annotated[int, typer.Option("--neurons", min=1, help="How many contribute.")] = 100,
    words: Annotated[int, typer.Option("--words", min=1, help="How many words are used.")] = 25,
    size: Annotated[int | None, typer.Option("--size", min=1, help="Texts in a neuron's sparse code.")] = None,
    texts: Annotated[str | None, typer.Option("--pool", help="Words to choose from [default: words-30k].")] = None,
    avoid: Annotated[list[str] | None, typer.Option("--avoid", help="Another name of the target to leave out.")] = None,
    llm: Annotated[
        str | None, typer.Option("--llm", help="A text-generation model of transformers, or http://…/v1.")
    ] = None,
    llm_model: Annotated[str, typer.Option("--llm-model", help="The model's name at the endpoint.")] = "default",
    generator: Annotated[
        str | None, typer.Option("--generator", help="A text-to-image pipeline of diffusers; scenes draw themselves.")
    ] = None,
    words_only: Annotated[bool, typer.Option("--words-only", help="Write words and prompts, draw nothing.")] = False,
    baselines: Annotated[
        bool, typer.Option(help="Also attack by random neurons, by indirect effects, and by similar words.")
    ] = True,
    indirect: Annotated[
        int, typer.Option("--indirect", min=0, help="Neurons tried for indirect effects (a pass each); 0: not at all.")
    ] = 300,
    prompts: Annotated[int, typer.Option("--prompts", min=1, help="Descriptions a repeat.")] = 10,
    per_prompt: Annotated[int, typer.Option("--per-prompt", min=1, help="Pictures a description.")] = 10,
    repeats: Annotated[int, typer.Option("--repeats", min=1)] = 3,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Profile on at most so many images.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of words, prompts and pictures.")] = Path("attack"),
    model: OwnModelOption = None,
    pretrained: PretrainedOption = None,
    checkpoint: CheckpointOption = None,
    activation: ActivationOption = None,
    batch_size: BatchOption = 64,
    random_init: RandomOption = False,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Find the words that pull one class towards another through the model's neurons, and draw what they describe.

    Try it on your own models: which innocent words in a picture of a dog make your classifier say deer?
    """
    from ..maps.heatmap import default_pool
    from ..report.attack import check_folder, write_pictures, write_words
    from ..studies import attack as study
    from ..studies.attack import synonyms, writers
    from ..survey.profile import neuron_groups, profile, profile_of_run
    from ..text.pools import pool
    from ..towers.pool import PoolTower

    synonyms.check_classes(image_of, classified_as)
    scenes_model = model is None or model.startswith("scenes-")
    if images is None and not scenes_model:
        raise SummandError("--images: give the images (or a run folder) that the neurons are profiled on")
    where = open_images(images or "scenes", count or (1000 if images is None else None))
    check_folder(out)
    loaded = model_for(where, model, pretrained, random_init, device, checkpoint, activation)
    warn_of_strange(loaded, where.source)
    scenes = default_pool(loaded) == "scenes"
    if generator is None and not scenes and not words_only:
        raise SummandError("no generator: give a diffusers pipeline with --generator, or --words-only for the words")
    groups = neuron_groups(loaded, layers)
    if baselines and not words_only and 0 < indirect < len(groups):
        raise SummandError(
            f"--indirect {indirect}: a neuron of each of the {len(groups)} layers is tried at least; give "
            f"{len(groups)} or more, or 0 for no such baseline"
        )
    chosen = pool_for(loaded, pool(texts or ("scenes" if scenes else "words-30k")))
    towards = study.class_embedding(loaded, classified_as) - study.class_embedding(loaded, image_of)
    progress = sys.stderr.isatty()
    embeddings = loaded.encode_text(chosen.texts, progress=progress)
    drop, filtered_by = wait("looking for synonyms", lambda: synonyms.usual(classified_as, scenes, avoid or ()))
    held = where.run is not None and all(group in where.run.groups for group in groups)
    known = profile_of_run(where.run, groups) if held else profile(loaded, where.source, groups, batch_size, progress)
    mine: dict[str, Any] = {"neurons": neurons, "size": size, "words": words}
    own = study.second_order_words(known, towards, chosen, embeddings, drop, **mine)
    # The words are on disk before a language model or a pipeline is asked: neither may be there.
    write_words(out, own, writers.instruction(own, image_of, classified_as), filtered_by)
    if llm is None:
        writer: Any = study.SceneWriter() if scenes else study.TemplateWriter()
    elif llm.startswith(("http://", "https://")):
        writer = study.EndpointWriter(llm, llm_model, os.environ.get("OPENAI_API_KEY"))
    else:
        writer = study.TransformersWriter.load(llm, device)
    options = {
        "image_of": image_of, "classified_as": classified_as, "layers": [group.name for group in groups],
        "neurons": neurons, "indirect": indirect, "words": words, "pool": chosen.name, "synonyms": filtered_by,
        "llm": llm, "generator": generator or ("scenes" if scenes else None),
        "prompts": prompts, "per_prompt": per_prompt, "repeats": repeats, "seed": seed, "out": str(out),
    }  # fmt: skip
    if words_only:
        written = wait("writing prompts", lambda: writer.write(own, image_of, classified_as, seed))
        kept = writers.keep(written, image_of, classified_as, prompts, seed, drop)
        (out / "prompts.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
        rows = [{"word": word, "score": score} for word, score in zip(own.words, own.scores, strict=True)]
        if as_json:
            emit("attack", loaded.name, where.given, options, rows, prompts=kept)
        else:
            _print_words(own, filtered_by)
            wide_console().print(f"[bold]{(out / 'prompts.txt').resolve()}[/]", soft_wrap=True)
        return
    draw: Any = study.SceneGenerator() if generator is None else study.DiffusersGenerator.load(generator, device)
    lists = [own]
    if baselines:
        lists.append(study.random_words(known, towards, chosen, embeddings, drop, seed=seed, **mine))
        if indirect and isinstance(loaded.tower, PoolTower):
            stderr.print("[yellow]no baseline of indirect effects:[/] an attention pool's neurons have none")
        elif indirect:
            tried = study.indirect_directions(
                loaded, where.source, groups, indirect, batch_size=batch_size, progress=progress
            )
            lists.append(study.indirect_words(*tried, towards, chosen, embeddings, drop, **mine))
        lists.append(study.similar_words(towards, chosen, embeddings, drop, words=words))
    found = []
    for each in lists:
        found.append(
            wait(
                f"attacking with {each.method}",
                lambda each=each: study.attack(
                    loaded, each, towards, image_of, classified_as, writer, draw,
                    prompts=prompts, per_prompt=per_prompt, repeats=repeats, seed=seed, drop=drop,
                ),
            )
        )  # fmt: skip
    write_pictures(out, found, _PICTURES)
    rows = [
        {"method": each.words.method, "success": each.mean, "std": each.std, "rates": list(each.rates),
         "pictures": len(each.pictures), "words": list(each.words.words), "scores": list(each.words.scores)}
        for each in found
    ]  # fmt: skip
    if as_json:
        emit("attack", loaded.name, where.given, options, rows, prompts=[list(some) for some in found[0].prompts])
        return
    if loaded.random_weights:
        stderr.print("[bold yellow]The weights are RANDOM: these words mean nothing.[/]")
    _print_words(own, filtered_by)
    table = Table(
        header_style="bold", title=f"pictures of {image_of} that the model calls {classified_as}", title_justify="left"
    )
    for name in ("words from", "fooled", "std over repeats", "pictures"):
        table.add_column(name, justify="left" if name == "words from" else "right", no_wrap=True)
    for each in found:
        table.add_row(each.words.method, f"{each.mean:.1%}", f"{each.std:.1%}", str(len(each.pictures)))
    console = wide_console()
    console.print(table)
    console.print(f"[bold]{(out / 'contact-sheet.png').resolve()}[/]", soft_wrap=True)


def _print_words(own: Any, filtered_by: str) -> None:
    console = wide_console()
    console.print(f"words (names of the target left out by: {escape(filtered_by)})")
    console.print("  " + escape(" · ".join(own.words)), soft_wrap=True)
