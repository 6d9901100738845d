"""inject and sae: what they choose and train, against what is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import summand
from summand import SummandError
from summand.models.ablations import load_ablation
from summand.models.autoencoders.train import train
from tests.border import linalg
from tests.commands import command


@pytest.mark.slow
def test_injected_heads_carry_the_classes(tmp_path, vit, pixels):
    found = summand.inject(vit, "scenes:count=60,seed=3", classes="shape", attribute="place", gain=3, progress=False)
    assert bool((found.rows["classes"] > found.rows["attribute"]).all())
    assert found.rows["carries"].sum() <= 1
    steer = dict.fromkeys(found.rows["unit"], 3)
    torch.testing.assert_close(found.steered.encode_image(pixels), vit.steer(steer).encode_image(pixels))
    found.save(tmp_path / "kept")
    again = load_ablation(tmp_path / "kept" / "steering.npz").apply(vit)
    torch.testing.assert_close(again.encode_image(pixels), vit.steer(found.steer).encode_image(pixels))
    plain = summand.inject(vit, "scenes:count=60,seed=3", classes="shape", attribute="place", progress=False)
    assert list(plain.rows["unit"]) == list(found.rows["unit"])
    assert "a gain of 1 nothing is strengthened" in plain.notes[0]
    assert torch.equal(plain.steered.encode_image(pixels), vit.encode_image(pixels))
    assert not found.notes
    with pytest.raises(SummandError, match="gain must be at least 1"):
        summand.inject(vit, "scenes:count=60,seed=3", classes="shape", attribute="place", gain=0.5)
    with pytest.raises(SummandError, match="attribute must say what the images show"):
        summand.inject(vit, "scenes:count=60,seed=3", classes="shape")


def test_training_finds_the_directions_that_tokens_are_made_of():
    """Sums of two of sixteen directions: an autoencoder of sixteen latents, two a token, finds them."""
    made = torch.Generator().manual_seed(0)
    atoms = torch.linalg.qr(torch.randn(24, 16, generator=made))[0].T
    which = torch.stack([torch.randperm(16, generator=made)[:2] for _ in range(6000)])
    tokens = torch.einsum("nk,nkw->nw", torch.rand(6000, 2, generator=made) + 0.5, atoms[which]) + 5
    found = train(tokens, 0, 16, 2, epochs=40)
    assert found.explained > 0.8
    assert found.active <= 2
    alike = (found.sae.decoder @ atoms.T).max(dim=0).values
    assert int((alike > 0.9).sum()) >= 12
    own = tokens[torch.randperm(6000, generator=torch.Generator().manual_seed(0))[600:]].double().numpy()
    covariance = np.cov(own.T, bias=True)
    covariance += 1e-3 * np.trace(covariance) / 24 * np.eye(24)
    white = found.sae.decoder.double().numpy() @ np.linalg.inv(linalg.sqrtm(linalg.sqrtm(covariance)).real)
    lengths = np.linalg.norm(white, axis=1)  # of one length in the half-whitened stream
    np.testing.assert_allclose(lengths, lengths.mean(), rtol=1e-3)


@pytest.mark.slow
def test_a_direction_of_large_variance_does_not_take_the_latents():
    """The same sums beside one direction that means nothing and holds half of the variance: of the plain stream three
    of the sixteen are found."""
    made = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(24, 17, generator=made))[0].T
    atoms, loud = basis[:16], basis[16]
    which = torch.stack([torch.randperm(16, generator=made)[:2] for _ in range(6000)])
    tokens = torch.einsum("nk,nkw->nw", torch.rand(6000, 2, generator=made) + 0.5, atoms[which])
    tokens = tokens + 1.5 * torch.randn(6000, 1, generator=made) * loud
    found = train(tokens, 0, 18, 3, epochs=25)
    rows = torch.nn.functional.normalize(found.sae.decoder - (found.sae.decoder @ loud)[:, None] * loud, dim=1)
    assert int(((rows @ atoms.T).max(dim=0).values > 0.9).sum()) >= 6


def test_sae_as_a_command(tmp_path):
    out, few = tmp_path / "sae", ("--layer", "3", "--latents", "16", "--top-k", "2")
    done = command("sae", "train", "scenes:count=30,seed=1", *few, "--out", out)
    assert done.code == 0, done.error
    model = summand.load("scenes-vit", sae=out)
    assert (model.autoencoder(3).latents, model.autoencoder(3).top_k) == (16, 2)
    done = command("sae", "train", "scenes:count=30,seed=1", "--layer", "5", "--latents", "16")
    assert done.code == 2
    assert "no attention comes after layer 5" in done.error
    done = command("sae", "train", "scenes:count=8,seed=1", "--layer", "3", "--latents", "4096")
    assert done.code == 2
    assert "tokens are too few for 4096 latents" in done.error
