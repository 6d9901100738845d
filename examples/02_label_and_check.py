# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Label every head, and check the labels
#
# A survey passes over pictures once and keeps what is usual for every unit. Labels put units into words, and prove them on pictures that were held out. On scenes we can do what
# nobody can on photographs: check the words against the truth.
#
# **For your own model**: `summand.survey(model, "photos/", units="heads", out="run")` with 2,000 pictures or more; the last section needs scenes.

# %%
import summand

model = summand.load("scenes-vit")
survey = summand.survey(model, "scenes:count=800,seed=7", units="heads", progress=False)
survey

# %%
labels = survey.label()
columns = ["unit", "label", "verdict", "shown", "chance", "importance"]
labels.sort_values("importance", ascending=False)[columns].head(12).round(2)

# %% [markdown]
# **shown**: of the held-out pictures furthest along the head, how many show the words (as the model reads them). **chance**: how many of all pictures do. What is not proven is said to be so:

# %%
labels["verdict"].value_counts()

# %% [markdown]
# ## One head

# %%
unit = survey["5.0"]
print(unit.words, unit.evidence)
unit.show()

# %% [markdown]
# ## Find
#
# Which heads have to do with a text?

# %%
survey.find("a red object", top=5)[["unit", "cosine", "words", "evidence"]]

# %% [markdown]
# ## Is it true?
#
# Of fresh scenes we know what they show. Of the pictures furthest along each head's words, how many show the very value that is named? (Labels are made on other scenes than those that judge.)

# %%
found = summand.truth(model, layers="4,5", count=1000, described=1000, pairs=100, progress=False)
found

# %% [markdown]
# "Proven" was decided without the truth, and agrees with it.
