"""A match is an exact matrix: its sum with the named rest is the model's own cosine, whatever is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import summand
from summand.maps.token_terms import aligned
from summand.report.match import coloured, strongest_words
from summand.towers.pieces import END, PAD, START, Piece
from tests.commands import command
from tests.studies.results import assert_page, assert_whole, same
from tests.tiny import clip

pytestmark = pytest.mark.slow

TEXT = "two red stars and a blue ring in the snow"


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [Image.fromarray(image) for image in summand.scenes.sample(3, seed=3, groups=2).images]


def cosine(model, one, other) -> float:
    units = [
        model.encode_text(each)[0]
        if isinstance(each, str)
        else torch.nn.functional.normalize(model.encode_image(model.preprocess(each)[None]), dim=1)[0]
        for each in (one, other)
    ]
    return float(units[0].double() @ units[1].double())


def total(found) -> float:
    """Every token with every token, and every other pair of terms."""
    account = {(a, b): value for a, row in found.account.items() for b, value in row.items()}
    assert found.matrix.to_numpy().sum() == pytest.approx(account["tokens", "tokens"], abs=1e-9)
    assert found.found.heads.sum() == pytest.approx(account["tokens", "tokens"], abs=1e-6)
    return found.matrix.to_numpy().sum() + sum(account.values()) - account["tokens", "tokens"]


OPTIONS = (
    {},
    {"layers": "4-5", "text_heads": "2.1,0.3"},
    {"heads": "5.3", "text_layers": [1]},
    {"contrast": "a green star", "reference": True},
    {"contrast": [TEXT.replace("red", "green"), "a ring"], "layers": [3], "reference": True},
)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_matrix_and_rest_are_the_cosine(name, options, pictures, request):
    model = request.getfixturevalue(name)
    if name == "resnet":  # one layer of attention, and its own number of text layers
        options = {key: 0 if "layers" in key else "0.1" if "heads" in key else value for key, value in options.items()}
    more = {**options, "reference": pictures[1:]} if "reference" in options else options
    for a, b in ((pictures[0], TEXT), (TEXT, pictures[0])):
        found = summand.match(model, a, b, **more)
        assert total(found) == pytest.approx(cosine(model, a, b), abs=1e-5)
        assert found.similarity == pytest.approx(cosine(model, a, b), abs=1e-6)
        assert found.residual < 1e-5
    images = {key: value for key, value in more.items() if key in ("layers", "heads", "reference")}
    texts = {key: value for key, value in more.items() if key in ("text_layers", "text_heads", "contrast")}
    assert total(summand.match(model, pictures[0], pictures[1], **images)) == pytest.approx(
        cosine(model, *pictures[:2]), abs=1e-5
    )
    assert total(summand.match(model, TEXT, "a ring", **texts)) == pytest.approx(
        cosine(model, TEXT, "a ring"), abs=1e-5
    )


def test_a_cell_is_what_the_tokens_of_both_sides_say(vit, pictures):
    parts, said = vit.decompose(vit.preprocess(pictures[0])[None]), vit.decompose_text(TEXT)
    lengths = parts.total()[0].norm() * said.total()[0].norm()
    found = summand.match(vit, pictures[0], TEXT)
    torch.testing.assert_close(
        torch.from_numpy(found.found.matrix).float(),
        parts.toward(said.tokens()[0]).sum(dim=(1, 2))[0] / lengths,  # another way: along the words, then summed
        rtol=1e-4, atol=1e-7,
    )  # fmt: skip
    assert list(found.matrix.columns[:4]) == ["<start>", "two", "red", "stars"]
    one = summand.match(vit, pictures[0], TEXT, heads="5.3", text_heads="2.1")
    along = said.head_tokens_toward(torch.eye(vit.tower.embed), 2, 1)[0]  # [token, embed]
    torch.testing.assert_close(
        torch.from_numpy(one.found.matrix).float(),
        parts.head_tokens_toward(along, 5, 3)[0] / lengths,
        rtol=1e-3, atol=1e-8,
    )  # fmt: skip


def test_what_is_usual_is_a_mean(vit, pictures):
    def tokens(picture):
        parts = vit.decompose(vit.preprocess(picture)[None])
        return parts.tokens()[0] / parts.total()[0].norm()

    usual = (tokens(pictures[1]) + tokens(pictures[2])) / 2
    found = summand.match(vit, pictures[0], TEXT, pictures[1:])
    torch.testing.assert_close(found.found.a.terms.tokens.float(), tokens(pictures[0]) - usual, rtol=1e-4, atol=1e-7)
    means = [cosine(vit, picture, TEXT) for picture in pictures[1:]]
    assert found.unusual == pytest.approx(cosine(vit, pictures[0], TEXT) - np.mean(means), abs=1e-5)


def test_a_contrast_of_the_same_text_leaves_nothing(vit, pictures):
    found = summand.match(vit, pictures[0], TEXT, contrast=TEXT)
    assert np.abs(found.found.matrix).max() < 1e-7
    assert found.account["tokens"]["usual"] != 0
    assert found.unusual == pytest.approx(0, abs=1e-6)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3))
def test_words_take_the_places_of_words(own, other, padding, more):
    def pieces(words, pads):
        return [Piece(START), *[Piece(f"w{i}") for i in range(words)], Piece(END), *[Piece(PAD)] * pads]

    tokens = torch.arange(float(other + 2 + more))[:, None] + 1
    found = aligned(tokens, pieces(other, more), pieces(own, padding))
    assert float(found.sum()) == pytest.approx(float(tokens.sum()))
    if padding or not more:  # padding with no place of its own is spread over all
        assert float(found[0]) == pytest.approx(1)
        words = found[1 : own + 1, 0]
        expected = tokens[1 : other + 1, 0] if own == other else tokens[1 : other + 1, 0].sum() / own
        torch.testing.assert_close(words, torch.as_tensor(expected).expand(own).clone())


def test_words_fall_on_their_own_group(vit):
    scenes = summand.scenes.sample(20, seed=8, groups=2)
    right = []
    for i, image in enumerate(scenes.images):
        one, two = scenes.attributes.iloc[i], scenes.second.iloc[i]
        text = f"a {one.colour} {one['shape']} and a {two.colour} {two['shape']}"
        masks = scenes.group_masks[i].reshape(2, 8, 8, 8, 8).mean(axis=(2, 4))
        if (masks.sum(axis=(1, 2)) < 0.5).any():
            continue
        found = summand.match(vit, Image.fromarray(image), text).found
        for word, own in ((2, 0), (3, 0), (6, 1), (7, 1)):
            share = [float((found.row(word) * mask).sum() / mask.sum()) for mask in masks]
            right.append(share[own] > share[1 - own])
    assert len(right) > 50
    assert np.mean(right) > 0.8


def test_where_patches_lie(vit):
    picture = Image.fromarray(summand.scenes.sample(1, seed=3).images[0]).resize((128, 128))
    found = summand.match(vit, picture, picture)
    for row in found.rows.to_dict("records"):
        if row["a"] == "class":
            assert np.isnan(row["a_x"])
        else:
            down, across = map(int, row["a"].split(","))
            assert (row["a_x"], row["a_y"]) == pytest.approx((16 * across + 8, 16 * down + 8), abs=0.5)
    assert np.allclose(found.found.matrix, found.found.matrix.T)


@pytest.mark.parametrize(
    ("a", "b", "options", "said"),
    [
        ("none.png", "a ring", {}, "cannot read the image none.png"),
        ("a ring", "a star", {"layers": 3}, "two texts are matched"),
        ("a ring", "a star", {"reference": "scenes"}, "two texts are matched"),
        (0, 1, {"contrast": "a star"}, "two pictures are matched"),
        (0, "a ring", {"heads": "5.30"}, "heads 0.0 to 5.7"),
        (0, "a ring", {"text_layers": 7}, r"text tower has layers 0 to 2; got 7"),
        (0, "a ring", {"layers": "4-7"}, r"image tower has layers 0 to 5; got 6, 7"),
        (0, "a ring", {"count": 5}, "of the images of a reference, and none is given"),
        ("../", "a ring", {}, r"\.\./ is a folder"),
        (0, "a ring", {"heads": "5.3", "layers": 5}, "say the same twice"),
        (0, "a zeppelin", {}, "zeppelin"),
        (3.5, "a ring", {}, "expected a picture"),
    ],
)
def test_bad_input(a, b, options, said, vit, pictures):
    a, b = (pictures[each] if isinstance(each, int) else each for each in (a, b))
    with pytest.raises(summand.SummandError, match=said):
        summand.match(vit, a, b, **options)


def test_the_command_line(tmp_path, vit, pictures, monkeypatch, unchecked):
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    found = command("match", "0.png", TEXT, "--contrast", "a ring", "--json", "--out", "one").json
    own = summand.match(vit, "0.png", TEXT, contrast="a ring")
    same(found, own)
    assert json.loads((tmp_path / "one" / "result.json").read_text())["account"] == found["account"]
    with np.load(tmp_path / "one" / "match.npz") as kept:
        np.testing.assert_allclose(kept["matrix"], own.found.matrix, atol=1e-7)
        assert kept["heads"].shape == (48, 12)
    found = command("match", "0.png", "1.png")
    assert (found.code, "the strongest pairs of heads" in found.out) == (0, True)
    assert (tmp_path / "match.png").stat().st_size > 10_000
    for a, b in (("0.png", "1.png"), (TEXT, "a ring"), (TEXT, "0.png")):
        shown = summand.match(vit, a, b)
        assert_whole(shown)
        assert_page(shown)
    assert command("match", "none.png", TEXT).code == 2


def test_heads_are_named_by_a_labelled_survey(vit, pictures):
    survey = summand.survey(vit, "scenes:count=60,seed=2", units="heads", progress=False)
    survey.label(["a star", "a ring", "red", "blue", "a forest", "the sea"], draws=2)
    found = summand.match(vit, pictures[0], pictures[1], survey)
    table = survey.labels.set_index("unit")["label"]
    assert [row["a_label"] for row in found.head_pairs] == [table[row["a"]] for row in found.head_pairs]


@pytest.mark.parametrize(
    "changes",
    [
        {"vision": {"pool_type": "avg"}},
        {"vision": {"pool_type": "tok", "final_ln_after_pool": True, "ls_init_value": 0.5}},
        {"vision": {"attentional_pool": True}},
        {"text": {"pool_type": "last", "embed_cls": True}, "custom_text": True},
    ],
)
def test_other_towers(changes, pictures):
    from open_clip import SimpleTokenizer, image_transform

    model = summand.wrap(
        clip(**changes), preprocess=image_transform(32, is_train=False), tokenizer=SimpleTokenizer(context_length=16)
    )
    found = summand.match(model, pictures[0], "a dog in the snow", pictures[1:], contrast="a cat")
    assert found.residual < 1e-5
    assert total(found) == pytest.approx(cosine(model, pictures[0], "a dog in the snow"), abs=1e-5)
    assert len(found.found.a.names) == len(found.matrix)
    assert len(found.found.b.names) == len(found.matrix.columns)
    assert found.figure() is not None


def test_weak_words_are_pale_and_words_without_a_patch_leave_the_picture_grey(vit, pictures):
    found = summand.match(vit, pictures[0], TEXT).found
    image, text = found.a, found.b
    against = -1 - np.random.default_rng(0).random((found.words.shape[0], len(text.words)))
    (only,) = strongest_words(text, against)
    own = [i for i, (word, _) in enumerate(text.words) if not word.startswith("<")]
    assert only == max(own, key=lambda i: against[:, i].max())
    maps = np.zeros((2, 64, 64))
    maps[0, :8, :8], maps[1, 8:16, 8:16] = 1.0, 0.01
    grey = coloured(image, -maps)
    np.testing.assert_allclose(grey, grey[..., :1].repeat(3, axis=2))
    strong, weak = (np.abs(coloured(image, maps) - grey)[some, some].mean() for some in (slice(0, 8), slice(8, 16)))
    assert 0 < weak < 0.2 * strong
