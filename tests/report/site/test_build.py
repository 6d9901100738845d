from __future__ import annotations

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

import summand
from summand.data import open_source
from summand.effects.autoencoder import Autoencoder
from summand.report.site import build
from summand.report.site import pages as pages_of
from summand.survey import Group
from summand.survey.unit_words import directions_of
from summand.text.pools import pool
from tests.report.conftest import SCENES
from tests.tiny import clip


class Read(HTMLParser):
    """Links of a page, its pictures with their texts, and its data."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.pictures: list[str | None] = []
        self._script: str | None = None
        self.data: dict = {}
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [value for key, value in attrs if key in ("href", "src") and value]
        if tag == "img":
            self.pictures.append(given.get("alt"))
        self._script = given.get("type") if tag == "script" else None

    def handle_data(self, data):
        if self._script == "application/json" and data.strip():
            self.data = json.loads(data)

    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Scales [image, map], values [image, map, cell]."""
        scales = np.array(self.data["scales"])
        values = np.frombuffer(base64.b64decode(self.data["values"]), np.int8)
        return scales, values.reshape(*scales.shape, -1)


@pytest.fixture(scope="module")
def site(vit, in_words, tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "atlas"
    options = {"pool": pool("scenes"), "survey": in_words, "most": 24, "pictures": 6, "progress": False}
    return out, build(vit, open_source(SCENES), out, **options)


@pytest.mark.slow
def test_every_link_and_picture_is_there_and_local(site):
    out, made = site
    pages = list(out.rglob("*.html"))
    assert len(pages) == 1 + 48 + 24 + 6
    for page in pages:
        read = Read(page)
        for link in read.links:
            if link == "data:,":  # no icon
                continue
            assert not re.match(r"[a-z]+:", link), link  # works from file://, no address outside
            path, _, anchor = link.partition("#")
            assert not path or (page.parent / path).resolve().is_file(), (page, link)
            assert not anchor or anchor == "main" or path.endswith("index.html")
        assert None not in read.pictures  # every picture has a text, if an empty one
        for image in read.data.get("images", ()):
            assert (out / "thumbs" / image["f"]).is_file()
            assert image["p"] == (out / "images" / f"{image['i']:06d}.html").is_file()
    assert made.page == out / "index.html"
    assert made.residual < 1e-5
    assert made.pages == {"head": 48, "neuron": 24}
    assert [name for name in os.listdir(out) if name.startswith(".")] == [".summand-atlas"]


@pytest.mark.slow
def test_pages_say_what_was_measured(site):
    out, made = site
    front = (out / "index.html").read_text()
    for label in made.labels:
        page = (out / "heads" / f"{label.name}.html").read_text()
        assert all(text in page for text in label.texts)
        assert f"{100 * label.explained[-1]:.1f} %" in page
        first = made.words[label.name].first
        assert (first.text if first else label.texts[0]) in front
        assert page.count("data-map=") == 8 + 4
    assert "RANDOM" not in front
    assert "24 of 48" not in front
    assert made.notes == ("488 of neurons.4 have no page of their own (most=24)",)


@pytest.mark.slow
def test_images_and_maps_of_a_head_are_those_of_its_direction(vit, in_words, site):
    """Scores and maps against a decomposition of the very images: Σ_patch map + class token = ⟨φ(x), d⟩."""
    out, made = site
    entry = next(e for e in made.entries if e.kind == "head" and e.words.first and e.words.first.proven)
    end, (layer, head) = next(e for e in entry.words.ends if e.words), entry.unit.index
    direction = end.sign * directions_of(in_words, Group("heads"))[layer, head, end.thing]
    read = Read(out / entry.page)
    tab = read.data["tabs"][0]
    assert tab["title"] == end.text
    numbers = [read.data["images"][at]["i"] for at in tab["strong"]]
    source = open_source(SCENES)
    pixels = torch.stack([vit.preprocess(source.image(i)) for i in numbers])
    tokens = vit.decompose(pixels).head_tokens_toward(direction[None].float(), layer, head)[..., 0]
    scales, values = read.maps()
    at = tab["strong"]
    drawn = scales[at, 0, None] * values[at, 0] / 127
    np.testing.assert_allclose(drawn, tokens[:, 1:].numpy(), atol=0.01 * float(tokens.abs().max()))
    effect = tokens.double().sum(dim=1)
    moments = in_words.moments("heads")
    mean = (moments.mean_vectors()[layer, head].double() @ direction).item()
    deviation = float(moments.variance_along(direction[None])[layer, head, 0]) ** 0.5
    scores = [tab["scores"][str(i)] for i in at]
    np.testing.assert_allclose(scores, (effect - mean) / deviation, atol=0.02)
    assert scores == sorted(scores, reverse=True)


@pytest.mark.slow
def test_an_image_page_is_an_exact_sum(vit, site):
    out, _ = site
    page = sorted((out / "images").iterdir())[0]
    text = page.read_text()
    for section in text.split("What adds up to")[1:]:
        numbers = [float(n.replace("−", "-")) for n in re.findall(r'class="number">(?:<b>)?([+−]?[\d.]+)', section)][
            :14
        ]
        steps, score = numbers[:13], numbers[13]  # input, 6 × heads and MLP, the sum
        assert abs(sum(steps) - score) <= 13 * 0.0005 + 1e-9


@pytest.mark.slow
def test_the_index_holds_every_unit_in_the_order_of_its_evidence(site):
    out, made = site
    text = (out / "data" / "units-0.js").read_text(encoding="utf-8")
    rows = json.loads(text.removeprefix("summandAtlas.add(").removesuffix(");\n"))
    assert {row[0] for row in rows} == {entry.name for entry in made.entries}
    scores = [row[6] for row in rows if row[5] == "proven"]
    assert scores == sorted(scores, reverse=True)
    assert [row[5] for row in rows[: len(scores)]] == ["proven"] * len(scores)
    assert sorted(path.name for path in (out / "data").iterdir()) == ["units-0.js"]
    assert 'data-pieces="1"' in (out / "index.html").read_text()


@pytest.mark.slow
def test_random_weights_are_said_loudly(tmp_path):
    model = summand.load("scenes-vit", random_init=True)
    source, options = open_source("scenes:count=20"), {"pool": pool("scenes"), "units": "heads", "progress": False}
    made = build(model, source, tmp_path / "a", layers=1, **options)
    for page in (made.page, tmp_path / "a" / "heads" / "5.0.html"):
        assert "RANDOM" in page.read_text()


@pytest.mark.slow
def test_only_an_empty_folder_or_our_own_is_written_to(vit, tmp_path, site):
    few, more = open_source("scenes:count=24"), {"pool": pool("scenes"), "units": "heads", "progress": False}
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(summand.SummandError, match="not empty"):
        build(vit, few, tmp_path, **more)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(summand.SummandError, match="is a file"):
        build(vit, few, tmp_path / "mine.txt", **more)
    out = tmp_path / "site"
    first = build(vit, few, out, layers=2, **more)
    assert len(list(Path(out, "heads").iterdir())) == 16
    (out / "notes.txt").write_text("mine too")
    again = build(vit, open_source("scenes:count=20"), out, layers=1, no_images=True, **more)
    assert len(list(Path(out, "heads").iterdir())) == 8
    assert (first.images, again.images) == (24, 20)
    assert (out / "notes.txt").read_text() == "mine too"
    assert not (out / "thumbs").exists()
    assert not list(out.rglob("*.webp"))


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_a_build_that_is_interrupted_leaves_the_old_site_whole(vit, tmp_path, monkeypatch, error):
    options = {"pool": pool("scenes"), "units": "heads", "layers": 1, "pictures": 2, "progress": False}
    out = tmp_path / "site"
    build(vit, open_source("scenes:count=24"), out, **options)
    before = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def stop(*_, **__):
        raise error("in the middle")

    monkeypatch.setattr(pages_of, "front_page", stop)  # after all other pages were written
    with pytest.raises(summand.SummandError if error is OSError else error):
        build(vit, open_source("scenes:count=20"), out, **options)
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not list(out.glob(".building*"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """A folder of pictures whose names are hostile, foreign, or both."""
    folder, rng = tmp_path_factory.mktemp("odd"), np.random.default_rng(0)
    names = ['<script>alert("x")</script>'.replace("/", "∕"), "صورة", "图片 🦊", "a&b", "100%", '"quoted"', "#hash?"]
    for i in range(48):
        Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(
            folder / f"{names[i % len(names)]}{i}.png"
        )
    return folder


def tiny(**changes) -> summand.Model:
    """A small model of random weights that reads every word."""
    return summand.wrap(clip(**changes), preprocess=squashed, tokenizer=SimpleTokenizer(context_length=16))


def squashed(image: Image.Image) -> torch.Tensor:
    return torch.tensor(np.asarray(image.convert("RGB").resize((32, 32)))).permute(2, 0, 1).float() / 255


TEXTS = [
    "قطة صغيرة",
    "一只狐狸",
    "🦊🦊",
    "<script>alert(1)</script>",
    "a & b",
    "</script><b>",
    "a dog",
    "ü" * 8,
    "a cat",
    "rust",
]


@pytest.mark.slow
def test_texts_and_names_of_all_kinds_are_texts(odd, tmp_path):
    model = tiny()
    made = build(
        model, open_source(str(odd)), tmp_path / "a", pool=pool(TEXTS), units="heads", pictures=3, progress=False
    )
    for page in made.page.parent.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text
        assert "</script><b>" not in text
        read = Read(page)  # its data can still be read
        for image in read.data.get("images", ()):
            assert image["n"] in {path.name for path in odd.iterdir()}
            assert (made.page.parent / "thumbs" / image["f"]).is_file()
            assert re.fullmatch(r"\d{6}\.webp", image["f"])
    index = (made.page.parent / "data" / "units-0.js").read_text(encoding="utf-8")
    assert "<" not in index
    assert "狐狸" in index


@pytest.mark.slow
def test_pictures_that_were_removed_are_left_out_and_said(odd, tmp_path):
    import shutil

    folder = tmp_path / "pictures"
    shutil.copytree(odd, folder)
    model = tiny()
    run = summand.survey(model, str(folder), units="heads", out=tmp_path / "run", held_out=0.5, progress=False)
    run = summand.open(tmp_path / "run", model=model)
    gone = sorted(path.name for path in folder.iterdir())[:5]
    for name in gone:
        (folder / name).unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    made = summand.atlas(run, tmp_path / "a", model=model, pool=written(tmp_path), progress=False)
    assert "43 of 48 were found again" in " ".join(made.notes)
    assert {item["name"] for item in made.skipped} <= set(gone)
    assert made.skipped
    for page in (tmp_path / "a").rglob("*.html"):
        for image in Read(page).data.get("images", ()):
            assert image["n"] not in gone
    shutil.rmtree(folder)
    made = summand.atlas(run, tmp_path / "b", model=model, pool=written(tmp_path), progress=False)
    assert "no pictures" in " ".join(made.notes)
    assert len(list((tmp_path / "b" / "heads").iterdir())) == len(made.rows)
    assert not list((tmp_path / "b").rglob("*.webp"))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before  # nothing was changed


def written(folder: Path) -> str:
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    return str(folder / "texts.txt")


@pytest.mark.slow
def test_latents_have_pages_with_maps_of_where_they_are_active(tmp_path):
    draw = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (32, 6), "b_enc": (6,), "W_dec": (6, 32), "b_dec": (32,)}
    t = {name: 0.3 * torch.randn(*shape, generator=draw) for name, shape in shapes.items()}
    model = tiny().with_autoencoder(Autoencoder(0, t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], t["b_dec"], top_k=4))
    pictures = np.random.default_rng(1).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    run = summand.survey(model, pictures, units="latents:0", held_out=0.4, progress=False)
    made = summand.atlas(run, tmp_path / "a", model=model, pool=written(tmp_path), progress=False)
    assert made.pages == {"latent": 6}
    drawn = 0
    for page in (tmp_path / "a" / "latents").iterdir():
        read, latent = Read(page), int(page.stem.partition("-")[2])
        if not read.data.get("images"):
            continue
        numbers = [image["i"] for image in read.data["images"]]
        codes = model.reconstruction(model.preprocess(pictures[numbers]), 0).codes[:, 1:, latent]
        scales, values = read.maps()
        np.testing.assert_allclose(scales * values[:, 0] / 127, codes.numpy(), atol=0.01 * float(codes.max()) + 1e-6)
        drawn += len(numbers)
    assert drawn


def test_one_unit_and_no_held_out_images(tmp_path):
    """The smallest there is: one layer of one head, nothing kept aside, no top images."""
    model = tiny(vision={"layers": 1, "head_width": 16, "width": 16})
    pictures = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    run = summand.survey(model, pictures, units="heads", held_out=0, top=0, progress=False)
    made = summand.atlas(run, tmp_path / "a", model=model, pool=written(tmp_path), progress=False)
    assert made.pages == {"head": 1}
    text = (tmp_path / "a" / "heads" / "0.0.html").read_text()
    assert "There are no pictures here" in text
