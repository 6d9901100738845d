# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Compare two models
#
# A base and its fine-tuned model, or two seeds: what changed, in words, and in which units?
#
# **For your own models and pictures**: `summand.compare(base, tuned, "photos/")` with `base = summand.load(…)` and `tuned = summand.load(…, checkpoint="tuned.pt")`; on the command line `summand compare ViT-B-32 photos/ --checkpoint-b tuned.pt -m ViT-B-32 -p openai`.

# %%
import summand

model = summand.load("scenes-vit")
tied = summand.load("scenes-vit-tied")  # trained on scenes in which shapes stand in their own places
found = summand.compare(model, tied, "scenes:count=500,seed=5", units="heads")
print(found.verdict)

# %% [markdown]
# The first change is the shortcut that scenes-vit-tied was trained on. A row is a change; a limit is what other images would do to one and the same model.

# %%
found.rows.head(8)

# %% [markdown]
# Shares of what is read, ties between properties, and the heads:

# %%
found.plot()

# %% [markdown]
# ## Nothing where nothing changed
#
# The model against itself names nothing.

# %%
print(summand.compare(model, model, "scenes:count=300,seed=5", units="heads").verdict)
