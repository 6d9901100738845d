"""Text towers against explicit loops, and against the model's own text embeddings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import summand
from summand.effects.text_parts import TextParts
from summand.models.token_pieces import pieces, whole_words
from summand.towers.pieces import PAD
from summand.towers.text import text_tower_of
from tests import tiny
from tests.border import open_clip
from tests.oracles import literal_text, perturb

LENGTH, VOCABULARY, END = 9, 20, 19
SMALL = {"context_length": LENGTH, "vocab_size": VOCABULARY, "width": 24, "heads": 3, "layers": 3}
OPEN_CLIP: dict[str, dict[str, Any]] = {
    "clip": {},
    "layer scale": {"ls_init_value": 0.3},
    "tanh": {"act_kwargs": {"approximate": "tanh"}},
    "last token": {"pool_type": "last", "no_causal_mask": True, "proj_bias": True, "custom_text": True},
    "first token": {"pool_type": "first", "no_causal_mask": True, "custom_text": True},
    "end token": {"pool_type": "eos", "eos_id": END, "custom_text": True},
    "custom": {"custom_text": True, "norm_kwargs": {"eps": 1e-3}},
    "no projection": {"proj_type": "none", "width": 16, "heads": 2, "custom_text": True},
    "custom block": {"block_type": "custom", "custom_text": True},
}


def tokens(count: int = 4, seed: int = 0) -> torch.Tensor:
    """Texts of several lengths: start, words, end, zeros; the end token has the largest id."""
    ids = torch.zeros(count, LENGTH, dtype=torch.long)
    noise = torch.Generator().manual_seed(seed)
    for row in range(count):
        words = 2 + row % (LENGTH - 3)
        ids[row, 0] = END - 1
        ids[row, 1 : words + 1] = torch.randint(1, END - 1, (words,), generator=noise)
        ids[row, words + 1] = END
    return ids


def open_clip_model(custom_text: bool = False, **text: Any) -> Any:
    return tiny.clip(custom_text=custom_text, text={**SMALL, **text}).double()


def coca() -> Any:
    text = {**SMALL, "embed_cls": True, "output_tokens": True}
    vision = {**tiny.CONFIG["vision_cfg"], "attentional_pool": True, "output_tokens": True, "attn_pooler_heads": 2}
    decoder = {"context_length": LENGTH, "vocab_size": VOCABULARY, "width": 16, "heads": 2, "layers": 1}
    torch.manual_seed(0)
    return perturb(open_clip.CoCa(16, multimodal_cfg=decoder, text_cfg=text, vision_cfg=vision)).double().eval()


def hugging_face(kind: str) -> Any:
    transformers = pytest.importorskip("transformers")
    text = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 3, "intermediate_size": 40}
    text |= {"vocab_size": VOCABULARY, "max_position_embeddings": LENGTH, "eos_token_id": END}
    vision = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 20}
    vision |= {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    if kind == "siglip":
        config = transformers.SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=vision)
        return perturb(transformers.SiglipModel(config)).double().eval()
    if kind == "clip, old end token":
        text["eos_token_id"] = 2
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    return perturb(transformers.CLIPModel(config)).double().eval()


def decomposed(clip: Any, ids: torch.Tensor) -> TextParts:
    tower = text_tower_of(clip)
    return TextParts(tower, ids, tower.encode, [pieces(None, row) for row in ids.tolist()])


def truth_of_open_clip(text: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    layers = []
    for block in text.transformer.resblocks:
        weights, biases = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
        layer = dict(zip("qkv", zip(weights, biases, strict=True), strict=True))
        layer |= {name: getattr(block, name) for name in ("ln_1", "ln_2", "mlp", "ls_1", "ls_2")}
        layer |= {"out": (block.attn.out_proj.weight, block.attn.out_proj.bias), "heads": block.attn.num_heads}
        layers.append(layer)
    pool = getattr(text, "pool_type", None) or text.text_pool_type
    pooled = {"first": 0, "last": LENGTH - 1}.get(pool, ids.tolist().index(END))
    projection = text.text_projection
    shift = torch.zeros(16)
    if isinstance(projection, nn.Linear):
        projection, shift = projection.weight.T, projection.bias
    if projection is None:
        projection = torch.eye(16, dtype=torch.float64)
    mask = torch.zeros(LENGTH, LENGTH) if text.attn_mask is None else text.attn_mask
    start = text.token_embedding(ids) + text.positional_embedding
    return literal_text(start, layers, mask, pooled, text.ln_final, projection, shift)


def truth_of_hugging_face(clip: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    text = clip.text_model
    layers = []
    for block in text.encoder.layers:
        attention = block.self_attn
        layer: dict[str, Any] = {
            n: (getattr(attention, f"{n}_proj").weight, getattr(attention, f"{n}_proj").bias) for n in "qkv"
        }
        layer |= {"ln_1": block.layer_norm1, "ln_2": block.layer_norm2, "mlp": block.mlp, "heads": 3}
        layer |= {
            "ls_1": nn.Identity(),
            "ls_2": nn.Identity(),
            "out": (attention.out_proj.weight, attention.out_proj.bias),
        }
        layers.append(layer)
    siglip = hasattr(text, "head")
    mask = torch.zeros(LENGTH, LENGTH) if siglip else torch.full((LENGTH, LENGTH), -torch.inf).triu(1)
    pooled = LENGTH - 1 if siglip else ids.tolist().index(END)
    projection, shift = (
        (text.head.weight.T, text.head.bias) if siglip else (clip.text_projection.weight.T, torch.zeros(16))
    )
    start = text.embeddings.token_embedding(ids) + text.embeddings.position_embedding.weight
    return literal_text(start, layers, mask, pooled, text.final_layer_norm, projection, shift)


@torch.no_grad()
def compare(clip: Any, truth: Any) -> None:
    ids = tokens()
    parts = decomposed(clip, ids)
    everything = parts.toward(torch.eye(16, dtype=torch.float64))
    for i in range(len(ids)):
        expected = truth(ids[i])
        for found, name in ((everything[i], "tokens"), (parts.mlps()[i], "mlps"), (parts.bias()[i], "bias")):
            torch.testing.assert_close(found, expected[name], rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.embedding()[i], expected["embedding"], rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.heads()[i], expected["tokens"].sum(dim=2), rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.tokens()[i], expected["tokens"].sum(dim=(0, 1)), rtol=0, atol=1e-12)
    assert parts.residual() < 1e-12
    torch.testing.assert_close(parts.head_effects().vectors(), parts.heads(), rtol=0, atol=0)


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_open_clip_terms_equal_the_literal_formula(name):
    clip = open_clip_model(**OPEN_CLIP[name])
    compare(clip, lambda ids: truth_of_open_clip(getattr(clip, "text", clip), ids))


@pytest.mark.parametrize("kind", ["clip", "clip, old end token", "siglip"])
def test_hugging_face_terms_equal_the_literal_formula(kind):
    clip = hugging_face(kind)
    compare(clip, lambda ids: truth_of_hugging_face(clip, ids))


def test_coca_reads_its_class_token():
    clip = coca()
    ids = tokens()
    parts = decomposed(clip, ids)
    assert parts.residual() < 1e-12
    assert parts.words()[0][-1] == "<class>"
    assert parts.tokens().shape == (4, LENGTH + 1, 16)
    torch.testing.assert_close(parts.tokens().sum(dim=1), parts.heads().sum(dim=(1, 2)), rtol=0, atol=1e-12)
    with torch.no_grad():
        unit = clip.encode_text(ids)
    torch.testing.assert_close(nn.functional.normalize(parts.total(), dim=-1), unit, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["clip", "last token"])
def test_fp32(name):
    assert decomposed(open_clip_model(**OPEN_CLIP[name]).float(), tokens()).residual() < 1e-5


def test_what_the_end_token_cannot_see_contributes_nothing():
    ids = tokens()
    contributions = decomposed(open_clip_model(), ids).tokens()
    for row, written in zip(ids, contributions, strict=True):
        end = int(row.argmax())
        assert (written[end + 1 :] == 0).all()
        assert (written[: end + 1].abs().amax(dim=-1) > 0).all()


def test_a_text_alone_and_in_a_batch_are_the_same():
    clip, ids = open_clip_model(), tokens()
    torch.testing.assert_close(
        decomposed(clip, ids[2:3]).heads()[0], decomposed(clip, ids).heads()[2], rtol=0, atol=1e-12
    )


def test_the_weights_are_read_anew_after_training():
    clip, ids = open_clip_model(), tokens()
    before = decomposed(clip, ids).heads()
    with torch.no_grad():
        clip.text_projection.mul_(2.0)
    torch.testing.assert_close(decomposed(clip, ids).heads(), 2 * before, rtol=0, atol=1e-12)


def test_no_hook_is_left_behind():
    clip = open_clip_model()
    decomposed(clip, tokens()).heads()
    for module in clip.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.mark.parametrize("switch", ["qk_norm", "scale_heads", "scale_attn_inner", "scale_attn"])
def test_blocks_that_are_not_read_are_refused(switch):
    clip = open_clip_model(**{switch: True}, custom_text=True)
    with pytest.raises(summand.SummandError, match="not supported"):
        text_tower_of(clip)


def test_other_text_towers_are_refused():
    clip = open_clip_model(custom_text=True)
    clip.text = nn.Linear(2, 2)
    with pytest.raises(summand.SummandError, match=r"text tower Linear of CustomTextCLIP.*supported"):
        text_tower_of(clip)


# Through the model


def test_decompose_text_of_scenes_models():
    model = summand.load("scenes-vit", random_init=True)
    texts = ["a red star on the left", "two blue rings"]
    parts = model.decompose_text(texts)
    assert parts.residual() < 1e-5
    assert parts.words()[1][:6] == ["<start>", "two", "blue", "rings", "<end>", PAD]
    unit = nn.functional.normalize(parts.total(), dim=-1)
    torch.testing.assert_close(unit, model.encode_text(texts), rtol=0, atol=1e-5)
    assert parts.heads().shape == (2, 3, 4, 128)
    assert parts.toward(unit).shape == (2, 3, 4, 32, 2)


def test_words_of_byte_pairs():
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    row = pieces(tokenizer, tokenizer("an unphotographable café!")[0].tolist())
    assert row[0].text == "<start>"
    words = whole_words(row)
    assert [word for word, _ in words] == ["<start>", "an", "unphotographable", "café", "!", "<end>", PAD]
    assert sorted(i for _, where in words for i in where) == list(range(16))


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["<s>", "▁red", "▁sta", "rs", "</s>", "<pad>"], ["<start>", "red", "stars", "<end>", PAD]),
        (["<s>", "Ġred", "Ġsta", "rs", "</s>", "</s>"], ["<start>", "red", "stars", "<end>", PAD]),
        (["<s>", "red", "sta", "##rs", "</s>", "<pad>"], ["<start>", "red", "stars", "<end>", PAD]),
        (["<s>", "red</w>", "sta", "rs</w>", "</s>", "</s>"], ["<start>", "red", "stars", "<end>", PAD]),
    ],
)
def test_words_of_hugging_face_tokenizers(tokens, expected):
    class Inner:
        eos_token_id, sep_token_id, bos_token_id, cls_token_id, pad_token_id = 4, None, 0, None, 9

        def convert_ids_to_tokens(self, ids):
            return tokens

    class Outer:
        tokenizer = Inner()

        def __call__(self, texts):
            raise AssertionError

    ids = [4 if token == "</s>" else 9 if token == "<pad>" else i for i, token in enumerate(tokens)]
    words = [word for word, _ in whole_words(pieces(Outer(), ids))]
    assert words == expected
