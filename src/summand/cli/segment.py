"""`summand segment`: how well maps of texts cover what they name."""

from __future__ import annotations

from ..studies.segmentation.options import SegmentOptions
from .adapter import command
from .options import ModelOptions


@command
def segment(data: str, *, options: SegmentOptions, model: ModelOptions):
    """Segment a data set by maps of its class names, and score every method under one stated protocol.

    Examples:

    - summand segment scenes:groups=2,count=200 --methods all --out segments
    - summand segment scenes:groups=2,count=100 --methods decomposition,chefer,random --perturbation
    - summand segment gtsegs_ijcv.mat --protocol paper --model ViT-B-32 --pretrained openai --reference photos/
    - summand segment context59:VOCdevkit/VOC2010 --fit windows --methods pairs --model RN50x16 --pretrained openai

    Parameters
    ----------
    data
        scenes, gtsegs_ijcv.mat, a path behind its format (voc2012, context59, ade20k, coco-panoptic, coco-stuff), or a
        folder with images/, masks/ and classes.txt.
    """
    from .. import segment as verb
    from ..studies.segmentation.run import opened

    source = opened(data, options)
    return verb(model.load(source), source, options=options)
