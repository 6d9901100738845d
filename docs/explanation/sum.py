"""The similarity of one picture and one text as a sum over the model's layers, and over the patches of the picture."""

from __future__ import annotations

from pathlib import Path

import summand
from summand.report import figures

TEXT, OTHERS = "a red star", ("a blue ring", "a green square", "a yellow heart", "a black arrow")


def main(out: Path = Path("docs/images/sum.png")) -> None:
    model = summand.load("scenes-vit")
    text = "two red stars on the left and a small blue ring on the right in the snow"
    scene = summand.scenes.describe(text, 1, seed=0).images
    parts = model.decompose(model.preprocess(scene))
    texts = model.encode_text([TEXT, *OTHERS])
    along = texts[0] - texts[1:].mean(dim=0)
    along = along / along.norm()
    layers = (parts.heads()[0].sum(dim=1) @ along).tolist()
    mlps = (parts.mlps()[0] @ along).tolist()
    rest = [float(parts.embedding()[0] @ along), float(parts.bias()[0] @ along)]
    whole = float(model.encode_image(model.preprocess(scene))[0] @ along)
    tokens = (parts.tokens()[0, 1:] @ along).reshape(model.tower.grid)
    with figures.style():
        figure, (bars, before, after) = figures.panels(3, width=3.8, height=3.2)
        names = [f"heads {i}" for i in range(len(layers))] + ["MLPs", "input", "constants"]
        steps = [*layers, sum(mlps), *rest]
        start = 0.0
        for place, step in enumerate(steps):
            bars.barh(place, step, left=start, color="#b2182b" if step > 0 else "#2166ac")
            start += step
        bars.barh(len(steps), whole, color="#555555")
        bars.set_yticks(range(len(steps) + 1), [*names, "encode_image"])
        bars.invert_yaxis()
        bars.set(title=f"“{TEXT}”, less other things: {start:.3f} = {whole:.3f}", xlabel="adds to the product")
        before.imshow(scene[0])
        before.set(title="the picture")
        limit = float(tokens.abs().max())
        after.imshow(tokens.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
        after.set(title="the heads' part, patch by patch")
        for axes in (before, after):
            axes.set_axis_off()
        figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
