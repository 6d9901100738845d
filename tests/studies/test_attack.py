from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import summand
from summand.border import foreign
from summand.data import open_source
from summand.scenes import describe, parse
from summand.studies.attack.endpoint import EndpointWriter
from summand.studies.attack.generators import DiffusersGenerator, SceneGenerator
from summand.studies.attack.indirect_effects import indirect_directions
from summand.studies.attack.loop import mislead
from summand.studies.attack.mining import (
    METHODS,
    Words,
    class_embedding,
    indirect_words,
    random_words,
    second_order_words,
    similar_words,
)
from summand.studies.attack.options import METHODS as ASKED
from summand.studies.attack.run import _writer
from summand.studies.attack.synonyms import by_sentences, by_stem, by_wordnet, scene_words, usual
from summand.studies.attack.writers import (
    SceneWriter,
    TemplateWriter,
    TransformersWriter,
    instruction,
    keep,
    lines_of,
)
from summand.studies.verb import Unfinished
from summand.survey import Group
from summand.survey.profile import profile
from summand.text.pools import pool
from summand.text.sparse import prepare_atoms, sparse_code
from tests import tiny
from tests.border import open_clip
from tests.commands import command
from tests.studies.results import again, assert_page, assert_whole, close, same

pytestmark = pytest.mark.slow

WORDS = Words(
    "similar words", ("six objects", "a ring", "a scene in the snow", "an object in the middle"), (4, 3, 2, 1)
)


@pytest.fixture(scope="module")
def made(vit):
    return profile(vit, open_source("scenes:count=60,seed=51"), [Group("neurons", 4)])


def test_second_order_words_are_equation_6(vit, made):
    texts, chosen = vit.encode_text(pool("scenes").texts), pool("scenes")
    v = class_embedding(vit, "cross") - class_embedding(vit, "star")
    found = second_order_words(made, v, chosen, texts, scene_words("cross"), neurons=12, size=5, words=10)
    along = [(float(r.float() @ v), r.float()) for r in made.directions]
    best = sorted(along, key=lambda item: -abs(item[0]))[:12]
    scores = dict.fromkeys(chosen.texts, 0.0)
    for amount, r in best:
        code = sparse_code(r[None], texts, 5)
        for i, gamma in zip(code.indices[0].tolist(), code.coefficients[0].tolist(), strict=True):
            scores[chosen.texts[i]] += gamma * amount
    kept = sorted((t for t in scores if scores[t] > 0 and "cross" not in t), key=lambda t: -scores[t])[:10]
    assert list(found.words) == kept
    assert found.scores == pytest.approx([scores[t] for t in kept], rel=1e-3)
    assert len(found.units) == 12
    first, again = (random_words(made, v, chosen, texts, scene_words("cross"), neurons=12, seed=3) for _ in range(2))
    assert first == again
    assert set(first.units) != set(found.units)
    near = similar_words(v, chosen, texts, scene_words("cross"), words=1)
    cosines = {t: float(a @ v) for t, a in zip(chosen.texts, prepare_atoms(texts), strict=True) if "cross" not in t}
    assert near.words == (max(cosines, key=cosines.__getitem__),)


