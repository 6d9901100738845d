# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Find a drift
#
# Last year's pictures against this week's: has anything changed, and what, in words?
#
# **For your own model and pictures**: `summand.shift("last-year/", "this-week/", model=model)`; on the command line `summand shift last-year/ this-week/ -m … -p …`, which exits with 1 on alarm.

# %%
import summand

model = summand.load("scenes-vit")
same = summand.shift("scenes:count=400,seed=1", "scenes:count=400,seed=2", model=model)
print("alarm:", same.alarm)

# %% [markdown]
# Now 25 % of the pictures are moved to the sea.

# %%
moved = summand.shift("scenes:count=400,seed=1", "scenes:count=400,seed=2,shift=place/sea/0.25", model=model)
print("alarm:", moved.alarm)
moved

# %% [markdown]
# ## What a model has no words for
#
# A darker camera is not a thing that scenes-vit has words for; the pixels are measured as well.

# %%
dark = [(0.75 * picture).astype("uint8") for picture in summand.scenes.sample(200, seed=2).images]
darker = summand.shift("scenes:count=400,seed=1", dark, model=model)
print("alarm:", darker.alarm)
print(*darker.notes, sep="\n")

# %% [markdown]
# ## A stream

# %%
alarms = []
monitor = summand.Monitor("scenes:count=300,seed=1", model, on_alarm=alarms.append, window=120, permutations=199)
for week in range(5):
    sea = 0.0 if week < 3 else 0.5
    source = f"scenes:count=60,seed={week + 10}" + (f",shift=place/sea/{sea}" if sea else "")
    monitor.update(summand.scenes.parse_source(source).sample().images)
    print(f"week {week}: {'ALARM' if monitor.report().alarm else 'quiet'}")
