# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Bring your own model
#
# Any CLIP of open_clip, transformers or the `clip` package, as it is in your program. Here it is a ViT-S/32 of open_clip with **random weights** (none can be had offline), so the words mean nothing, and Summand
# says so: what is shown is that nothing has to be changed for a model that is not ours.
#
# **With your own weights** change the cell below, and nothing else.

# %%
import open_clip

import summand

clip, _, preprocess = open_clip.create_model_and_transforms("ViT-S-32-alt")
clip.eval()  # open_clip hands models out in training mode
model = summand.wrap(clip, preprocess=preprocess, tokenizer=open_clip.get_tokenizer("ViT-S-32-alt"), name="mine")
model

# %% [markdown]
# ## Can it be explained exactly?

# %%
from summand.models.doctor import examine

diagnosis = examine(model)
for check in diagnosis.checks[:3]:
    print(f"{check.what}: off by {check.error:.1e}, {'holds' if check.holds else check.problem}")
diagnosis.exact

# %% [markdown]
# ## Train it further, and ask again
#
# The model stays yours. Summand looks at every question whether the weights are what they were.

# %%
import torch

pictures = summand.scenes.sample(4, seed=1).images
x = model.preprocess(pictures)
before = model.decompose(x).total()
with torch.no_grad():
    clip.visual.transformer.resblocks[0].mlp.c_proj.weight.mul_(1.5)
after = model.decompose(x).total()
float((after - model.encode_image(x)).abs().max()), float((after - before).abs().max())

# %% [markdown]
# ## Label it
#
# A folder of pictures, and texts of your own; `pool` may be left out for a general pool.

# %%
survey = summand.survey(model, summand.scenes.sample(80, seed=3).images, units="heads", held_out=0.4, progress=False)
words = [
    f"a {colour} {shape}"
    for colour in ("red", "blue", "green", "white")
    for shape in ("star", "ring", "square", "heart")
]
labels = survey.label(pool=words)
labels["verdict"].value_counts()

# %% [markdown]
# Of random weights (nearly) nothing is proven, as it should be.
#
# ## Map it

# %%
maps = summand.heatmap(model, pictures[0], ["a star", "a ring"])
print(*maps.notes, sep="\n")
maps
