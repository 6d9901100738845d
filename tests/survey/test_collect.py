from __future__ import annotations

import numpy as np
import pytest
import torch

import summand
from summand.data import open_source
from summand.survey import collect


def test_a_pass_in_batches_equals_one_batch(vit):
    source = open_source("scenes:count=30,seed=2")
    found = collect(vit, source, keep_layers=2, batch_size=7, progress=False)
    x = vit.preprocess(summand.scenes.sample(30, seed=2).images)
    parts = vit.decompose(x)
    assert found.layers == (4, 5)
    assert found.moments.count == 30
    torch.testing.assert_close(found.kept.coefficients, parts.head_effects().coefficients[:, 4:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.outputs, vit.encode_image(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.mlps, parts.mlps().sum(dim=1), atol=1e-4, rtol=1e-4)
    heads = parts.heads().double()
    np.testing.assert_allclose(found.moments.variance(), heads.var(dim=0, correction=0).sum(dim=-1), rtol=1e-3)
    assert found.residual < 1e-5


def test_too_few_readable_images_is_an_error(vit, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no")
    with pytest.raises(summand.SummandError, match=r"only 0 image\(s\) could be read.*a.png"):
        collect(vit, open_source(str(tmp_path)), progress=False)
