"""Scenes: rendered 64 × 64 pictures whose causes are known.

A scene has one group of equal objects, or two, before a place, with or without a letter on a sign. Its causes (shape,
colour, texture, count, size, position of each group; place and letter of the whole) are drawn independently unless
asked otherwise, and with the picture come the masks, the attributes in words and sentences that are true of it.

>>> from summand import scenes
>>> found = scenes.sample(100, seed=7)
>>> found.images.shape, found.masks.shape
((100, 64, 64, 3), (100, 64, 64))
>>> list(found.attributes)
['shape', 'colour', 'texture', 'count', 'size', 'place', 'position', 'letter']
>>> before, after = scenes.counterfactuals(5, "place", seed=7)
>>> bool((before.masks == after.masks).all())
True
>>> scenes.describe("two red stars and a blue ring in the snow").second.loc[0, "shape"]
'ring'
>>> scenes.prompts("texture")["solid"][:2]
['a solid object', 'a photo of a solid shape']
"""

from .attributes import ATTRIBUTES, GROUP_ATTRIBUTES, Causes, Shift, Tie, draw_causes
from .captions import captions
from .describe import describe
from .files import contact_sheet, write_folder
from .meaning import attribute_of, parse, vocabulary
from .phrases import prompts
from .render import Chance, Scenes, counterfactuals, render, sample
from .source import SceneSource, parse_source

__all__ = [
    "ATTRIBUTES",
    "GROUP_ATTRIBUTES",
    "Causes",
    "Chance",
    "SceneSource",
    "Scenes",
    "Shift",
    "Tie",
    "attribute_of",
    "captions",
    "contact_sheet",
    "counterfactuals",
    "describe",
    "draw_causes",
    "parse",
    "parse_source",
    "prompts",
    "render",
    "sample",
    "vocabulary",
    "write_folder",
]
