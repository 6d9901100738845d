from __future__ import annotations

import pytest
import torch

from summand.errors import SummandError
from summand.scenes import ATTRIBUTES, captions, draw_causes, prompts, vocabulary
from summand.scenes.tokenizer import CONTEXT_LENGTH, SceneTokenizer

WORD_AT = dict(enumerate(vocabulary(), start=1))


def words(row: torch.Tensor, tokenizer: SceneTokenizer) -> str:
    ids = row[row > 0].tolist()
    assert ids[0] == tokenizer.start
    assert ids[-1] == tokenizer.end
    assert len(ids) < CONTEXT_LENGTH
    return " ".join(WORD_AT[i] for i in ids[1:-1])


def test_every_caption_and_prompt_tokenizes_and_comes_back():
    tokenizer = SceneTokenizer()
    texts = [text for groups in (1, 2) for text in captions(draw_causes(300, 2, groups), 1, 2).texts]
    texts += [text for attribute in ATTRIBUTES for group in prompts(attribute).values() for text in group]
    tokens = tokenizer(texts)
    assert tokens.shape == (len(texts), CONTEXT_LENGTH)
    assert tokens.dtype == torch.long
    assert [words(row, tokenizer) for row in tokens] == texts


def test_the_end_has_the_largest_id_which_is_where_the_text_tower_is_read():
    tokenizer = SceneTokenizer()
    tokens = tokenizer(["a star", "two red stars in the snow"])
    assert tokens.argmax(dim=1).tolist() == [3, 7]
    assert tokens.max() == tokenizer.end == tokenizer.vocab_size - 1


def test_case_and_punctuation():
    tokenizer = SceneTokenizer()
    assert torch.equal(tokenizer("A red star, in the Snow."), tokenizer("a red star in the snow"))
    assert not torch.equal(tokenizer("the letter A"), tokenizer("the letter a"))
    assert not torch.equal(tokenizer("A"), tokenizer("a"))


def test_an_unknown_word_is_named_with_near_ones():
    with pytest.raises(SummandError, match=r"no word 'triangel', did you mean 'triangle'.*'a red triangel'"):
        SceneTokenizer()(["a star", "a red triangel"])


def test_a_text_that_is_too_long_is_an_error():
    tokenizer = SceneTokenizer()
    assert tokenizer(" ".join(["star"] * (CONTEXT_LENGTH - 2))).shape == (1, CONTEXT_LENGTH)
    with pytest.raises(SummandError, match="31 words is longer than the 30"):
        tokenizer(" ".join(["star"] * (CONTEXT_LENGTH - 1)))
