"""The pieces of the training of a scenes CLIP; `summand.scenes.train` puts them together."""
