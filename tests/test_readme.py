"""What README and every page of docs/ say to run, runs as it stands, with tiny random models in the place of large ones
and few scenes in the place of many."""

from __future__ import annotations

import re
import shlex

import pytest
from cyclopts import CycloptsError
from PIL import Image

from summand.cli.app import made
from tests.pages import PAGES, ROOT, draw, follow, lines, name_of, of_open_clip, sets_up, steps

pytestmark = pytest.mark.usefixtures("unchecked")
README = ROOT / "README.md"
MADE_OF_THE_CODE = {"docs/cli.md", "docs/models.md", "docs/claims.md"}
QUICK = {"README.md", "docs/index.md", "docs/troubleshooting.md", "docs/start/install.md", "docs/other-tools.md"}
RUN = [
    pytest.param(page, id=name_of(page), marks=[] if name_of(page) in QUICK else [pytest.mark.slow])
    for page in PAGES
    if steps(page) and name_of(page) not in MADE_OF_THE_CODE
]


def created(name, *_, **__):
    """As open_clip's function of this name: a model in training mode, and preprocessing to train and to ask."""
    made, preprocess, _ = of_open_clip(name)
    return made.train(), preprocess, preprocess


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with what pages take as given, and small models under the names of large ones."""
    import open_clip

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("summand.models.load.load_open_clip", of_open_clip)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", created)
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name, *_, **__: of_open_clip(name)[2])
    draw(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_a_page_can_be_followed(page, here):
    names = follow(page)
    if page == README:
        assert Image.open(here / "star.png").size[0] > 200
        parts, model, x = names["parts"], names["model"], names["x"]
        assert float((parts.total() - model.encode_image(x)).abs().max()) < 1e-4


def test_readme_has_python_and_commands_and_is_short():
    given = [shlex.split(line, comments=True) for one in steps(README) if one.kind == "sh" for line in lines(one.code)]
    others = [" ".join(words) for words in given if words[0] != "summand"]
    assert others == ["pip install summand-clip", "make atlas", "make test"]
    assert sum(words[0] == "summand" for words in given) >= 8
    assert sum(one.code.count("\n") for one in steps(README) if one.kind == "python") > 10
    assert len(README.read_text().splitlines()) < 150


def test_what_is_no_command_of_ours_must_be_there():
    assert sets_up(["make", "test"])
    assert sets_up(["pip", "install", "summand-clip[hf,data]"])
    assert not sets_up(["make", "nothing"])
    assert not sets_up(["pip", "install", "summand"])
    assert not sets_up(["pip", "install", "summand-clip[nothing]"])
    assert not sets_up(["rm", "-r", "photos"])


def test_every_block_of_a_page_is_run_or_is_output():
    """`text`, `py` (included scripts), `json` and the like are shown; Python and sh are run; every block has a kind."""
    for page in PAGES:
        kinds = re.findall(r"^ *```(\w*)[^\n`]*\n.*?^ *```$", page.read_text(), re.MULTILINE | re.DOTALL)
        assert set(kinds) <= {"python", "sh", "text", "py", "json", "toml", "yaml"}, name_of(page)


@pytest.mark.slow
def test_commands_that_need_what_is_not_here_have_the_options_that_are_written():
    """In blocks of `text`: they need photographs, weights, a container or a cron; here their words are read alone."""
    found = 0
    for page in PAGES:
        for block in re.findall(r"^ *```text\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL):
            for line in lines(block):
                asked = re.search(r"(?:^|\* |\s{2})summand (\w[^|>]*)", line)
                if asked is None:
                    continue
                words = shlex.split(re.sub(r"\$\([^)]*\)", "today", asked[1]), comments=True)
                made(words[0]).parse_args(words)
                found += 1
    assert found > 15
    with pytest.raises(CycloptsError):
        made("shift").parse_args(["shift", "a", "b", "--alhpa", "0.1"])
