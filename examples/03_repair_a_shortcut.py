# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Repair a shortcut
#
# `scenes-vit-tied` was trained where the place followed the shape in 95 % of the pictures, and now takes the place for the shape. We find what carries the place, remove it, and look at
# every group.
#
# **For your own model**: `summand.debias(model, "birds/", groups="birds/metadata.csv", classes=…, attribute="a photo on land,a photo on water")`, or lists of pictures, labels and groups.

# %%
import summand

model = summand.load("scenes-vit-tied")
found = summand.debias(
    model,
    "scenes:count=600,seed=5",  # where shape and place are independent: what the repair is judged on
    "scenes:count=600,seed=6,tie=shape/place/0.95",  # the world of its training, without labels: what it is found on
    classes="shape",
    groups="place",
    allow_empty=True,
    progress=False,
)
found

# %% [markdown]
# No group's label was used to find the heads: they are those whose variance lies along the places' texts rather than along the shapes'. The way to remove them is the one under which the place
# moves the shapes' scores least.
#
# ## Use it
#
# `found.model` is repaired: a `Model` like any other, still one forward pass.

# %%
fresh = summand.scenes.sample(400, seed=99)
x = model.preprocess(fresh.images)
prompts = summand.scenes.prompts("shape")
along = {name: model.encode_text(texts).mean(dim=0) for name, texts in prompts.items()}
names = list(along)

import torch

texts = torch.stack([along[name] / along[name].norm() for name in names])
for which in (model, found.model):
    taken = (which.encode_image(x) @ texts.T).argmax(dim=1)
    right = sum(names[int(i)] == shape for i, shape in zip(taken, fresh.attributes["shape"], strict=True))
    print(f"{which.name}: {right / len(fresh.attributes):.1%} of the shapes are right")

# %% [markdown]
# ## Keep it

# %%
files = found.save("repaired")
again = summand.load("scenes-vit-tied", ablation="repaired/ablation.npz")
float((again.encode_image(x[:8]) - found.model.encode_image(x[:8])).abs().max())