def test_indirect_effects_are_measured_by_taking_a_neuron_away(vit):
    """Against the model itself, run with a neuron held at its mean by an ordinary hook."""
    source = open_source("scenes:count=12,seed=52")
    found, names = indirect_directions(vit, source, [Group("neurons", 4), Group("neurons", 3)], neurons=4, images=10)
    assert found.shape == (4, 128)
    pixels = vit.preprocess(foreign(source).array(0, 10))
    hidden = {}
    for layer in (3, 4):
        block = vit.clip.visual.transformer.resblocks[layer].mlp
        handle = block.c_proj.register_forward_pre_hook(lambda _, x, layer=layer: hidden.update({layer: x[0].clone()}))
        whole = vit.encode_image(pixels)
        handle.remove()
        strength = hidden[layer].var(dim=0).sum(dim=0) * block.c_proj.weight.square().sum(dim=0)
        for neuron in strength.topk(2).indices.tolist():

            def held(_, x, layer=layer, neuron=neuron):
                x[0][..., neuron] = hidden[layer][..., neuron].mean(dim=0)

            handle = block.c_proj.register_forward_pre_hook(held)
            effect = whole - vit.encode_image(pixels)
            handle.remove()
            effect = effect - effect.mean(dim=0)
            first = torch.pca_lowrank(effect.double(), q=3, center=False, niter=8)[2][:, 0]
            assert abs(float(first @ found[names.index(f"{layer}:{neuron}")])) > 0.99
    texts, chosen = vit.encode_text(pool("scenes").texts), pool("scenes")
    v = class_embedding(vit, "cross") - class_embedding(vit, "star")
    words = indirect_words(found, names, v, chosen, texts, scene_words("cross"), neurons=3, words=5)
    assert words.method == "indirect effects"
    along = (found.float() @ v).abs()
    assert set(words.units) == {names[int(i)] for i in along.topk(3).indices}
    with pytest.raises(summand.SummandError, match="not of an attention pool"):
        indirect_directions(vit, source, [Group("pairs")])
    with pytest.raises(summand.SummandError, match="at least a neuron of each of the 1 layers and 8 images; got 0 and"):
        indirect_directions(vit, source, [Group("neurons", 4)], neurons=0)
    with pytest.raises(summand.SummandError, match="fewer than 8 images could be read"):
        indirect_directions(vit, open_source("scenes:count=3"), [Group("neurons", 4)])


def test_synonyms(monkeypatch):
    assert scene_words("cross")(["two crosses", "a star", "a photo of a cross"]) == [True, False, True]
    assert by_stem("automobile", ["car"])(["automobiles", "a red car", "road"]) == [True, True, False]

    class Encoder:
        def encode(self, texts, normalize_embeddings):
            return np.array([{"deer": [1, 0], "stag": [0.8, 0.6], "tree": [0, 1]}[text] for text in texts], float)

    assert by_sentences("deer", Encoder())(["stag", "tree", "deer"]) == [True, False, True]
    drop, name = usual("cross", True, ["six"])
    assert drop(["six things", "crosses", "a ring"]) == [True, True, False]
    assert "scenes" in name


def test_short_names_of_wordnet_are_whole_words(monkeypatch):
    class Synset:
        def lemma_names(self):
            return ["car", "auto", "automobile", "motorcar"]

    corpus = SimpleNamespace(wordnet=SimpleNamespace(synsets=lambda name: [Synset()]))
    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace(corpus=corpus))
    monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)
    texts = ["car", "cars", "a red car", "autos", "motorcars", "carpet", "automatic", "a road"]
    assert by_wordnet("automobile")(texts) == [True, True, True, True, True, False, False, False]


def test_scene_sentences_can_be_drawn_and_show_the_class():
    for seed in range(3):
        for text in SceneWriter().write(WORDS, "star", "cross", seed):
            said = parse(text)
            assert said[0]["shape"] == "star"
            assert all(group.get("shape") in ("star", "ring") for group in said)
    drawn = describe(SceneWriter().write(WORDS, "star", "cross", 0)[0], count=2)
    assert (drawn.attributes["shape"] == "star").all()
    assert SceneWriter().write(WORDS, "star", "cross", 1) == SceneWriter().write(WORDS, "star", "cross", 1)


def test_descriptions_are_filtered():
    found = keep(["a horse", "Horses and an automobile", "a road", "two horses"], "horse", "automobile", 5, seed=0)
    assert sorted(found) == ["a horse", "two horses"]
    lines = ["a horse", "a horse with butterflies", "a horse and a car", "a horse box"]
    assert sorted(keep(lines, "horse", "butterfly", 5, 0, by_stem("car"))) == ["a horse", "a horse box"]
    with pytest.raises(summand.SummandError, match="none of 1 descriptions"):
        keep(["a road"], "horse", "automobile", 5, 0)
    assert lines_of('1. "A horse"\n- a cat\n\n2) x') == ["A horse", "a cat", "x"]
    assert "star" in TemplateWriter().write(WORDS, "star", "cross", 0)[0]
    asked = instruction(WORDS, "horse", "automobile")
    assert "six objects" in asked
    assert "'automobile'" in asked


