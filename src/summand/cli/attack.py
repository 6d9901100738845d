"""`summand attack`: natural pictures that mislead a zero-shot classifier, from the words of its own neurons."""

from __future__ import annotations

from ..studies.attack.options import AttackOptions
from .adapter import command
from .options import OwnModelOptions


@command
def attack(
    image_of: str, classified_as: str, *, reference: str | None = None, options: AttackOptions, model: OwnModelOptions
):
    """Find the words that pull one class towards another through the model's neurons, and draw what they describe.

    Try it on your own models: which innocent words in a picture of a dog make your classifier say deer?

    Examples:

    - summand attack star cross
    - summand attack horse automobile --reference photos/ --model ViT-B-32 --pretrained openai --repeats 0
    - summand attack dog deer --reference run/ --llm http://localhost:8000/v1#llama-3-8b --generator
      stabilityai/sdxl-turbo --out attack

    Parameters
    ----------
    image_of
        What the pictures show.
    classified_as
        What the model should say instead.
    reference
        What the neurons' directions are learnt from: images, or the folder of a survey [default: scenes, for a model
        of scenes].
    """
    from .. import attack as verb
    from ..studies.attack.synonyms import check_classes
    from ..studies.given import images_of

    check_classes(image_of, classified_as)
    known = None if reference is None else images_of(reference, options.count)
    return verb(model.load(known), image_of, classified_as, known, options=options)
