"""What the models see: freshly rendered scenes with captions and targets, a function of the place in the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..attributes import ATTRIBUTES, SCENE_ATTRIBUTES, Causes, Tie, draw_causes
from ..captions import captions
from ..pretrained import ScenePreprocess
from ..render import Chance, Scenes, render
from ..tokenizer import SceneTokenizer

TWO_GROUP_SHARE = 0.25
CAPTIONS_PER_SCENE = 2
PATCH_TASK = ("shape", "colour", "texture", "count", "size")


def mixed_causes(count: int, seed: int, ties: Sequence[Tie] = ()) -> Causes:
    """Causes of scenes with one group of objects and, in about a quarter, with two. ties: of the first group."""
    two = int(count * TWO_GROUP_SHARE)
    singles, doubles = draw_causes(count - two, seed, 1, ties), draw_causes(two, seed, 2, ties)
    return Causes(
        np.concatenate([singles.groups, doubles.groups]),
        np.concatenate([singles.place, doubles.place]),
        np.concatenate([singles.letter, doubles.letter]),
    )


class Batches(torch.utils.data.IterableDataset):
    """The batch at a position of a run is a function of (seed, images seen before it) alone, so that a resumed run
    sees what it would have seen."""

    def __init__(
        self, first: int, stride: int, size: int, seed: int, input_size: int, ties: Sequence[Tie] = ()
    ) -> None:
        self.first, self.stride, self.size, self.seed, self.ties = first, stride, size, seed, ties
        self.preprocess, self.tokenizer = ScenePreprocess(input_size), SceneTokenizer()

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        turn, turns = (worker.id, worker.num_workers) if worker else (0, 1)
        position = self.first + turn * self.stride
        while True:
            yield self.batch(position)
            position += turns * self.stride

    def batch(self, position: int) -> dict[str, Tensor]:
        seed = self.seed * 100_000_000 + position
        scenes = render(mixed_causes(self.size, seed, self.ties), Chance.draw(self.size, seed))
        said = captions(scenes.causes, seed, CAPTIONS_PER_SCENE)
        return {
            "images": self.preprocess(scenes.images),
            "tokens": self.tokenizer(said.texts),
            "match": torch.from_numpy(said.matches(scenes.causes)).float(),
            **{f"target/{name}": _targets(scenes.causes, name) for name in ATTRIBUTES},
            **{f"patch/{name}": _patch_labels(scenes, name) for name in PATCH_TASK},
        }


def _targets(causes: Causes, attribute: str) -> Tensor:
    """Probability of each value of an attribute in each scene, [scene, value]: half each where two groups differ."""
    first = F.one_hot(torch.from_numpy(causes.codes(attribute)), len(ATTRIBUTES[attribute])).float()
    if attribute in SCENE_ATTRIBUTES:
        return first
    codes = torch.from_numpy(causes.codes(attribute, group=1))
    second = F.one_hot(codes.clamp(min=0), first.shape[1]).float()
    return torch.where((codes >= 0)[:, None], (first + second) / 2, first)


def _patch_labels(scenes: Scenes, attribute: str, cells: int = 8) -> Tensor:
    """For every patch 0 where no object covers a fifth of it, else 1 + the value of the object, [scene, cells²]."""
    size = scenes.images.shape[1] // cells
    cover = scenes.group_masks.reshape(len(scenes), 2, cells, size, cells, size).mean(axis=(3, 5))
    codes = np.stack([scenes.causes.codes(attribute, group) for group in (0, 1)], axis=1)
    owner = cover.argmax(axis=1).reshape(len(scenes), -1)
    value = np.take_along_axis(codes, owner, axis=1)
    return torch.from_numpy(np.where(cover.max(axis=1).reshape(len(scenes), -1) >= 0.2, value + 1, 0))
