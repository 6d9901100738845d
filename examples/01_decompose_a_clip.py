# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Decompose a CLIP
#
# The image embedding of a CLIP is a sum: what every attention head, every MLP and the input write. Here the sum is taken apart, checked, and read.
#
# Everything runs on `scenes-vit`, a small CLIP that ships with Summand. **For your own model** change the line with `load`: `summand.load("ViT-B-16", "laion2b_s34b_b88k")`,
# or `summand.wrap(your_clip, preprocess=…, tokenizer=…)`, and take photographs in the place of scenes.

# %%
import summand

model = summand.load("scenes-vit")
scene = summand.scenes.describe("two red stars on the left and a small blue ring on the right in the snow", 1)
x = model.preprocess(scene.images)  # your own: model.preprocess(Image.open("dog.jpg"))[None]
model

# %% [markdown]
# ## The sum, and that it is exact

# %%
parts = model.decompose(x)
terms = {"heads": parts.heads(), "mlps": parts.mlps(), "embedding": parts.embedding(), "bias": parts.bias()}
for name, term in terms.items():
    print(f"{name:10} {list(term.shape)}")
error = (parts.total() - model.encode_image(x)).abs().max() / model.encode_image(x).abs().max()
print(f"Σ terms is encode_image to {float(error):.0e}")
assert error < 1e-5

# %% [markdown]
# ## Which heads speak for a text
#
# `toward` takes the sum apart along texts: one number for every layer, head, token and text. A text alone is near every picture, so it is set against others.

# %%
texts = ["a red star", "a blue ring", "a green heart", "a yellow square"]
along = model.encode_text(texts)
contrast = along - along.mean(dim=0)
by_head = parts.toward(contrast).sum(dim=3)[0]  # [layer, head, text]

import pandas as pd

table = pd.DataFrame(
    [(f"{layer}.{head}", *by_head[layer, head].tolist()) for layer in range(6) for head in range(8)],
    columns=["head", *texts],
).set_index("head")
table.sort_values("a red star", key=abs, ascending=False).head(8).round(3)

# %% [markdown]
# ## Where in the picture
#
# The same sum, patch by patch, as a map. Red speaks for the text.

# %%
maps = summand.heatmap(model, scene.images[0], ["a red star", "a ring"])
maps

# %% [markdown]
# The map's patches, and what belongs to no patch, sum to the model's own similarity; nothing is fitted or smoothed.
#
# ## Neurons
#
# A neuron writes through the attention of later heads (its *second-order effect*): a few numbers a picture times fixed directions.

# %%
neurons = model.second_order(x, layer=3)
print(neurons)
strongest = neurons.norms()[0].topk(5)
[(f"3:{int(n)}", round(float(v), 3)) for v, n in zip(strongest.values, strongest.indices, strict=True)]

# %% [markdown]
# What a neuron means is a question about many pictures: the next notebook.
