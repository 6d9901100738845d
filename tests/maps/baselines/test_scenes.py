"""On two-group scenes the map of one group's colour lies on that group, for every method that knows the text."""

from __future__ import annotations

import pytest
import torch

import summand
from summand.maps.baselines import Capture, baseline_maps

KNOW_THE_TEXT = ("gradcam", "chefer", "transformer-attribution", "legrad", "grad-eclip", "clip-surgery", "clearclip")


@pytest.fixture(scope="module")
def case(vit):
    scenes = summand.scenes.sample(12, seed=12, groups=2)
    colours = list(summand.scenes.prompts("colour"))
    texts = vit.encode_text([f"a {colour} object" for colour in colours])
    named = [[colours.index(c) for c in table["colour"]] for table in (scenes.attributes, scenes.second)]
    return Capture(vit, vit.preprocess(scenes.images), graph_from=0), scenes, texts - texts.mean(dim=0), named


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOW_THE_TEXT)
def test_the_map_of_a_colour_lies_on_its_group(name, vit, case):
    shared, scenes, texts, named = case
    maps = baseline_maps(vit, vit.preprocess(scenes.images), texts, name, shared=shared)
    maps = torch.nn.functional.interpolate(maps, size=(64, 64), mode="bilinear").numpy()
    hits = []
    for image, masks in enumerate(scenes.group_masks):
        if named[0][image] == named[1][image]:
            continue
        for group in (0, 1):
            found = maps[image, named[group][image]]
            hits.append(found[masks[group]].mean() > found[masks[1 - group]].mean())
    assert len(hits) >= 16
    assert sum(hits) >= 0.7 * len(hits)  # GradCAM, the weakest, has 19 of 24
