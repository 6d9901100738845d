# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Segment by a text
#
# A map of a text is a segmentation without training. How good is it, beside the methods of the field?
#
# **For your own**: `summand.segment(model, "voc2012:PATH")`, `"context59:PATH"`, `"ade20k:PATH"`, a folder with `images/`, `masks/` and `classes.txt`, or lists of pictures, masks and class names.

# %%
import summand

model = summand.load("scenes-vit")
scenes = summand.scenes.sample(4, seed=2, groups=2)
summand.heatmap(model, list(scenes.images), ["a star", "a ring"])

# %% [markdown]
# ## Scored
#
# Scenes with two groups: the text names one of them, and just any object is not enough.

# %%
found = summand.segment(
    model,
    "scenes:groups=2,count=60,seed=3",
    methods="decomposition,second-order,chefer,gradcam,maskclip,rollout,random",
)
found

# %% [markdown]
# On 2,000 scenes and with all methods: docs/benchmarks.md. `protocol="paper"` follows the published protocol.
#
# ## Masks of your own

# %%
own = summand.scenes.sample(30, seed=8)
masks = [mask.astype("uint8") for mask in own.masks]
summand.segment(model, (list(own.images), masks, ["background", "an object"]), methods="decomposition").rows[
    ["method", "pixel_accuracy", "mIoU"]
]