def test_the_loop_counts_what_the_classifier_says(vit, made):
    v = class_embedding(vit, "cross") - class_embedding(vit, "star")
    run = [
        mislead(
            vit, WORDS, v, "star", "cross", SceneWriter(), SceneGenerator(), prompts=3, per_prompt=2, repeats=2, seed=4
        )
        for _ in range(2)
    ]
    assert run[0].rates == run[1].rates
    assert len(run[0].pictures) == 2 * sum(len(some) for some in run[0].prompts)
    assert len(run[0].rates) == 2
    assert np.mean([p.fooled for p in run[0].pictures]) == pytest.approx(run[0].mean)
    picture = run[0].pictures[-1]
    embedding = vit.encode_image(vit.preprocess(np.array(picture.image)[None]))[0]
    assert picture.score == pytest.approx(float(embedding @ v / embedding.norm()), abs=1e-5)
    # Pictures of the target itself are called the target.
    own = mislead(vit, WORDS, -v, "cross", "star", SceneWriter(), Crosses(), prompts=2, per_prompt=3, repeats=1)
    assert own.mean > 0.5


class Crosses:
    def draw(self, prompt, count, seed):
        return SceneGenerator().draw("a star in the snow", count, seed)


def test_an_endpoint_is_asked_as_openai_is():
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            body = (
                b"{}"
                if len(seen) > 1
                else json.dumps({"choices": [{"message": {"content": "1. a star in the snow\n2. two stars"}}]}).encode()
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        writer = EndpointWriter(f"http://127.0.0.1:{server.server_port}/v1", "tiny")
        assert writer.write(WORDS, "star", "cross", 0) == ["a star in the snow", "two stars"]
        assert seen[0][0] == "/v1/chat/completions"
        assert seen[0][1]["model"] == "tiny"
        assert "six objects" in seen[0][1]["messages"][0]["content"]
        with pytest.raises(summand.SummandError, match="did not answer"):
            writer.write(WORDS, "star", "cross", 0)
    finally:
        server.shutdown()
    with pytest.raises(summand.SummandError, match="cannot be reached"):
        EndpointWriter("http://127.0.0.1:1/v1", "tiny", timeout=2).write(WORDS, "star", "cross", 0)
    with pytest.raises(summand.SummandError, match="http"):
        EndpointWriter("ftp://x", "tiny").write(WORDS, "star", "cross", 0)


def test_a_language_model_of_transformers():
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = sorted(set(instruction(WORDS, "star", "cross").split()))
    vocabulary = {"<unk>": 0, "<end>": 1, **{word: i + 2 for i, word in enumerate(words)}}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>", eos_token="<end>")
    config = transformers.GPT2Config(
        vocab_size=len(vocabulary), n_positions=256, n_embd=16, n_layer=1, n_head=2, eos_token_id=1, bos_token_id=1
    )
    torch.manual_seed(0)
    pipeline = transformers.pipeline(
        "text-generation", model=transformers.GPT2LMHeadModel(config).eval(), tokenizer=tokenizer
    )
    writer = TransformersWriter(pipeline, max_new_tokens=12)
    found = writer.write(WORDS, "star", "cross", seed=3)
    assert found == writer.write(WORDS, "star", "cross", seed=3)
    assert found
    assert set(" ".join(found).split()) <= set(words)


def test_a_pipeline_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, attention_head_dim=4,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=40, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=16, eos_token_id=1, bos_token_id=2, pad_token_id=0,
        )
    )  # fmt: skip
    words = {"<pad>": 0, "<end>": 1, "<start>": 2, "star": 3, "ring": 4}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<pad>", pad_token="<pad>", eos_token="<end>", model_max_length=16
    )
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=10, clip_sample=False, steps_offset=1)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    generator = DiffusersGenerator(pipeline, (("num_inference_steps", 2),))
    first, again = generator.draw("star", 2, seed=5), generator.draw("star", 2, seed=5)
    other = generator.draw("star", 2, seed=9)
    assert [image.mode for image in first] == ["RGB", "RGB"]
    assert np.array_equal(np.array(first[0]), np.array(again[0]))
    assert not np.array_equal(np.array(first[0]), np.array(other[0]))


