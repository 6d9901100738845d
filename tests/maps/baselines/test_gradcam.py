"""GradCAM against pytorch-grad-cam and captum, on the trained scenes models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from summand.border import foreign
from summand.maps.baselines import baseline_maps

PROMPTS = ["a star", "a red thing"]


class Scores(nn.Module):
    """The model as a classifier: ⟨M, t⟩ of every text."""

    def __init__(self, visual: Any, texts: torch.Tensor) -> None:
        super().__init__()
        self.visual, self.texts = visual, texts

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.visual(pixels) @ self.texts.T


def grid(tokens: torch.Tensor) -> torch.Tensor:
    side = int(tokens.shape[1] ** 0.5)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


@pytest.fixture(params=["vit", "resnet"])
def case(request, vit, resnet):
    """Model, pixels, texts, and the layer whose output GradCAM reads."""
    import summand

    model = {"vit": vit, "resnet": resnet}[request.param]
    pixels = model.preprocess(summand.scenes.sample(2, seed=4, groups=2).images)
    visual = model.clip.visual
    layer = visual.transformer.resblocks[-1].ln_1 if request.param == "vit" else visual.layer4
    return model, pixels, model.encode_text(PROMPTS), layer, grid if request.param == "vit" else None


def test_as_pytorch_grad_cam(case):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, pixels, texts, layer, reshape = case
    maps = baseline_maps(model, pixels, texts, "gradcam", cosine=False).numpy()
    with GradCAM(Scores(model.clip.visual, texts), [layer], reshape_transform=reshape) as cam:
        for text in range(len(texts)):
            cam(pixels, [ClassifierOutputTarget(text)] * len(pixels))
            acts, grads = cam.activations_and_grads.activations[0], cam.activations_and_grads.gradients[0]
            expected = cam.get_cam_image(pixels, layer, None, acts.numpy(), grads.numpy(), False)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(maps[:, text] / scale, np.maximum(expected, 0) / scale, atol=1e-4)


def test_as_captum(case):
    from captum.attr import LayerGradCam

    model, pixels, texts, layer, reshape = case
    raw = baseline_maps(model, pixels, texts, "gradcam", cosine=False, relu=False)
    if reshape is not None:  # captum knows channels first only, so the mean gradient is taken here
        seen = {}
        hook = layer.register_forward_hook(lambda _, __, out: seen.update(tokens=out))
        scores = Scores(model.clip.visual, texts)(pixels)
        hook.remove()
        for text in range(len(texts)):
            (gradient,) = torch.autograd.grad(scores[:, text].sum(), seen["tokens"], retain_graph=True)
            weights = grid(gradient).mean(dim=(2, 3), keepdim=True)
            expected = (weights * grid(seen["tokens"].detach())).sum(dim=1)
            torch.testing.assert_close(raw[:, text], expected, atol=1e-4, rtol=1e-3)
        return
    explainer = LayerGradCam(Scores(model.clip.visual, texts), layer)
    for text in range(len(texts)):
        expected = foreign(explainer).attribute(pixels, target=text).detach()[:, 0]
        torch.testing.assert_close(raw[:, text], expected, atol=1e-4, rtol=1e-3)
