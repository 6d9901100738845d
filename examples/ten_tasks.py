"""Ten ordinary tasks, each by public names alone. They run on scenes; for your own model change `load`.

python examples/ten_tasks.py WORK    # WORK: an empty folder
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

import summand


def maps_of_three_texts_over_a_folder(model, photos: Path, out: Path):
    maps = summand.heatmap(model, photos, ["a star", "a red object", "the sea"])
    maps.save(out)  # a picture each, the numbers as JSON and CSV
    return maps


def the_same_with_a_fine_tuned_checkpoint(file: Path, photos: Path, out: Path):
    return maps_of_three_texts_over_a_folder(summand.load("scenes-vit", checkpoint=file), photos, out)


def all_heads_in_words_of_my_own(model, photos: Path, words: list[str]) -> pd.DataFrame:
    survey = summand.survey(model, photos, units="heads", held_out=0.4)
    return survey.label(pool=words, size=2)  # one row a head: words, and what they are worth on held-out images


def ablate_two_heads_and_classify(model, data: str):
    return summand.ablate(model, data, classes="shape", units="5.3,5.5").classified


def top_images_of_a_neuron(model, photos: Path):
    neuron = summand.survey(model, photos, units="neurons:4", held_out=0)["4:100"]
    return neuron.images, neuron.show()


def survey_a_folder_and_label_it(model, photos: Path, out: Path) -> pd.DataFrame:
    return summand.survey(model, photos, units="heads,neurons:4", held_out=0.4, out=out).label(size=2)


def open_a_survey_elsewhere_and_query_it(folder: Path) -> pd.DataFrame:
    return summand.open(folder).find("a red object")  # units by text, nearest first, with their words and evidence


def drift_of_a_stream(model, reference: str, stream) -> tuple[int, object]:
    alarms = []
    monitor = summand.Monitor(reference, model, on_alarm=alarms.append, permutations=99)
    for batch in stream:  # pixels, arrays, PIL images or paths, as they come
        monitor.update(batch)
        monitor.report()
    return len(alarms), monitor.report()


def segment_and_score_masks_of_my_own(model, images: list[Path], masks: list[Path], classes: list[str]) -> pd.DataFrame:
    return summand.segment(model, (images, masks, classes), methods="decomposition").rows


def debias_groups_of_my_own_and_use_the_result(model, images, shapes, places):
    texts = ["the sea", "a meadow", "a city at night"]
    repaired = summand.debias(model, (images, shapes, places), attribute=texts, allow_empty=True)
    pixels = repaired.model.preprocess(images[0])[None]
    return repaired.rows, repaired.model.encode_image(pixels)


def main(work: Path) -> None:
    """All ten, on scenes that are drawn first."""
    scenes = summand.scenes.sample(60, seed=4)
    summand.scenes.write_folder(scenes, work / "scenes")
    photos, truth = work / "scenes" / "images", scenes.attributes
    files = sorted(photos.iterdir())
    model = summand.load("scenes-vit")
    torch.save(model.clip.state_dict(), work / "finetuned.pt")
    words = ["a red object", "a blue object", "a star", "a ring", "the sea", "a meadow", "one object", "six objects"]
    print(maps_of_three_texts_over_a_folder(model, photos, work / "maps"))
    print(the_same_with_a_fine_tuned_checkpoint(work / "finetuned.pt", photos, work / "maps-finetuned"))
    print(all_heads_in_words_of_my_own(model, photos, words).head())
    print(ablate_two_heads_and_classify(model, "scenes:count=60,seed=4").head())
    print(top_images_of_a_neuron(model, photos)[0].head())
    print(survey_a_folder_and_label_it(model, photos, work / "survey").head())
    print(open_a_survey_elsewhere_and_query_it(work / "survey").head())
    drifted = summand.scenes.parse_source("scenes:count=64,seed=2,shift=place/sea/1.0").sample().images
    print(drift_of_a_stream(model, "scenes:count=60,seed=1", [drifted[i : i + 32] for i in (0, 32)]))
    masks = [work / "scenes" / "masks" / file.name for file in files]
    print(segment_and_score_masks_of_my_own(model, files, masks, ["background", "a shape"]))
    tied = summand.scenes.parse_source("scenes:count=120,seed=8").sample()
    shape, place = tied.attributes["shape"].tolist(), tied.attributes["place"].tolist()
    images = [Image.fromarray(image) for image in tied.images]
    print(debias_groups_of_my_own_and_use_the_result(summand.load("scenes-vit-tied"), images, shape, place)[0])
    assert len(truth) == len(files)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("ten-tasks"))