def test_missing_models_are_named(tmp_path):
    pytest.importorskip("diffusers")
    with pytest.raises(summand.SummandError, match="cannot be loaded"):
        DiffusersGenerator.load(str(tmp_path))
    with pytest.raises(summand.SummandError, match="cannot be loaded"):
        TransformersWriter.load(str(tmp_path))


SOME = ("star", "cross", "--reference", "scenes:count=24", "--layers", "4")


@pytest.fixture
def here(tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_line(here, monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small-ViT", tiny.config())

    def run(*arguments: str):
        return command("attack", *arguments)

    few = ("--indirect", "12", "--prompts", "2", "--pictures", "2", "--repeats", "2")
    result = run(*SOME, *few, "--json", "--out", "attack").json
    assert [row["method"] for row in result["rows"]] == [
        "second-order", "random neurons", "indirect effects", "similar words",
    ]  # fmt: skip
    assert all(len(row["rates"]) == 2 and row["pictures"] == 8 for row in result["rows"])
    assert not any("cross" in word for row in result["rows"] for word in row["words"])
    assert Image.open(here / "attack" / "figure.png").size[0] > 200
    found = run(*SOME, "--repeats", "0", "--out", "w")
    assert found.code == 0
    assert "star" in (here / "w" / "prompts.txt").read_text()
    assert not (here / "w" / "figure.png").exists()
    for line in (here / "w" / "prompts.txt").read_text().splitlines():
        assert line in " ".join(found.out.split())
    assert run("star", "star").code == 2
    assert run("star", "horse", "--reference", "scenes:count=24").code == 2
    found = run(*SOME[:2], "--reference", "scenes:count=10", "--indirect", "2")
    assert found.code == 2
    assert "--indirect 2: a neuron of each of the 3 layers" in " ".join(found.error.split())  # not that 10 are too few
    found = run("dog", "deer", "--model", "small-ViT", "--random-init")
    assert found.code == 2
    assert "--reference IMAGES is missing" in found.error
    found = run(*SOME, "--methods", "second-order,randon")
    assert (found.code, "did you mean 'random'" in found.error) == (2, True)
    found = run("dog", "deer", "--reference", "scenes:count=24", "--model", "small-ViT", "--random-init")
    assert (found.code, "as --generator NAME, or --repeats 0 for the words" in found.error) == (2, True), found.error


def test_python_says_what_the_command_says(vit, here):
    options = {"layers": "4", "methods": "second-order,similar", "prompts": 2, "pictures": 2, "repeats": 1, "seed": 3}
    shell = [text for name, value in options.items() for text in (f"--{name}", value)]
    record = command("attack", *SOME[:4], *shell, "--json").json
    result = summand.attack(vit, "star", "cross", "scenes:count=24", **options)
    same(record, result)
    assert result.rows["method"].tolist() == ["second-order", "similar words"]
    assert close(again("attack", record, here), record)
    assert_whole(result)
    assert_page(result)
    written = result.save(here / "all")
    table = pd.read_csv(written["pictures"])
    best = max(result.attacks[0].pictures, key=lambda picture: picture.score)
    row = table[table["method"] == "second-order"].iloc[0]
    assert (row["score"], row["prompt"], row["fooled"]) == (pytest.approx(best.score), best.prompt, best.fooled)
    assert np.array_equal(np.array(Image.open(here / "all" / row["path"])), np.array(best.image))
    assert len(table) == 8
    assert json.loads((here / "all" / "words.json").read_text())["words"] == list(result.words.words)
    assert set(ASKED.values()) == set(METHODS)


def test_a_failure_of_a_language_model_leaves_the_words(vit, here):
    whole = summand.attack(vit, "star", "cross", "scenes:count=24", layers=4, repeats=0)
    with pytest.raises(Unfinished, match="cannot be reached") as stopped:
        summand.attack(vit, "star", "cross", "scenes:count=24", layers=4, llm="http://127.0.0.1:1/v1#tiny")
    assert stopped.value.result.words == whole.words
    assert_whole(whole)
    assert_whole(stopped.value.result)
    writer = _writer("http://127.0.0.1:1/v1#tiny", True, vit)
    writer = foreign(writer)
    assert (writer.url, writer.model) == ("http://127.0.0.1:1/v1", "tiny")
    assert foreign(_writer("https://x/v1", True, vit)).model == "default"
