from __future__ import annotations

import numpy as np
import pytest
import torch

import summand
from summand.data import open_source


def test_a_pass_in_batches_equals_one_batch(vit):
    source = open_source("scenes:count=30,seed=2")
    found = summand.survey(vit, source, units="heads", held_out=0, top=0, keep=2, batch_size=7, progress=False)
    x = vit.preprocess(summand.scenes.sample(30, seed=2).images)
    parts = vit.decompose(x)
    assert found.manifest.kept == (4, 5)
    assert found.moments("heads").count == 30
    torch.testing.assert_close(found.kept.coefficients, parts.head_effects().coefficients[:, 4:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.outputs, vit.encode_image(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.mlps, parts.mlps().sum(dim=1), atol=1e-4, rtol=1e-4)
    heads = parts.heads().double()
    np.testing.assert_allclose(found.moments("heads").variance(), heads.var(dim=0, correction=0).sum(dim=-1), rtol=1e-3)
    assert found.manifest.residual < 1e-5


def test_too_few_readable_images_is_an_error(vit, tmp_path):
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (tmp_path / name).write_text("no")
    with pytest.raises(summand.SummandError, match=r"only 0 could be read.*a.png"):
        summand.survey(vit, tmp_path, units="heads", held_out=0, progress=False)
